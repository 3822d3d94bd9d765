"""The guardian at work: one return, recorded, whatever is in its way and wherever it is killed.

Registry, journal, state, proxy and processes are real; in the place of model servers are stubs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from killing import Fault, run
from test_command_endings import (
    Trial,
    cluster_trials,
    left_in_a_step,
    serving_one,
    serving_two,
    template,
    trials,
)

from penstock.errors import NotApprovedError, ServiceError
from penstock.monitoring.guardian.guarding import Guardian
from penstock.monitoring.look import Monitor
from penstock.monitoring.settings.monitoring import GuardianSpec, MonitoringSpec
from penstock.monitoring.store.collect import Watched, reading_here
from penstock.monitoring.store.state import MonitorFolder
from penstock.notification import NotifySpec
from penstock.records.guard import Guard, Harm
from penstock.records.monitoring import MonitorState
from penstock.records.rollout import ReturnOrder
from penstock.registry import audit, versions
from penstock.rollout import resume, returning
from penstock.rollout.returning import return_champion
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import history

pytestmark = pytest.mark.slow

# Fixtures.
__all__ = ["cluster_trials", "template", "trials"]

HARM = Harm(
    time=datetime(2026, 11, 1, tzinfo=UTC), signals=("errors",), reason="It harms.", returns=True
)


@dataclass
class Watch:
    """A site with a monitor whose clock goes a minute forward with each reading."""

    site: Trial
    mode: str = "automatic"
    minutes: int = 0

    @property
    def monitor(self) -> Monitor:
        home = self.site.home
        spec = GuardianSpec.model_validate({"mode": self.mode})
        return Monitor(
            folder=MonitorFolder(home),
            service="adult",
            spec=MonitoringSpec(guardian=spec),
            notify=NotifySpec(file="told.jsonl"),
            beside=home,
            watched=lambda: Watched("adult", problem="It is not looked at here."),
            guardian=Guardian(
                spec=spec,
                deployment=DeploymentSpec(port=0, ready_timeout=20),
                target=self.site.place,
                read=lambda: reading_here(home, "adult"),
                tracking_uri=lambda: self.site.uri,
            ),
            now=lambda: datetime.now(UTC) + timedelta(minutes=self.minutes),
        )

    def guard(self) -> list[str]:
        self.minutes += 1
        with self.monitor.held():
            return self.monitor.guard()

    def serve(self, requests: int = 25) -> list[str]:
        """Send requests, then let the guardian read."""
        state = self.site.state()
        address = f"http://127.0.0.1:{state.port}/v1/models/adult:predict"
        with httpx.Client(trust_env=False, verify=False) as client:
            for _ in range(requests):
                client.post(address, json={})
        return self.guard()

    def until_said(self, most: int = 12) -> list[str]:
        return next(filter(None, (self.serve() for _ in range(most))), [])

    def fall_ill(self) -> Path:
        sick = Path(self.site.state().stable.folder) / "sick"
        sick.touch()
        return sick

    def harm(self, champion: int, former: int) -> None:
        """Have it found that a champion does harm."""
        guard = Guard(version=champion, former=former, since=HARM.time, harm=HARM)
        folder = self.monitor.folder
        state = folder.read(service="adult")[0]
        folder.write(state.model_copy(update={"guard": guard}))

    @property
    def state(self) -> MonitorState:
        return self.monitor.folder.read(service="adult")[0]

    @property
    def returns(self) -> list[Any]:
        """The guardian's returns that were carried out."""
        found = [journal for journal in history(self.site.place()) if _automatic(journal.order)]
        return [one.rollout for one in found if one.rollout.outcome == "promoted"]

    @property
    def told(self) -> list[str]:
        path = self.site.home / "told.jsonl"
        return path.read_text().splitlines() if path.exists() else []


def _automatic(order: object) -> bool:
    return isinstance(order, ReturnOrder) and order.automatic


def promoted(site: Trial) -> None:
    """Serve version 2 after a canary that has shown enough of version 1."""
    serving_one(site)
    steps = [{"weight": 50, "min_samples": 300, "max_wait": 60}]
    assert site.release(2, steps=steps).outcome == "promoted"


def test_a_champion_that_does_harm_is_returned_once_and_recorded(
    trials: Callable[[str], Trial],
) -> None:
    watch = Watch(site := trials("one champion"))
    promoted(site)
    assert watch.serve() == watch.serve() == []
    guard = watch.state.guard
    assert (guard.version, guard.former) == (2, 1)
    assert [limit.signal for limit in guard.limits] == ["errors", "latency"]
    # What the canary replays goes on for a moment after its last look.
    assert guard.seen.requests - guard.seen.replayed == 50

    watch.fall_ill()
    well = watch.minutes
    (said,) = watch.until_said()
    found_after = watch.minutes - well
    assert "adult: version 1 is the champion again. Version 2 does harm: the share of" in said
    site.assert_legal(champion=1)
    (done,) = watch.returns
    assert done.direct.startswith("Rollback by guardian (automatic), from version 2. Version 2")
    log = audit.read(versions.registered_model(_store(site), "adult").tags)
    assert [e.by for e in log.entries if e.event == "rolled back"][-1] == audit.GUARDIAN
    tags = versions.registered("models:/adult/2", tracking_uri=site.uri).tags
    expected = "Rolled back by guardian (automatic) to version 1."
    assert tags[versions.ROLLED_BACK] == expected
    assert watch.state.totals.actions == {"returned": 1}
    assert [one.kind for one in watch.state.actions] == ["returned"]
    (told,) = watch.told
    assert '"state":"returned"' in told

    # The one that serves again is guarded against nothing.
    watch.fall_ill()
    assert watch.until_said(2 * found_after) == []
    site.assert_legal(champion=1)
    assert watch.state.guard.open == ("Version 1 was returned to: it is guarded against nothing.",)


