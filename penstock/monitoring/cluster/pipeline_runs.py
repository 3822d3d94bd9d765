"""What is known of a run of Kubeflow that carries a recall or a retraining out.

Whether it goes on is asked of Kubernetes, where Kubeflow keeps a run as a Workflow of Argo: that
needs no account of Kubeflow's own API, and a Workflow is there as long as its tasks can act. What
became of the version that it registered is asked of the registry and of the service.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.cluster import client as kube
from penstock.common.pod_account import ACCOUNT
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.gate.approval import ApprovalSpec
from penstock.records.intervention import RunOrder, RunState, RunStatus
from penstock.rollout.spec import DeploymentSpec

if TYPE_CHECKING:
    from penstock.records.rollout import Rollout
    from penstock.registry.versions import Version
    from penstock.rollout.backends.kserve.target import ClusterTarget

_WORKFLOWS = kube.Resource("argoproj.io/v1alpha1", "workflows")
_RUN = "pipeline/runid"
"""Label that Kubeflow gives the Workflow of a run: its id."""

_CUT_SHORT = "The run that it belonged to had ended before it did."
"""Why a rollout is taken back that nobody drives any more."""

_ENDED = ("Succeeded", "Failed", "Error")
_NAMESPACE = ACCOUNT / "namespace"


def own_namespace() -> str:
    """Return the namespace of the pod that this runs in; outside of one `default`."""
    try:
        return _NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        return "default"


def goes_on(order: RunOrder, *, asked_by: str) -> bool:
    """Return whether the run of an order goes on, as Kubernetes has it.

    Args:
        order: The order.
        asked_by: Kubeflow's id of the run that this is a task of. That it goes on is certain: where
            it is not found, nothing that is not found has ended.

    Raises:
        ServiceError: If that cannot be known.
    """
    cluster = kube.connect()
    if not _active(cluster, asked_by, namespace=own_namespace()):
        raise ServiceError(
            f"it cannot be known whether the run {order.pipeline_run} goes on, which recalls or "
            f"trains again: not even this run, {asked_by}, is found as a Workflow of Argo",
            where=f"{cluster.server.rstrip('/')}, namespace {own_namespace()}",
            remedy="The tasks must see the cluster that Kubeflow runs in (docs/monitoring.md).",
        )
    return _active(cluster, order.pipeline_run, namespace=order.namespace)


def _active(cluster: kube.Kube, run: str, *, namespace: str) -> bool:
    found = cluster.items(_WORKFLOWS.path(namespace), labelSelector=f"{_RUN}={run}")
    return any(one.get("status", {}).get("phase", "") not in _ENDED for one in found)


@dataclass(frozen=True)
class Releases:
    """What became of the versions that runs have registered.

    Attributes:
        service: The service, which is the registered model.
        deployment: How it is deployed.
        tracking_uri: The MLflow store.
    """

    service: str
    deployment: DeploymentSpec
    tracking_uri: str

    def rollout(self, orders: Sequence[RunOrder]) -> RunStatus | None:
        """Return what the rollout came to that a run has begun; None: none has.

        One that was taken back because its run had ended does not count.

        Args:
            orders: All of one stage: a version that an earlier start registered counts too.

        Returns:
            `running` while it has not ended, and its candidate is not the champion.

        Raises:
            PenstockError: If registry or service do not answer.
        """
        found = self._newest(self._target, orders)
        if found is None:
            return None
        state: RunState = "released" if found.outcome == "promoted" else "rolled_back"
        if not found.ended:
            # The alias moves last but for the journal.
            state = "released" if self._is_champion(found.candidate) else "running"
        return RunStatus(state=state, reason=found.reason, version=found.candidate)

    def take_back(self, orders: Sequence[RunOrder]) -> RunStatus | None:
        """End the rollout that a run has left half-way: the champion serves all requests again.

        Args:
            orders: All of one stage.

        Returns:
            None where it was taken back; else what it came to, `running` where somebody drives it.

        Raises:
            PenstockError: If the service cannot be steered, or the registry does not answer.
        """
        from penstock.rollout.control import abort

        stands = self.rollout(orders)
        target = self._target
        if stands is None or stands.state != "running" or target.driven():
            return stands
        with contextlib.suppress(InputError):  # It is the champion by now.
            abort(target, reason=_CUT_SHORT)
        return self.rollout(orders)

    def waits(self, orders: Sequence[RunOrder], *, approval: ApprovalSpec) -> str:
        """Return what a run waits for people to do, in a sentence; empty: nothing.

        Args:
            orders: All of one stage.
            approval: Who must approve.

        Raises:
            PenstockError: If the registry does not answer.
        """
        from penstock.registry.approval_wait import REQUESTED, tags_of
        from penstock.registry.approvals import judge_tags

        if not approval.people:
            return ""
        for version in self._registered(orders)[:1]:
            tags, model_tags = tags_of(
                self.service, version.version, tracking_uri=self.tracking_uri
            ).read()
            if not any(name.startswith(REQUESTED) for name in tags):
                return ""
            try:
                judged = judge_tags(version.uri, tags=tags, model_tags=model_tags, spec=approval)
            except PenstockError as error:
                return str(error)
            if judged.approved or judged.rejected:
                return ""
            who = "a person" if approval.people == 1 else f"{approval.people} people"
            return (
                f"Version {version.version} waits for the approval of {who}: penstock approve "
                f"{version.uri} --reason TEXT"
            )
        return ""

    @property
    def _target(self) -> ClusterTarget:
        from penstock.rollout.backends.kserve.target import ClusterTarget

        return ClusterTarget(self.deployment, service=self.service, tracking_uri=self.tracking_uri)

    def _newest(self, target: ClusterTarget, orders: Sequence[RunOrder]) -> Rollout | None:
        """Return the newest rollout of a version that runs have registered; None: there is none."""
        from penstock.rollout.target import history

        versions = {one.version for one in self._registered(orders)}
        if not versions:
            return None
        found = [one.rollout for one in history(target) if one.rollout.candidate in versions]
        whole = [one for one in found if not one.ended or _CUT_SHORT not in one.reason]
        return whole[-1] if whole else None

    def _is_champion(self, version: int) -> bool:
        from penstock.registry import versions

        found = versions.champion(self.service, tracking_uri=self.tracking_uri)
        return found is not None and found.version == version

    def _registered(self, orders: Sequence[RunOrder]) -> Sequence[Version]:
        from penstock.registry.by_run import registered_by

        runs = {one.pipeline_run for one in orders}
        return registered_by(runs, name=self.service, tracking_uri=self.tracking_uri)
