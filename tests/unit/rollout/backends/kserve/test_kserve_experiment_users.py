"""Experiments on an emulated cluster: real registry, model servers and proxies, users and kills."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from deployment_emulator import options
from experiment_site import CONTROLLER, USERS, ExperimentSite
from kserve_site import Process, Site
from running_process import RunningProcess, until

from penstock.errors import InputError, ServiceError
from penstock.notification import NotifySpec
from penstock.pipelines.located import Located
from penstock.pipelines.service_figures import further_figures
from penstock.project import Project
from penstock.records.experiment import Experiment, ExperimentOrder
from penstock.registry.versions import ROLLED_BACK
from penstock.rollout.backends.kserve.proxy_manifests import REPLICAS
from penstock.rollout.experiment import running
from penstock.rollout.experiment.papers import Shown, shown
from penstock.rollout.target import Target, prune

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kserve")]

NAME = "adult-experiment"


class Trial(ExperimentSite):
    """A service on a cluster with a champion, versions to try, and users."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.world, notify=NotifySpec(), seconds=240)
        self.site = site
        self.store = site.world.home / "store"

    @property
    def target(self) -> Target:
        return self.site.place()

    @property
    def url(self) -> str:
        return self.site.cluster.gateway_url

    @property
    def deployment(self) -> dict[str, Any]:
        return self.site.spec

    @property
    def state(self) -> dict[str, Any]:
        route = self.site.cluster.get("httproutes", "adult")
        assert route is not None
        found: dict[str, Any] = json.loads(route["metadata"]["annotations"]["penstock/state"])
        return found

    def has_begun(self, weight: int = 0) -> bool:
        """Return whether users are led to the proxy, and every pod has the state's weight."""
        state, deployments = self.state, self.site.cluster.deployments
        if state.get("proxy") != "leads" or state["weight"] < max(weight, 1):
            return False
        pods = deployments.pods[NAME]
        tables = [json.loads(options(json.loads(one.template))["table"]) for one in pods]
        return [table["weight"] for table in tables] == [state["weight"]] * REPLICAS

    def wait(self, ended: list[Any], holds: Callable[[], object]) -> None:
        """Wait until something holds, while the experiment goes on."""
        until(lambda: bool(ended) or holds(), seconds=180, every=0.5)
        assert not ended, ended

    def stop(self) -> None:
        """Ask its controller to end it, which may have done so before the answer."""
        with contextlib.suppress(InputError):
            running.stop(self.target, place=self.place, by="ben", keep=False)

    def look(self) -> Shown:
        found = shown(self.target, place=self.place)
        assert found is not None
        return found

    def pods(self) -> list[Process]:
        found = [one.pod for one in self.site.cluster.deployments.pods.get(NAME, [])]
        assert all(isinstance(pod, Process) for pod in found)
        return found  # type: ignore[return-value]

    def scraped(self) -> dict[str, float]:
        """What the guardian's port serves of the experiment: read from the cluster alone."""
        source = {"uri": "s3://nowhere/t.csv"}
        fields = {"name": "adult", "target": "income", "source": source}
        project = Project.parse(fields | {"deployment": self.site.spec}, where="test")
        read = further_figures(Located(project=project, folder=self.world.home / "elsewhere"))
        return {
            sample.name.removeprefix("penstock_experiment_"): sample.value
            for family in read()
            for sample in family.samples
        }

    def nothing_is_left(self) -> bool:
        cluster = self.site.cluster
        objects = [cluster.get(kind, NAME) for kind in ("deployments", "services")]
        return objects == [None, None] and not self.pods() and "proxy" not in self.state


@pytest.fixture(scope="module")
def trial(site: Site) -> Trial:
    """Version 1 is the champion and serves; nothing else runs."""
    captures = {"destination": f"file://{site.world.home}/store", "segment_seconds": 0.5}
    site.spec["kserve"] |= {"captures": captures}
    assert site.release(2).outcome == "promoted"
    return Trial(site)