def _store(site: Trial) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=site.uri, registry_uri=site.uri)


def test_people_are_told_once_where_it_only_suggests(trials: Callable[[str], Trial]) -> None:
    watch = Watch(site := trials("one champion"), mode="suggest")
    serving_two(site)
    watch.harm(2, 1)
    (said,) = watch.guard()
    assert said.endswith("Go back with: penstock rollback.")
    assert watch.guard() == []
    site.assert_legal(champion=2)
    assert len(watch.told) == 1
    # A person goes back, and nothing is left to be said.
    site.roll_back()
    assert watch.guard() == watch.guard() == []
    assert watch.state.guard.harm is None


def test_what_stands_in_the_way_is_a_sentence_and_the_champion_serves_on(
    trials: Callable[[str], Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(site := trials("one champion"))
    serving_two(site)
    watch.harm(2, 1)
    with site.place().router.exclusive():
        (said,) = watch.guard()
    assert "Version 1 could not be returned to, and version 2 serves on" in said
    # It waits before it tries again.
    watch.minutes -= 1
    assert watch.guard() == []
    site.assert_legal(champion=2)

    watch.minutes += 60
    with monkeypatch.context() as patch:
        patch.setattr(returning, "require_return", _rejected)
        (said,) = watch.guard()
    assert "a person has rejected version 1" in said
    site.assert_legal(champion=2)

    watch.minutes += 60
    # The artifacts are other tests' too, so they are not removed.
    with monkeypatch.context() as patch:
        patch.setattr(resume, "fetch", _gone)
        (said,) = watch.guard()
    assert "1 could not be brought back: It does not come up. adult: the artifact store" in said
    site.assert_legal(champion=2)
    assert watch.state.totals.actions == {}
    assert len(watch.told) == 1
    watch.minutes += 600
    assert "version 1 is the champion again" in watch.guard()[0]
    site.assert_legal(champion=1)
    assert len(watch.returns) == 1


def _rejected(*_: object, **__: object) -> None:
    raise NotApprovedError("a person has rejected version 1", where="adult")


def _gone(*_: object, **__: object) -> None:
    raise ServiceError("the artifact store does not hold its files", where="adult")


@pytest.mark.long
def test_a_rollout_that_has_not_ended_is_left_alone(trials: Callable[[str], Trial]) -> None:
    watch = Watch(site := trials("one champion"))
    left_in_a_step(site)
    watch.harm(1, 2)
    (said,) = watch.guard()
    assert "the rollout of version 2 has not ended" in said
    assert site.place().status()[0].weights == {1: 50, 2: 50}


@pytest.mark.long
def test_a_champion_that_is_none_any_more_is_not_returned(trials: Callable[[str], Trial]) -> None:
    watch = Watch(site := trials("one champion"))
    serving_two(site)
    watch.harm(2, 1)
    site.roll_back()
    assert watch.guard() == ["Version 2 does not serve any more: nothing was returned."]
    site.assert_legal(champion=1)
    assert watch.returns == []
    watch.guard()
    assert watch.state.guard.version == 1


@pytest.mark.long
def test_killed_anywhere_the_next_reading_goes_on_and_it_returns_once(
    trials: Callable[[str], Trial],
) -> None:
    every = int(os.environ.get("PENSTOCK_EFFECTS_EVERY", "41"))
    watch = Watch(site := trials("one champion"))
    serving_two(site)
    at, hit = 7 if every > 1 else 1, True
    while hit:
        watch.harm(2, 1)
        before, counted = len(watch.returns), watch.state.totals.actions.get("returned", 0)
        ending = run(watch.guard, Fault.KILL, at=at, below=[site.home])
        hit = ending.hit
        watch.minutes += 600
        for _ in range(2):
            watch.guard()
        site.assert_legal(champion=1)
        assert len(watch.returns) == before + 1, ending.effects[-1:]
        assert watch.state.totals.actions["returned"] == counted + 1, ending.effects[-1:]
        at += every
        site.roll_back(to=2)


@pytest.mark.long
def test_a_return_whose_state_was_lost_is_ended(trials: Callable[[str], Trial]) -> None:
    watch = Watch(site := trials("one champion"))
    serving_two(site)
    watch.harm(2, 1)

    begun: list[str] = []

    def journal_begun(effect: str) -> bool:
        begun.extend([effect] * ("journal.jsonl" in effect))
        return bool(begun) and "/serving/adult/" in effect and "state.json" in effect

    ending = run(watch.guard, Fault.KILL, when=journal_begun, below=[site.home])
    assert ending.code == -9
    assert site.unfinished()
    (site.home / "monitor" / "state.json").unlink()
    assert "version 1 is the champion again" in watch.guard()[0]
    site.assert_legal(champion=1)
    assert len(watch.returns) == 1


@pytest.mark.long
def test_the_same_on_a_cluster(cluster_trials: Callable[[str], Trial]) -> None:
    site = cluster_trials("one champion")
    serving_two(site)
    spec = DeploymentSpec.model_validate({"ready_timeout": 20, **site._router()})

    def go_back(champion: int, to: int) -> Any:
        return return_champion(
            site.place(),
            spec=spec,
            tracking_uri=site.uri,
            champion=champion,
            to=to,
            reason="It harms.",
        )

    done = go_back(2, 1)
    assert (done.outcome, done.purpose, done.candidate) == ("promoted", "return", 1)
    assert done.direct == "Rollback by guardian (automatic), from version 2. It harms."
    site.assert_legal(champion=1)
    assert go_back(2, 1).identity == done.identity
    assert go_back(7, 2) is None
    site.assert_legal(champion=1)
