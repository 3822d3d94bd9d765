"""The guardian of a service on an emulated cluster: counters from Prometheus, one return, recorded.

Registry, journal, lease and route are as on a cluster; model servers answer in this process.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cluster_shop import PodFigures
from killing import Fault, run
from prometheus_server import small_prometheus
from role_rights import allowed, used
from running_process import RunningProcess
from test_command_endings import ClusterTrial, Trial, cluster_trials, serving_one, template

from penstock.captures.places import LocalPlace
from penstock.errors import InputError, LeaseLostError, ServiceError
from penstock.monitoring.cluster.monitor import ClusterMonitor, drifted, together
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.store.state import MonitorStore
from penstock.monitoring.store.storage import Storage
from penstock.notification import NotifySpec
from penstock.records.monitoring import Alarm, MonitorState, Verdict
from penstock.records.rollout import ReturnOrder
from penstock.registry import audit
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import history

pytestmark = pytest.mark.slow

GUARDIANS = Path(__file__).parents[4] / "manifests/components/guardian/access.yaml"

# Fixtures.
__all__ = ["cluster_trials", "template"]


@dataclass
class Watch:
    """A site whose guardian reads a minute later each time."""

    site: ClusterTrial
    figures: PodFigures
    minutes: int = 0

    @property
    def deployment(self) -> dict[str, Any]:
        router = self.site._router()
        prometheus = {"url": self.figures.prometheus.url, "stale_after": 1e9}
        return {
            "ready_timeout": 20, **router, "kserve": {**router["kserve"], "prometheus": prometheus}
        }  # fmt: skip

    @property
    def monitoring(self) -> dict[str, Any]:
        return {"state": str(self.site.home / "state")}

    @property
    def watcher(self) -> ClusterMonitor:
        return ClusterMonitor(
            service="adult",
            deployment=DeploymentSpec.model_validate(self.deployment),
            spec=MonitoringSpec.model_validate(self.monitoring),
            notify=NotifySpec(file="told.jsonl"),
            tracking_uri=self.site.uri,
            beside=self.site.home,
        )

    def guard(self) -> list[str]:
        self.minutes += 1
        moment = datetime.now(UTC) + timedelta(minutes=self.minutes)
        monitor = dataclasses.replace(self.watcher.guardian(), now=lambda: moment)
        with monitor.held():
            return monitor.guard()

    def serve(self, requests: int = 25, **how: Any) -> list[str]:
        """Have the champion's pod answer users, then let the guardian read."""
        self.answer(requests, **how)
        return self.guard()

    def answer(self, requests: int, **how: Any) -> None:
        """Have the champion's pod answer users, and be scraped."""
        target = self.watcher.target()
        arm = target.serving()
        (pod,) = target.ready_pods(arm)
        self.figures.answers(pod, arm.version, requests, **how)
        self.figures.scrape()

    @property
    def state(self) -> MonitorState:
        return self.watcher.guardian().folder.read(service="adult")[0]

    @property
    def returns(self) -> list[Any]:
        return [
            one.rollout
            for one in history(self.site.place())
            if isinstance(one.order, ReturnOrder) and one.order.automatic
            if one.rollout.outcome == "promoted"
        ]


@pytest.fixture
def unserved(cluster_trials: Callable[[str], Trial]) -> Iterator[Watch]:
    """A watch over a service of which nothing is released yet."""
    site = cluster_trials("one champion")
    assert isinstance(site, ClusterTrial)
    with small_prometheus() as prometheus:
        yield Watch(site, PodFigures(prometheus, service="adult"))


@pytest.fixture
def watch(unserved: Watch) -> Watch:
    """Over version 2, after a canary beside version 1."""
    serving_one(unserved.site)
    unserved.serve(300)
    unserved.serve(300)
    assert unserved.site.release(2).outcome == "promoted"
    return unserved


def test_a_champion_whose_pods_fail_requests_is_returned_once(watch: Watch) -> None:
    assert watch.serve() == watch.serve() == []
    guard = watch.state.guard
    assert (guard.version, guard.former, guard.seen.requests) == (2, 1, 50)
    assert [limit.signal for limit in guard.limits] == ["errors", "latency"]
    assert guard.limits[0].reference == 600
    # Of users alone: what the canary replayed is measured at another place.
    assert guard.seen.replayed == 0

    watch.site.cluster.calls.clear()
    said = next(filter(None, (watch.serve(errors=25) for _ in range(12))))
    assert used(watch.site.cluster.calls) <= allowed(GUARDIANS)
    assert "adult: version 1 is the champion again. Version 2 does harm: the share of" in said[0]
    watch.site.assert_legal(champion=1)
    (done,) = watch.returns
    assert done.direct.startswith(f"Rollback by {audit.GUARDIAN}, from version 2.")
    assert watch.state.totals.actions == {"returned": 1}
    told = (watch.site.home / "told.jsonl").read_text()
    assert told.count('"state":"returned"') == 1
    assert "/state/adult/monitor/index.html" in told

    # The one that serves again is guarded against nothing.
    assert [watch.serve(errors=25) for _ in range(3)] == [[], [], []]
    watch.site.assert_legal(champion=1)


@pytest.mark.long
def test_slow_answers_are_measured_in_the_server(watch: Watch) -> None:
    watch.serve()
    said = next(filter(None, (watch.serve(seconds=0.5) for _ in range(15))))
    assert "the share of answers that take" in said[0]
    watch.site.assert_legal(champion=1)


