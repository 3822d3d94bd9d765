"""How a run on this machine ended, by what it left: never by what Kubeflow reports alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penstock.errors import PenstockError
from penstock.gate.evaluation import Evaluation
from penstock.pipelines.local_runner import StepTime
from penstock.pipelines.outcomes import ENDINGS
from penstock.pipelines.outputs import Outputs, collect_pages
from penstock.pipelines.view import RunView
from penstock.records.approval import ApprovalOutcome
from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.quality import Validation
from penstock.records.release import Deployment, Registration
from penstock.records.rollout import Rollout
from penstock.records.run_end import Outcome
from penstock.rollout.access import AccessSpec
from penstock.rollout.words import headline


@dataclass(frozen=True)
class RunResult:
    """How a run ended, and what it left.

    `outcome` is "released" only if the deployment record of this run is there and names the very
    model that this run's decision approves, and its rollout promoted it; that Kubeflow reports
    success is not enough.
    """

    outcome: Outcome
    reason: str
    folder: Path
    log: Path
    home: Path
    tracking_uri: str
    dataset: Dataset | None = None
    split: Split | None = None
    validation: Validation | None = None
    evaluation: Evaluation | None = None
    decision: Decision | None = None
    registration: Registration | None = None
    approval: ApprovalOutcome | None = None
    rollout: Rollout | None = None
    deployment: Deployment | None = None
    holdout: Path | None = None
    access: AccessSpec = field(default_factory=AccessSpec)
    settings: tuple[str, ...] = ()
    times: tuple[StepTime, ...] = ()
    reports: Mapping[str, Path] = field(default_factory=dict)


def result_of(
    view: RunView,
    *,
    finished: bool,
    where: Path,
    log: Path,
    home: Path,
    tracking_uri: str,
    times: tuple[StepTime, ...],
    settings: tuple[str, ...],
    name: str,
) -> RunResult:
    """Return how a run ended, by what its tasks wrote.

    Args:
        view: What was seen of its tasks.
        finished: Whether kfp says that it succeeded.
        where: Its folder.
        log: Its log.
        home: The project's home.
        tracking_uri: The MLflow store, without secrets.
        times: What each step cost.
        settings: What was changed of the project.
        name: The project's.
    """
    found = Outputs(where / "kfp")
    decision = found.record(Decision, "decide", "decision")
    validation = found.record(Validation, "validate", "results")
    registration = found.record(Registration, "register", "registration")
    approval = found.record(ApprovalOutcome, "approve", "outcome")
    rollout = found.record(Rollout, "deploy", "rollout")
    deployment = found.record(Deployment, "deploy", "deployment")
    outcome, reason = _outcome(
        view,
        finished=finished,
        validation=validation,
        decision=decision,
        registration=registration,
        approval=approval,
        rollout=rollout,
        deployment=deployment,
    )
    return RunResult(
        outcome=outcome,
        reason=reason,
        folder=where,
        log=log,
        home=home,
        tracking_uri=tracking_uri,
        dataset=_went_on(found),
        split=found.record(Split, "split", "proof"),
        validation=validation,
        evaluation=found.record(Evaluation, "evaluate", "evaluation"),
        decision=decision,
        registration=registration,
        approval=approval,
        rollout=rollout,
        deployment=deployment,
        holdout=found.path("split", "holdout"),
        times=times,
        settings=settings,
        reports=collect_pages(where, home=home, name=name),
    )


def _outcome(
    view: RunView,
    *,
    finished: bool,
    validation: Validation | None,
    decision: Decision | None,
    registration: Registration | None,
    approval: ApprovalOutcome | None,
    rollout: Rollout | None,
    deployment: Deployment | None,
) -> tuple[Outcome, str]:
    failed = view.failed()
    if failed is not None and failed.name in ENDINGS:
        if validation is not None and not validation.passed:
            return "refused", f"The data were refused. {validation.reason()}"
        if decision is not None and not decision.approved:
            return "refused", decision.grounds()
        if approval is not None and not approval.approved:
            return "refused", f"The candidate was not approved. {approval.reason()}"
        if rollout is not None and rollout.outcome == "rolled_back":
            return "rolled_back", rollout.reason
    if failed is not None:
        return "failed", f"{failed.title} failed: {failed.raised or 'see the log'}"
    if not finished:
        return "failed", "The pipeline failed outside of its steps; see the log"
    if decision is None or registration is None or rollout is None or deployment is None:
        return "failed", "Kubeflow reports success, but nothing was deployed: a gate was skipped"
    return _checked(decision, rollout, deployment)


def _checked(decision: Decision, rollout: Rollout, deployment: Deployment) -> tuple[Outcome, str]:
    try:
        decision.require_approval_of(deployment.model)
    except PenstockError as error:
        return "failed", f"What is served is not what was approved: {error}"
    if rollout.outcome != "promoted" or deployment.rollout != rollout.digest():
        return "failed", "What is served was not promoted by this run's rollout"
    return "released", f"{decision.reason()} {headline(rollout)}"


def _went_on(found: Outputs) -> Dataset | None:
    """Return the record of the rows that went on: those ingested, without quarantined ones."""
    for task, output in (("validate", "valid"), ("ingest", "dataset")):
        folder = found.path(task, output)
        if folder is not None and Dataset.record_in(folder):
            return Dataset.of(folder)
    return None