@pytest.mark.long
def test_users_keep_their_versions_over_kills_pods_weights_and_a_store_that_is_away(
    trial: Trial,
) -> None:
    version = trial.register(3, champion=1)
    order = trial.order(version)
    path = trial.world.home / "order.json"
    order.write(path)
    command = [sys.executable, "-c", CONTROLLER, path, trial.world.home]
    process = RunningProcess(
        [*command, json.dumps(trial.site.spec)], log=trial.world.home / "controller.log"
    )

    def equal(_: int) -> float:
        return float(trial.draw.random() < 0.5)

    try:
        process.wait_until(trial.has_begun, seconds=240, every=0.2)
        first = trial.visit(USERS, worth=equal)
        assert set(first.values()) == {1, version}
        assert (trial.scraped()["under_way"], trial.scraped()["watched"]) == (1, 1)
    finally:
        process.stop(signal.SIGKILL)
    until(lambda: trial.scraped()["watched"] == 0, seconds=60, every=1)
    assert trial.scraped()["under_way"] == 1
    # Nobody watches, and users are served as before; a release does not take their versions away.
    assert trial.visit(USERS) == first
    with pytest.raises(ServiceError, match=f"experiment with version {version} has not ended"):
        trial.site.release(4)
    # A pod dies, and is started again with what it had not shipped.
    killed = trial.pods()[0]
    killed.process.stop(signal.SIGKILL)
    until(lambda: all(pod.ready for pod in trial.pods()), seconds=60)
    assert killed.restarts == 1
    assert trial.visit(USERS) == first
    looks = len(trial.look().rollout.intervals)
    with trial.running(order) as ended:
        trial.wait(ended, lambda: len(trial.look().rollout.intervals) > looks)
        # What users do while the store is away is shipped when it is there again.
        away = trial.store.rename(trial.store.with_name("away"))
        trial.store.touch()
        late = [f"late-{number}" for number in range(20)]
        assert len(trial.visit(late, worth=equal)) == 20
        time.sleep(1)
        trial.store.unlink()
        away.rename(trial.store)
        trial.wait(ended, lambda: sum(arm.exposed for arm in both(trial)) == len(USERS) + 20)
        running.set_weight(trial.target, 50)
        trial.wait(ended, lambda: trial.has_begun(50))
        later = trial.visit(USERS)
        moved = {user for user in USERS if later[user] != first[user]}
        assert moved
        assert {later[user] for user in moved} == {version}
        assert trial.visit(USERS) == later
        trial.stop()
    (record,) = ended
    assert isinstance(record, Experiment), record
    assert (record.outcome, record.challenger) == ("kept", version), record.reason
    assert (record.reading.dropped, record.reading.silent, record.reading.damaged) == (0, 0, 0)
    assert trial.world.champion() == 1
    assert ROLLED_BACK not in trial.world.tags(version)
    assert set(trial.visit(USERS).values()) == {1}
    assert trial.nothing_is_left()
    # What it showed is read once more from what was shipped; then it is forgotten with its journal.
    assert trial.look().reading == record.reading
    events = trial.store / "adult" / "experiments" / record.identity
    assert any(events.rglob("events-*.json"))
    target = trial.target
    with target.router.exclusive():
        prune(target, keep=0)
    assert not any(path.is_file() for path in events.rglob("*"))


def both(trial: Trial) -> tuple[Any, Any]:
    reading = trial.look().reading
    return reading.champion, reading.challenger


@pytest.mark.long
def test_a_winner_is_promoted_by_the_same_engine(trial: Trial) -> None:
    champion = trial.world.champion()
    assert champion is not None
    version = trial.register(4, champion=champion)

    def worth(answered: int) -> float:
        return float(trial.draw.random() < (0.9 if answered == version else 0.1))

    with trial.running(trial.order(version, weight=50)) as ended:
        turn = 0
        while trial.look().reading.verdict != "better" and turn < 60 and not ended:
            trial.visit([f"winner-{turn}-{k}" for k in range(40)], worth=worth)
            turn += 1
            time.sleep(0.5)
        trial.stop()
    (record,) = ended
    assert isinstance(record, Experiment), record
    assert record.outcome == "promoted", record.reason
    assert trial.world.champion() == version
    assert set(trial.visit(USERS).values()) == {version}
    assert trial.nothing_is_left()


@pytest.mark.long
def test_harm_that_the_proxies_count_ends_it(trial: Trial) -> None:
    champion = trial.world.champion()
    assert champion is not None
    version = trial.register(5, champion=champion)
    order = trial.order(
        version, weight=50, rules={"error_increase": 0.002}, fault_injection="errors"
    )
    with trial.running(order) as ended:
        for turn in range(60):
            trial.visit([f"turn-{turn}-{k}" for k in range(100)])
            if ended:
                break
    (record,) = ended
    assert isinstance(record, Experiment), record
    assert record.outcome == "harm", record.reason
    assert "failed" in record.reason
    assert ROLLED_BACK in trial.world.tags(version)
    assert trial.nothing_is_left()


@pytest.mark.parametrize(
    ("kserve", "router", "match"),
    [
        ({"captures": {}}, "kserve-gateway", "ship what users did to a store.*none is named"),
        ({"captures": {"destination": "pvc://rows"}}, "kserve-gateway", "and a claim is not"),
        ({}, "kserve-native", "kserve-native has none"),
        ({}, "kserve-knative", "kserve-knative has none"),
    ],
)
def test_where_there_can_be_none_it_is_refused(
    site: Site, kserve: dict[str, Any], router: str, match: str
) -> None:
    changed = Trial(Site(site.world, site.cluster))
    changed.site.spec["router"] = router
    changed.site.spec["kserve"] |= {"captures": {"destination": "s3://rows"}} | kserve

    def another() -> ExperimentOrder:
        raise AssertionError("nothing is begun")

    with pytest.raises(InputError, match=match):
        running.run(changed.target, place=changed.place, order=another)