@pytest.mark.long
def test_killed_at_a_return_the_next_one_ends_it_and_it_is_done_once(watch: Watch) -> None:
    watch.serve()
    for _ in range(15):
        watch.answer(25, errors=25)
        ending = run(
            watch.guard,
            Fault.KILL,
            when=lambda effect: "inferenceservices" in effect,
            below=[watch.site.home],
        )
        watch.minutes += 1
        if ending.code:
            break
    assert ending.code == -9, ending.trace
    # Those of the process that was killed, which nobody renews.
    watch.site.cluster.delete("leases", "penstock-guardian-adult")
    watch.site.cluster.delete("leases", "penstock-adult")
    watch.minutes += 600
    for _ in range(3):
        watch.guard()
    watch.site.assert_legal(champion=1)
    assert len(watch.returns) == 1
    assert watch.state.totals.actions == {"returned": 1}


def test_where_nothing_is_known_of_a_pod_it_is_said_and_nothing_is_done(watch: Watch) -> None:
    watch.figures.prometheus.fault = lambda _: None
    watch.serve()
    watch.figures.figures.clear()
    for target in list(watch.figures.prometheus._samples):
        watch.figures.prometheus.forget(target)
    (said,) = watch.guard()
    assert said.startswith("The guardian cannot look: ")
    watch.site.assert_legal(champion=2)


@pytest.mark.long
def test_one_that_was_taken_over_from_writes_nothing(watch: Watch) -> None:
    monitor = watch.watcher.guardian()
    before = watch.state
    with monitor.held():
        watch.site.cluster.delete("leases", "penstock-guardian-adult")
        with pytest.raises(LeaseLostError):
            monitor.folder.write(before)


@pytest.mark.long
def test_a_second_one_is_told_who_guards(watch: Watch) -> None:
    second = watch.watcher.guardian()
    with watch.watcher.guardian().held(), pytest.raises(ServiceError, match="is guarding it"):
        second.held().__enter__()


@pytest.mark.long
def test_the_command_guards_and_shows_its_figures(watch: Watch) -> None:
    watch.serve()
    project = watch.site.home / "project.yaml"
    project.write_text(
        yaml.safe_dump(
            {
                "name": "adult",
                "target": "target",
                "source": {"uri": "rows.csv"},
                "deployment": watch.deployment,
                "monitoring": watch.monitoring,
                "tracking_uri": watch.site.uri,
            }
        )
    )
    penstock = str(Path(sys.executable).with_name("penstock"))
    command = [penstock, "monitor", str(project), "--guard-only"]
    once = subprocess.run([*command, "--once"], capture_output=True, text=True, check=False)
    assert once.returncode == 0, once.stderr
    log = watch.site.home / "guardian.log"
    with RunningProcess([*command, "--metrics-port", "0"], log=log) as process:
        process.wait_until(lambda: "Guarding adult every 1m." in log.read_text())
        address = next(w for w in log.read_text().split() if w.startswith("http://"))
        text = httpx.get(address, trust_env=False, verify=False).text
        # As the kubelet ends a pod: what comes next need not wait until a lease expires.
        assert process.stop() == 0
    with watch.watcher.guardian().held():
        pass
    assert 'penstock_monitor_actions_total{action="returned",service="adult"} 0.0' in text


def test_without_prometheus_or_with_nothing_to_guard_it_is_refused(unserved: Watch) -> None:
    for change, said in (
        ({"deployment": DeploymentSpec.model_validate(unserved.site._router())}, "none is named"),
        ({"spec": MonitoringSpec.parse({"guardian": {"mode": "never"}}, where="t")}, "nothing is"),
        ({"spec": MonitoringSpec()}, "it is not said where the monitor of adult keeps"),
    ):
        with pytest.raises(InputError, match=said):
            dataclasses.replace(unserved.watcher, **change).guardian()


def verdict(kind: str = "healthy", *, alarm: bool = False) -> Verdict:
    moment = datetime.now(UTC)
    return Verdict(
        service="adult", number=1, time=moment, kind=kind, headline="h", reasons=(), bound="b",
        drift=Alarm(number=1, time=moment) if alarm else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "hours", "expected"),
    [
        (verdict(), 0, False),
        (verdict("drifted", alarm=True), 0, True),
        (verdict("blind"), 0, None),
        (verdict(), 3, None),
        (None, 0, None),
    ],
)
def test_whether_the_data_drifted_is_read_from_the_monitor(
    tmp_path: Path, found: Verdict | None, hours: float, expected: bool | None
) -> None:
    store = MonitorStore(Storage(LocalPlace(tmp_path), where=str(tmp_path)))
    if found is not None:
        looked = datetime.now(UTC) - timedelta(hours=hours)
        store.write(MonitorState(service="adult", verdict=found, time=looked))
    assert drifted(store, service="adult", seconds=3600) is expected


def test_what_the_guardian_did_is_shown_with_what_the_monitor_knows() -> None:
    watching = MonitorState(service="adult", totals={"actions": {"suggested": 2}})
    guarding = MonitorState(service="adult", totals={"actions": {"returned": 1}, "undelivered": 3})
    both = together(watching, guarding)
    assert both.totals.actions == {"suggested": 2, "returned": 1}
    assert both.totals.undelivered == 3
