"""Experiments on this machine: real registry, real model servers, real users, real kills."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

import pytest
from experiment_site import CONTROLLER, USERS, ExperimentSite
from rollout_world import World
from running_process import RunningProcess, until

from penstock import tracking
from penstock.errors import InputError, NotApprovedError, ServiceError
from penstock.notification import NotifySpec
from penstock.records.experiment import Experiment, ExperimentOrder
from penstock.registry import audit
from penstock.registry.versions import ROLLED_BACK
from penstock.rollout import control
from penstock.rollout.experiment import running
from penstock.rollout.experiment.exporter import Standing
from penstock.rollout.experiment.exporter import standing as found_standing
from penstock.rollout.experiment.papers import shown
from penstock.rollout.journal import Journal
from penstock.rollout.target import Target

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("experiment")]


def standing(target: Target) -> Standing:
    """The newest experiment, as Prometheus is told of it."""
    found = found_standing(target)
    assert found is not None
    return found


class Shop(ExperimentSite):
    """A service with a champion, versions to try, and users."""

    def __init__(self, world: World) -> None:
        super().__init__(world, notify=NotifySpec(file="told.jsonl"), seconds=120)

    @property
    def target(self) -> Target:
        return self.world.place()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.world.state().port}"

    @property
    def deployment(self) -> dict[str, Any]:
        return {"port": 0}

    def has_begun(self) -> bool:
        there = (self.world.home / "serving" / "adult" / "state.json").exists()
        assignment = self.world.state().assignment if there else None
        return assignment is not None and assignment.experiment is not None

    def log(self) -> list[audit.AuditEntry]:
        tags = tracking.client(self.world.uri).get_registered_model("adult").tags
        return list(audit.read(tags).entries)

    def told(self) -> list[str]:
        path = self.world.home / "told.jsonl"
        return [json.loads(line)["text"] for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def shop(world: World) -> Shop:
    """Version 1 is the champion and serves; nothing else runs."""
    assert world.release(2).outcome == "promoted"
    return Shop(world)


@pytest.mark.long
def test_users_keep_their_versions_over_kills_and_weights_and_the_champion_can_be_kept(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = shop.register(3)
    order = shop.order(None)
    assert (order.registration.version, order.experiment.weight) == (version, 20)
    path = shop.world.home / "order.json"
    order.write(path)
    command = [sys.executable, "-c", CONTROLLER, path, shop.world.home, json.dumps(shop.deployment)]
    process = RunningProcess(command, log=shop.world.home / "controller.log")
    try:
        until(shop.has_begun, seconds=120)
        first = shop.visit(USERS)
        with pytest.raises(ServiceError):
            shop.world.release(3)
    finally:
        process.stop(signal.SIGKILL)
    proxy = shop.world.state().proxy
    assert proxy is not None
    assert standing(shop.target).driven is False
    # Nobody watches, and users are served as before. A release does not take their versions away.
    assert shop.visit(USERS) == first
    with pytest.raises(ServiceError, match="experiment with version 2 has not ended"):
        shop.world.release(3)
    with pytest.raises(InputError, match="is an experiment"):
        control.resume(shop.target)
    with pytest.raises(InputError, match="an experiment with version 2"):
        running.run(shop.target, place=shop.place, order=lambda: order, wanted=9)
    os.kill(proxy.process.pid, signal.SIGKILL)
    with shop.running(order) as ended:
        until(lambda: standing(shop.target).reading is not None)
        assert standing(shop.target).driven
        until(lambda: (shop.world.state().proxy or proxy).process.pid != proxy.process.pid)
        assert shop.visit(USERS) == first
        with pytest.raises(InputError, match="can only be given more"):
            running.set_weight(shop.target, 20)
        running.set_weight(shop.target, 50)
        until(lambda: shop.world.state().weight == 50)
        later = shop.visit(USERS)
        moved = {user for user in USERS if later[user] != first[user]}
        assert {later[user] for user in moved} == {version}
        assert moved
        time.sleep(1)
        assert running.stop(shop.target, place=shop.place, by="ben", keep=True) is None
    (record,) = ended
    assert isinstance(record, Experiment), record
    assert (record.outcome, record.challenger, record.by) == ("kept", version, "ann")
    assert "Stopped by ben." in record.reason
    assert record.reading.without + record.reading.waiting == len(USERS)
    assert shop.world.champion() == 1
    assert set(shop.visit(USERS).values()) == {1}
    assert ROLLED_BACK not in shop.world.tags(version)
    assert [entry.event for entry in shop.log()][-2:] == ["champion kept", "rollout recorded"]
    assert "ended without a winner" in shop.told()[-1]
    assert len(shop.world.processes()) == 2
    with pytest.raises(InputError, match="no experiment"):
        running.stop(shop.target, place=shop.place, by="ben", keep=True)
    # The controller ends it between the look for it and the note.
    monkeypatch.setattr(running, "_required", lambda _: Journal(shop.target.store(record.identity)))
    assert running.stop(shop.target, place=shop.place, by="ben", keep=True) == record
    with pytest.raises(NotApprovedError, match="was not tried"):
        shop.order(None)
    _killed_before_it_was_written_down(shop, record)


def _killed_before_it_was_written_down(shop: Shop, record: Experiment) -> None:
    told = len(shop.told())
    serving = shop.world.home / "serving" / "adult"
    (serving / "rollouts" / record.identity / "written-down").unlink()
    shop.place.record(record.identity).unlink()

    def another() -> ExperimentOrder:
        raise AssertionError("nobody asked for another experiment")

    assert running.run(shop.target, place=shop.place, order=another) == record
    assert Experiment.read(shop.place.record(record.identity)) == record
    assert len(shop.told()) == told + 1


def test_harm_ends_it_at_once(shop: Shop) -> None:
    version = shop.register(3)
    order = shop.order(
        version, weight=50, rules={"error_increase": 0.002}, fault_injection="errors"
    )
    with shop.running(order) as ended:
        for turn in range(60):
            shop.visit([f"turn-{turn}-{k}" for k in range(100)])
            if ended:
                break
    (record,) = ended
    assert isinstance(record, Experiment), record
    assert record.outcome == "harm", record.reason
    assert "failed" in record.reason
    assert shop.world.champion() == 1
    assert ROLLED_BACK in shop.world.tags(version)
    assert "ended for harm" in shop.told()[-1]
    found = standing(shop.target)
    assert (found.rollout.identity, found.driven) == (record.identity, False)
    assert "fail" in {one.verdict for one in found.guards}


@pytest.mark.long
def test_a_winner_is_promoted_by_the_same_engine(shop: Shop) -> None:
    with pytest.raises(InputError, match="champion itself"):
        shop.order(1)
    version = shop.register(4)
    order = shop.order(None)
    assert order.registration.version == version

    def worth(answered: int) -> float:
        return float(shop.draw.random() < (0.9 if answered == version else 0.1))

    def look() -> Any:
        found = shown(shop.target, place=shop.place)
        assert found is not None
        return found

    with shop.running(order) as ended:
        turn = 0
        while look().reading.verdict != "better" and turn < 30 and not ended:
            shop.visit([f"winner-{turn}-{k}" for k in range(60)], worth=worth)
            turn += 1
            time.sleep(1)
        assert look().reading.low > 0
        assert running.stop(shop.target, place=shop.place, by="ben", keep=False) is None
    (record,) = ended
    assert isinstance(record, Experiment), record
    assert record.outcome == "promoted", record.reason
    assert shop.world.champion() == version
    assert set(shop.visit(USERS).values()) == {version}
    entries = [entry for entry in shop.log() if entry.uri.endswith(f"/{version}")]
    by = {entry.event: audit.actor_of(entry) for entry in entries}
    assert by["admitted"] == by["promoted"] == audit.EXPERIMENT
    admitted = next(entry for entry in entries if entry.event == "admitted")
    assert admitted.facts["move"] == "experiment"
    assert Experiment.read(shop.place.record(record.identity)) == record
    assert "The challenger is better." in shop.place.page(record.identity).read_text()
    assert "won the experiment" in shop.told()[-1]
    # Read once more, long after: the same.
    assert look().reading == record.reading
    assert standing(shop.target).reading == record.reading
