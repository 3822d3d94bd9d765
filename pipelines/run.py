"""The release pipeline on this machine: `kfp.local` underneath, a result that can be trusted."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from penstock import tracking
from penstock.cluster.settings import StepName
from penstock.common import files
from penstock.errors import InputError, PenstockError
from penstock.gate.evaluation import Evaluation
from penstock.pipelines.local_runner import LocalSteps, StepTime, import_kfp, started_by
from penstock.pipelines.located import Located
from penstock.pipelines.outcomes import ENDINGS, TITLES, Outcome
from penstock.pipelines.outputs import Outputs, collect_pages
from penstock.pipelines.parameters import for_run
from penstock.pipelines.secret_fields import lent, resolve_all
from penstock.pipelines.step_cache import StepCache, cacheable
from penstock.pipelines.view import LogTee, RunView
from penstock.pipelines.warm import WarmSteps
from penstock.project import Project
from penstock.records.approval import ApprovalOutcome
from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.quality import Validation
from penstock.records.release import Deployment, Registration
from penstock.records.rollout import Rollout
from penstock.redaction import redact
from penstock.rollout.spec import Fault
from penstock.rollout.words import headline

if TYPE_CHECKING:
    from rich.console import Console

NOTIFY = "notify"
"""The task that notifies how a run ended; it is shown only if it fails."""

STEPS = tuple(name for name in get_args(StepName) if name != NOTIFY)
"""The tasks of a release in their order, by their names in Kubeflow."""

_QUIET = (NOTIFY,)


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
    settings: tuple[str, ...] = ()
    times: tuple[StepTime, ...] = ()
    reports: Mapping[str, Path] = field(default_factory=dict)


def bad_candidate(project: Project, *, fault: Fault = "errors") -> Project:
    """Return the project changed so that its next run rolls a bad candidate out, and back.

    The candidate is trained with another seed, so that it is another version and passes the gate;
    its server is started with a fault.

    Args:
        project: The project; its champion serves already, or is brought up first.
        fault: The fault.
    """
    training = project.training.model_copy(update={"seed": project.training.seed + 1})
    deployment = project.deployment.model_copy(update={"fault_injection": fault})
    return project.model_copy(update={"training": training, "deployment": deployment})


def run_release(
    project: Project,
    *,
    folder: Path,
    console: Console,
    fresh: bool = False,
    plain: bool = False,
    settings: Sequence[str] = (),
) -> RunResult:
    """Run the release pipeline on this machine and say how it ended.

    Args:
        project: The project.
        folder: Where the project file is; relative paths start here, and `.penstock` is made here.
        console: Where progress is drawn.
        fresh: Run every step, also those whose inputs, settings and code an earlier run had.
        plain: Start a new interpreter for every step, as kfp.local does by itself; this implies
            `fresh`.
        settings: What was changed of the project for this run, for its summary.

    Raises:
        InputError: If a path or value cannot be passed through `kfp.local`, a secret is held by a
            field in which no reference is read, or a reference leads nowhere.
    """
    tracking_shown = redact(Located(project=project, folder=folder).tracking_uri)
    project, secrets = lent(project)
    located = Located(project=project, folder=folder)
    home = located.home
    where = _new_run_folder(home)
    with _environment(secrets):
        resolve_all(project)
        tracking.resolve_uri(located.tracking_uri)
        parameters = for_run(project, folder=folder)
    _refuse_python3(parameters, where=str(where))
    log = where / "kfp.log"
    view = RunView(console, steps=STEPS, quiet=_QUIET, endings=TITLES)
    # Waiting OpenMP threads spin by default; on a machine that is shared, that costs tenfold.
    environment = {
        "PENSTOCK_HOME": str(home),
        "PENSTOCK_PIPELINE_RUN": where.name,
        "OMP_WAIT_POLICY": "PASSIVE",
        **secrets,
    }
    tracking_uri = located.tracking_uri
    if not project.tracking_uri:
        environment["MLFLOW_TRACKING_URI"] = tracking_uri
    with _environment(environment), view, files.private_log(log) as stream:
        tee = LogTee(stream, view)
        with contextlib.redirect_stdout(tee), contextlib.redirect_stderr(tee):
            finished, times = _execute(parameters, home, where, fresh=fresh, plain=plain)
    return _result(
        view,
        finished=finished,
        where=where,
        log=log,
        home=home,
        tracking_uri=tracking_shown,
        times=times,
        settings=tuple(settings),
        name=project.name,
    )


def _execute(
    parameters: dict[str, Any], home: Path, where: Path, *, fresh: bool, plain: bool
) -> tuple[bool, tuple[StepTime, ...]]:
    """Run the pipeline; return whether kfp says that it succeeded, and what each step cost."""
    with contextlib.ExitStack() as stack:
        warm = None
        # macOS's own libraries do not survive a fork: each step gets an interpreter there.
        if not plain and sys.platform != "darwin":
            # First of all: the servers import while this process imports kfp.
            warm = stack.enter_context(WarmSteps(log=where / "imports.log"))
        import_kfp()
        from kfp import local

        from penstock.pipelines.release import release

        spec = release.pipeline_spec
        _drop_retries(spec)
        cache = None
        if not plain:
            cache = StepCache(home, run=where.name, steps=cacheable(spec), fresh=fresh)
        steps = LocalSteps(warm, cache=cache)
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(where / "kfp"),
            raise_on_error=True,
        )
        stack.enter_context(started_by(steps))
        stack.enter_context(warnings.catch_warnings())
        # Our images are not called python, and local runs ignore resource settings: both are meant.
        warnings.simplefilter("ignore")
        try:
            release(**parameters)
        except RuntimeError as error:
            print(f"\n{error}")
            return False, tuple(steps.times)
    return True, tuple(steps.times)


def _drop_retries(spec: Any) -> None:
    """Let a step fail at once: whoever watches can run it again."""
    for component in (spec.root, *spec.components.values()):
        for task in component.dag.tasks.values():
            task.ClearField("retry_policy")


def _result(
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
        dataset=_ingested(found),
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


def _ingested(found: Outputs) -> Dataset | None:
    folder = found.path("ingest", "dataset")
    return Dataset.of(folder) if folder is not None and Dataset.record_in(folder) else None


def _new_run_folder(home: Path) -> Path:
    stamp = time.strftime("%Y-%m-%dT%H-%M-%S")
    for attempt in range(100):
        folder = home / "runs" / (f"{stamp}.{attempt}" if attempt else stamp)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(f"cannot be made: {error.strerror}", where=str(folder)) from error
        return folder
    raise InputError("too many runs began in this second", where=str(home / "runs"))


def _refuse_python3(parameters: Mapping[str, Any], *, where: str) -> None:
    for name, value in {**parameters, "the run folder": where}.items():
        if "python3" in str(value):
            raise InputError(
                f"{value!s:.200} holds the text 'python3', which kfp.local rewrites",
                where=name,
                remedy="Rename the folder, file or column.",
            )


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
