"""Orders of recalls and retrainings on a cluster: given once, again after a kill, ended once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cluster_emulator import Cluster, kubeconfig_of, running
from intervened_service import AUTOMATIC, NOW, RETRAIN, WORSE, Service

from penstock.captures.places import LocalPlace
from penstock.errors import InputError, ServiceError
from penstock.monitoring.cluster import pipeline_runs
from penstock.monitoring.cluster.interventions import ClusterExecutor, OrderGiver, settle
from penstock.monitoring.cluster.monitor import watcher_of
from penstock.monitoring.cluster.pipeline_runs import Releases, goes_on
from penstock.monitoring.cluster.run_files import RunFiles
from penstock.monitoring.cluster.tasks import intervene_once
from penstock.monitoring.store.storage import Storage
from penstock.records.intervention import Comparison, Intervention, RunOrder, RunStatus


class Released(Releases):
    """What registry and service would say; theirs is tested with them, in tests/pipeline."""

    def __init__(self) -> None:
        object.__setattr__(self, "said", {"stands": None, "driven": False})

    def says(self, stands: RunStatus | None, *, driven: bool = False) -> None:
        self.said.update(stands=stands, driven=driven)

    def away(self) -> None:
        self.said["away"] = True

    def rollout(self, orders):
        if self.said.get("away"):
            raise ServiceError("the registry does not answer")
        return self.said["stands"] if orders else None

    def take_back(self, orders):
        if not self.said["driven"]:
            self.said["stands"] = None
        return self.said["stands"]

    def waits(self, orders, *, approval):
        return "Version 2 waits." if approval.people else ""


@dataclass
class Kubeflow:
    """Runs that go on, and the store that they share."""

    folder: Path
    releases: Released = field(default_factory=Released)
    running: set[str] = field(default_factory=set)

    @property
    def files(self) -> RunFiles:
        return RunFiles(Storage(LocalPlace(self.folder), where=str(self.folder)))

    def given(self, run: str, one: Intervention | None = RETRAIN, **approval) -> RunOrder | None:
        self.running.add(run)
        giver = OrderGiver(
            files=self.files,
            releases=self.releases,
            goes_on=lambda order: order.pipeline_run in self.running,
            pipeline_run=run,
            namespace="kubeflow",
            approval=approval,
        )
        return giver.give(one, now=NOW)

    def killed(self, run: str) -> None:
        self.running.remove(run)

    def status(self, one: Intervention = RETRAIN) -> RunStatus:
        return ClusterExecutor(self.files, releases=self.releases).run(one)

    def rows(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*.parquet"))


@pytest.fixture
def kubeflow(tmp_path: Path) -> Kubeflow:
    return Kubeflow(tmp_path)


def test_an_order_is_given_to_one_run(kubeflow: Kubeflow) -> None:
    assert kubeflow.status() == RunStatus(state="running")
    order = kubeflow.given("a")
    assert order is not None
    assert (order.start, order.pipeline_run, order.intervention) == (1, "a", RETRAIN)
    # A task that is tried again goes on with it; the run of another look has nothing to do.
    assert kubeflow.given("a") == order
    assert kubeflow.given("b") is None
    assert kubeflow.status() == RunStatus(state="running")


def test_nothing_is_given_where_no_stage_was_entered(kubeflow: Kubeflow) -> None:
    compare = RETRAIN.model_copy(update={"stage": "compare", "run": ""})
    for one in (None, compare, compare.model_copy(update={"stage": "wait"})):
        assert kubeflow.given("a", one) is None
    assert list(kubeflow.folder.rglob("*.order-*")) == []


def test_a_run_that_was_killed_is_begun_again_and_not_for_ever(kubeflow: Kubeflow) -> None:
    for start, run in enumerate("abc", start=1):
        order = kubeflow.given(run)
        assert order is not None
        assert order.start == start
        kubeflow.files.keep_rows(order, b"rows of users")
        assert kubeflow.status().state == "running"
        kubeflow.killed(run)
    # Rows of those that were killed do not stay.
    assert kubeflow.rows() == [f"{RETRAIN.run}.rows-3.parquet"]
    assert kubeflow.given("d") is None
    status = kubeflow.status()
    assert status.state == "failed"
    assert "ended 3 times without a result. Runs of Kubeflow: a, b, c." in status.reason
    kubeflow.given("e", None)
    assert kubeflow.rows() == []


def test_what_cannot_be_known_begins_nothing(kubeflow: Kubeflow) -> None:
    kubeflow.given("a")

    def unknown(order: RunOrder) -> bool:
        raise ServiceError("it cannot be known")

    giver = OrderGiver(
        files=kubeflow.files, releases=kubeflow.releases, goes_on=unknown,
        pipeline_run="b", namespace="kubeflow", approval={},
    )  # fmt: skip
    with pytest.raises(ServiceError, match="cannot be known"):
        giver.give(RETRAIN, now=NOW)
    assert len(kubeflow.files.orders(RETRAIN)) == 1


@pytest.mark.parametrize("state", ["released", "rolled_back"])
def test_a_rollout_that_ended_counts_though_its_run_was_killed(
    kubeflow: Kubeflow, state: str
) -> None:
    kubeflow.given("a")
    kubeflow.killed("a")
    kubeflow.releases.says(RunStatus.model_validate({"state": state, "version": 2}))
    assert kubeflow.given("b") is None
    assert (kubeflow.status().state, kubeflow.status().version) == (state, 2)


def test_a_canary_that_nobody_watches_is_taken_back_before_it_is_begun_again(
    kubeflow: Kubeflow,
) -> None:
    kubeflow.given("a")
    kubeflow.killed("a")
    kubeflow.releases.says(RunStatus(state="running", version=2), driven=True)
    assert kubeflow.given("b") is None
    kubeflow.releases.says(RunStatus(state="running", version=2))
    order = kubeflow.given("c")
    assert order is not None
    assert order.start == 2
    assert kubeflow.releases.rollout([order]) is None


def test_the_last_task_says_what_it_came_to_and_removes_the_rows(kubeflow: Kubeflow) -> None:
    order = kubeflow.given("a")
    assert order is not None
    kubeflow.files.keep_rows(order, b"rows of users")
    kubeflow.releases.says(RunStatus(state="running", version=2))
    ended = settle(kubeflow.files, kubeflow.releases, order, failure="a pod was evicted")
    assert ended.state == "running"
    assert kubeflow.status().state == "running"
    assert kubeflow.rows() == []
    kubeflow.releases.says(None)
    settle(kubeflow.files, kubeflow.releases, order, failure="a pod was evicted")
    assert kubeflow.status() == RunStatus(state="failed", reason="a pod was evicted")


def test_a_registry_that_is_away_keeps_no_rows(kubeflow: Kubeflow) -> None:
    order = kubeflow.given("a")
    assert order is not None
    kubeflow.files.keep_rows(order, b"rows of users")
    kubeflow.releases.away()
    with pytest.raises(ServiceError, match="does not answer"):
        settle(kubeflow.files, kubeflow.releases, order, failure="")
    assert kubeflow.rows() == []


def test_a_wrong_policy_is_refused_before_anything_begins(tmp_path: Path) -> None:
    watcher = watcher_of(
        "shop",
        deployment={"router": "kserve-gateway"},
        monitoring={"state": f"file://{tmp_path / 'state'}"},
        notify={},
        tracking_uri="",
    )
    with pytest.raises(InputError, match=r"gate\.approval"):
        intervene_once(
            watcher, approval={"people": "two"}, pipeline_run="a", order=tmp_path / "order"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_that_was_written_down_stays(kubeflow: Kubeflow) -> None:
    order = kubeflow.given("a")
    assert order is not None
    refused = RunStatus(state="refused", reason="The gate refused the candidate.")
    kubeflow.files.end(order, refused)
    settle(kubeflow.files, kubeflow.releases, order, failure="The gate refused the candidate.")
    assert kubeflow.status() == refused
    assert kubeflow.given("b") is None


def test_a_run_that_waits_for_people_says_so(kubeflow: Kubeflow) -> None:
    kubeflow.given("a", people=1)
    assert kubeflow.status().waits == "Version 2 waits."


def test_a_comparison_that_kills_its_task_is_not_made_for_ever(kubeflow: Kubeflow) -> None:
    compare = RETRAIN.model_copy(update={"stage": "compare", "run": ""})

    def killed(one: Intervention) -> Comparison:
        raise MemoryError

    leaves = ClusterExecutor(kubeflow.files, releases=kubeflow.releases)
    makes = ClusterExecutor(kubeflow.files, releases=kubeflow.releases, compare=killed)
    for _ in range(3):
        with pytest.raises(MemoryError):
            makes.compare(compare)
        # A look leaves it to the task after it.
        assert leaves.compare(compare) is None
    with pytest.raises(ServiceError, match="begun 3 times and ended without a result"):
        makes.compare(compare)


def test_three_refusals_in_a_row_stop_and_ask(kubeflow: Kubeflow) -> None:
    """The rules of a laptop, look after look, each its own run of Kubeflow."""
    service = Service(AUTOMATIC.model_copy(update={"cooldown": 0, "actions_per_month": 9}))
    service.hand.found()
    comparison = service.hand.comparison
    assert isinstance(comparison, Comparison)
    executor = ClusterExecutor(
        kubeflow.files, releases=kubeflow.releases, compare=lambda _: comparison
    )
    service.hand = executor
    begun = 0
    for number in range(1, 12):
        verdict = service.look(**WORSE)
        service.go_on()
        order = kubeflow.given(f"run-{number}", service.state.intervention)
        if order is not None:
            begun += 1
            kubeflow.files.end(order, RunStatus(state="refused", reason="The gate refused it."))
            settle(kubeflow.files, kubeflow.releases, order, failure="")
    assert [one.kind for one in service.state.actions] == ["refused"] * 3
    assert begun == 3
    assert service.state.intervention is None
    assert not verdict.begins
    assert "The last 3 runs were refused" in " ".join([*verdict.reasons, *verdict.advice])


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with running() as made:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(json.dumps(kubeconfig_of(made.url)))
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        namespace = tmp_path / "namespace"
        namespace.write_text("penstock")
        monkeypatch.setattr(pipeline_runs, "_NAMESPACE", namespace)
        yield made


def workflow(cluster: Cluster, run: str, phase: str) -> None:
    labels = {"pipeline/runid": run}
    metadata = {"name": f"shop-{run}", "labels": labels}
    status = {"phase": phase} if phase else {}
    cluster.put("workflows", {"metadata": metadata, "spec": {"phase": phase}, "status": status})


def test_whether_a_run_goes_on_is_what_its_workflow_says(cluster: Cluster) -> None:
    order = RunOrder(
        intervention=RETRAIN, start=1, pipeline_run="a", namespace="penstock", time=NOW
    )
    workflow(cluster, "mine", "Running")
    assert not goes_on(order, asked_by="mine")
    for phase, alive in (
        ("", True), ("Pending", True), ("Running", True),
        ("Succeeded", False), ("Failed", False), ("Error", False),
    ):  # fmt: skip
        workflow(cluster, "a", phase)
        assert goes_on(order, asked_by="mine") == alive, phase


def test_who_does_not_see_its_own_run_knows_of_none(cluster: Cluster) -> None:
    order = RunOrder(
        intervention=RETRAIN, start=1, pipeline_run="a", namespace="penstock", time=NOW
    )
    with pytest.raises(ServiceError, match="not even this run, mine, is found"):
        goes_on(order, asked_by="mine")
