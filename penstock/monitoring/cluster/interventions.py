"""Recalls and retrainings on a cluster: carried out by the run of Kubeflow whose look began them.

A look goes through the rules (`intervening`) and reads how the run of an order stands. The task
after it gives the order, under the monitor's lease, and its own run carries it out. So no account
needs the right to begin runs, and nothing waits: that a run has ended without a result is seen
after a later look, and its order is given again, to the run of that look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.errors import ServiceError
from penstock.gate.approval import ApprovalSpec
from penstock.monitoring.cluster.pipeline_runs import Releases
from penstock.monitoring.cluster.run_files import RunFiles
from penstock.records.base import restored
from penstock.records.intervention import Comparison, Intervention, RunOrder, RunStatus

STARTS = 3
"""Times that a stage is begun; beyond it, it has failed."""


class ClusterExecutor:
    """Does what the rules say of a service on a cluster; see `intervening.Executor`.

    Args:
        files: What is kept of recalls and retrainings.
        releases: What became of registered versions.
        compare: Compares former champions and labels, which takes a while; None: this process
            leaves it to another one.
    """

    def __init__(
        self,
        files: RunFiles,
        *,
        releases: Releases,
        compare: Callable[[Intervention], Comparison] | None = None,
    ) -> None:
        self._files = files
        self._releases = releases
        self._compare = compare

    def compare(self, intervention: Intervention) -> Comparison | None:
        """See `penstock.monitoring.interventions.intervening.Executor`."""
        if self._compare is None:
            return None
        if self._files.count_comparison(intervention) > STARTS:
            raise ServiceError(
                f"it was begun {STARTS} times and ended without a result",
                where="the comparison",
                remedy="Its task may want memory: cluster.resources, step intervene.",
            )
        return self._compare(intervention)

    def run(self, intervention: Intervention) -> RunStatus:
        """See `penstock.monitoring.interventions.intervening.Executor`."""
        orders = self._files.orders(intervention)
        for order in reversed(orders):
            ended = self._files.result(order)
            if ended is not None:
                return ended
        if not orders:
            return RunStatus(state="running")
        approval = restored(ApprovalSpec, orders[-1].approval, where="the order of its run")
        return RunStatus(state="running", waits=self._releases.waits(orders, approval=approval))


@dataclass(frozen=True)
class OrderGiver:
    """Gives the order of a stage that was entered to the run of Kubeflow that this is a task of.

    Attributes:
        files: What is kept of recalls and retrainings; written under the monitor's lease.
        releases: What became of registered versions.
        goes_on: Whether the run of an order goes on.
        pipeline_run: Kubeflow's id of this run.
        namespace: Of its pods.
        approval: Fields of `gate.approval`.
    """

    files: RunFiles
    releases: Releases
    goes_on: Callable[[RunOrder], bool]
    pipeline_run: str
    namespace: str
    approval: dict[str, Any]

    def give(self, intervention: Intervention | None, *, now: datetime) -> RunOrder | None:
        """Return the order that this run is to carry out; None: nothing is to be begun.

        A task that is tried again gets the order that it was given. An order whose run has ended
        without a result is given again, `STARTS` times in all. Where the rollout of that run was
        left half-way, the champion gets all requests back first: nobody watched its canary.

        Args:
            intervention: What is under way.
            now: The time.

        Raises:
            PenstockError: If it cannot be known whether an earlier run goes on, or what it came
                to: then nothing is begun.
        """
        if intervention is None or intervention.stage not in ("recall", "retrain"):
            self.files.remove_others(None)
            return None
        orders = self.files.orders(intervention)
        if any(self.files.result(one) is not None for one in orders):
            return None
        if orders and orders[-1].pipeline_run == self.pipeline_run:
            return orders[-1]
        if orders and self.goes_on(orders[-1]):
            return None
        if orders and not self._left_behind(orders):
            return None
        if len(orders) >= STARTS:
            self.files.end(orders[-1], _ended_without(orders))
            return None
        order = RunOrder(
            intervention=intervention,
            start=len(orders) + 1,
            pipeline_run=self.pipeline_run,
            namespace=self.namespace,
            approval=self.approval,
            time=now,
        )
        self.files.give(order)
        self.files.remove_others(order)
        return order

    def _left_behind(self, orders: Sequence[RunOrder]) -> bool:
        """Return whether a stage is to be begun again whose run has ended without a result."""
        stands = self.releases.rollout(orders)
        if stands is not None and stands.state == "running":
            stands = self.releases.take_back(orders)
        if stands is not None and stands.state != "running":
            self.files.end(orders[-1], stands)
        return stands is None


def settle(files: RunFiles, releases: Releases, order: RunOrder, *, failure: str) -> RunStatus:
    """Write what the run of an order came to, as its last task, and remove its rows.

    Where its rollout has begun and not ended nothing is written: a later look goes on with it.

    Args:
        files: What is kept of recalls and retrainings.
        releases: What became of registered versions.
        order: The order.
        failure: What Kubeflow says of a run that failed; empty: nothing.

    Returns:
        What it came to; `running` if its rollout has not ended.

    Raises:
        PenstockError: If registry, service or store do not answer: a later look finds it out.
    """
    try:
        ended = files.result(order)
        if ended is None:
            ended = releases.rollout(files.orders(order.intervention)) or RunStatus(
                state="failed", reason=failure or "A task of its run failed, or its run was ended."
            )
            if ended.state != "running":
                files.end(order, ended)
    finally:
        # They are of users: a registry that is away must not keep them.
        files.remove_rows(order)
    return ended


def _ended_without(orders: Sequence[RunOrder]) -> RunStatus:
    runs = ", ".join(one.pipeline_run for one in orders)
    reason = f"Its run ended {len(orders)} times without a result. Runs of Kubeflow: {runs}."
    return RunStatus(state="failed", reason=reason)
