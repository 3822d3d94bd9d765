"""The pipelines on this machine: `kfp.local` underneath, a result that can be trusted."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from penstock import tracking
from penstock.cluster.settings import StepName
from penstock.common import files
from penstock.errors import InputError
from penstock.pipelines.local_runner import LocalSteps, StepTime, import_kfp, started_by
from penstock.pipelines.located import Located
from penstock.pipelines.outcomes import TITLES
from penstock.pipelines.outputs import POLICY
from penstock.pipelines.parameters import for_recall, for_run
from penstock.pipelines.run_result import RunResult, result_of
from penstock.pipelines.secret_fields import lent, resolve_all
from penstock.pipelines.step_cache import StepCache, cacheable
from penstock.pipelines.view import LogTee, RunView
from penstock.pipelines.warm import WarmSteps
from penstock.project import Project
from penstock.redaction import redact
from penstock.rollout.run_ended import CALLER_NOTIFIES
from penstock.rollout.spec import Fault

if TYPE_CHECKING:
    from rich.console import Console

NOTIFY = "notify"
"""The task that notifies how a run ended; it is shown only if it fails."""

FETCH = "fetch-version"
"""The task that a recall has instead of all that a release does before its evaluation."""

STEPS = tuple(name for name in get_args(StepName) if name not in (NOTIFY, FETCH))
"""The tasks of a release in their order, by their names in Kubeflow."""

RECALL_STEPS = ("ingest", FETCH, *STEPS[STEPS.index("evaluate") :])
"""Those of a recall."""

_QUIET = (NOTIFY,)


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
    name: str = "",
    by: str | None = None,
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
        name: The run's, and its folder's; a run of that name that was cut short is gone on with.
            Empty: the time.
        by: Who starts it; None: who runs this.

    Raises:
        InputError: If a path or value cannot be passed through `kfp.local`, a secret is held by a
            field in which no reference is read, or a reference leads nowhere.
    """
    return _run(
        project,
        _RELEASE,
        lambda project: for_run(project, folder=folder, by=by),
        folder=folder,
        console=console,
        fresh=fresh,
        plain=plain,
        settings=settings,
        name=name,
    )


def run_recall(
    project: Project,
    version: int,
    *,
    rows: Path,
    folder: Path,
    console: Console,
    name: str = "",
    by: str | None = None,
) -> RunResult:
    """Run the recall pipeline on this machine and say how it ended.

    Args:
        project: The project.
        version: The former champion.
        rows: The labelled rows that it is judged on: a folder that `penstock.captures.export` made.
        folder: Where the project file is.
        console: Where progress is drawn.
        name: See `run_release`.
        by: Who starts it; None: who runs this.

    Raises:
        InputError: See `run_release`.
    """
    return _run(
        project,
        _RECALL,
        lambda project: for_recall(project, version, rows=rows, folder=folder, by=by),
        folder=folder,
        console=console,
        settings=(f"recall of version {version}",),
        name=name,
    )


@dataclass(frozen=True)
class _Pipeline:
    """A pipeline that runs here: where its function is, and its tasks in their order."""

    name: str
    steps: tuple[str, ...]

    def load(self) -> Any:
        """Return its function; kfp is imported with it."""
        return getattr(importlib.import_module(f"penstock.pipelines.{self.name}"), self.name)


_RELEASE = _Pipeline("release", STEPS)
_RECALL = _Pipeline("recall", RECALL_STEPS)


def _run(
    project: Project,
    pipeline: _Pipeline,
    parameters_of: Callable[[Project], dict[str, Any]],
    *,
    folder: Path,
    console: Console,
    fresh: bool = False,
    plain: bool = False,
    settings: Sequence[str] = (),
    name: str = "",
) -> RunResult:
    tracking_shown = redact(Located(project=project, folder=folder).tracking_uri)
    project, secrets = lent(project)
    located = Located(project=project, folder=folder)
    home = located.home
    where = _new_run_folder(home, name)
    with _environment(secrets):
        resolve_all(project)
        tracking.resolve_uri(located.tracking_uri)
        parameters = parameters_of(project)
    _refuse_python3(parameters, where=str(where))
    files.write_text(where / POLICY, files.canonical_json(project.gate.recorded()) + "\n")
    log = where / "kfp.log"
    view = RunView(console, steps=pipeline.steps, quiet=_QUIET, endings=TITLES)
    # Waiting OpenMP threads spin by default; on a machine that is shared, that costs tenfold.
    environment = {
        "PENSTOCK_HOME": str(home),
        "PENSTOCK_PIPELINE_RUN": where.name,
        CALLER_NOTIFIES: "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        **secrets,
    }
    tracking_uri = located.tracking_uri
    if not project.tracking_uri:
        environment["MLFLOW_TRACKING_URI"] = tracking_uri
    with _environment(environment), view, files.private_log(log) as stream:
        tee = LogTee(stream, view)
        with contextlib.redirect_stdout(tee), contextlib.redirect_stderr(tee):
            finished, times = _execute(pipeline, parameters, home, where, fresh=fresh, plain=plain)
    result = result_of(
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
    on_cluster = project.deployment.router != "local"
    return replace(result, access=project.deployment.kserve.access) if on_cluster else result


def _execute(
    pipeline: _Pipeline,
    parameters: dict[str, Any],
    home: Path,
    where: Path,
    *,
    fresh: bool,
    plain: bool,
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

        made = pipeline.load()
        spec = made.pipeline_spec
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
            made(**parameters)
        except RuntimeError as error:
            print(f"\n{error}")
            return False, tuple(steps.times)
    return True, tuple(steps.times)


def _drop_retries(spec: Any) -> None:
    """Let a step fail at once: whoever watches can run it again."""
    for component in (spec.root, *spec.components.values()):
        for task in component.dag.tasks.values():
            task.ClearField("retry_policy")


def _new_run_folder(home: Path, name: str) -> Path:
    if name:
        folder = home / "runs" / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot be made: {error.strerror}", where=str(folder)) from error
        return folder
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
