"""What the page of a project shows, read once: each part, or why it cannot be read.

Nothing heavy is imported, nothing is written, and what fails is a sentence: the other parts are
shown all the same. A file that has not changed is not parsed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from penstock.captures.listing import Listed, listed
from penstock.errors import InputError, PenstockError
from penstock.monitoring.store.state import MonitorFolder
from penstock.pipelines.located import Located
from penstock.pipelines.outputs import PastRun, evaluation_of, past_runs
from penstock.records.monitoring import MonitorState, Verdict
from penstock.records.rollout import Rollout
from penstock.redaction import redact
from penstock.registry.glance import GlancedModel, glance
from penstock.rollout.router import ServiceStatus

if TYPE_CHECKING:
    from penstock.gate.evaluation import Evaluation

T = TypeVar("T")

_RUNS = 100
"""Runs that are looked at; older ones are counted."""

_VERDICTS = 200
"""Verdicts that are looked at, the newest."""


@dataclass(frozen=True)
class Part(Generic[T]):
    """Something that was read.

    Attributes:
        value: It, or what stands for it where it could not be read.
        problems: Why it, or some of it, could not be read: sentences.
    """

    value: T
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Watched:
    """What the monitor wrote.

    Attributes:
        state: Its state; None: there is none.
        written: When that was written.
        verdicts: The newest, the oldest of them first.
    """

    state: MonitorState | None = None
    written: datetime | None = None
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class Seen:
    """A project as it was found at one time.

    Attributes:
        project: The project.
        at: When it was read.
        runs: What its runs left, the newest first.
        older: How many older runs there are.
        evaluations: What those runs measured that registered a version, by their folders.
        serving: What serves on this machine; None: it serves on a cluster.
        rollouts: The newest first.
        registered: What the registry holds of it; None: nothing.
        watched: What the monitor wrote.
        captures: What was captured on this machine; None: it is captured elsewhere.
    """

    project: Located
    at: datetime
    runs: Part[list[PastRun]]
    older: int
    evaluations: Mapping[Path, Evaluation]
    serving: Part[list[ServiceStatus] | None]
    rollouts: Part[list[Rollout]]
    registered: Part[GlancedModel | None]
    watched: Part[Watched]
    captures: Part[list[Listed] | None]

    @cached_property
    def home(self) -> Path:
        """The project's home."""
        return self.project.home

    @property
    def here(self) -> bool:
        """Whether it serves on this machine."""
        return self.project.project.deployment.router == "local"

    @property
    def empty(self) -> bool:
        """Whether the project never ran here."""
        return not self.runs.value and not self.runs.problems


def see(project: Located) -> Seen:
    """Read everything that there is of a project on this machine, and in its registry."""
    nothing: tuple[list[PastRun], int] = ([], 0)
    ran = _read("The runs", lambda: past_runs(project.home, newest=_RUNS), nothing)
    runs, older = ran.value
    return Seen(
        project=project,
        at=datetime.now(UTC),
        runs=Part(runs, ran.problems),
        older=older,
        evaluations=_evaluations(runs),
        serving=_serving(project),
        rollouts=_rollouts(project, runs),
        registered=_read("The registry", lambda: _registered(project), None),
        watched=_watched(project),
        captures=_captured(project),
    )


def _read(what: str, read: Callable[[], T], otherwise: T) -> Part[T]:
    """Return what is read; where that fails, something else with the reason."""
    try:
        return Part(read())
    except (OSError, PenstockError) as error:
        return Part(otherwise, (f"{what} cannot be read: {redact(str(error))}",))


def _evaluations(runs: list[PastRun]) -> dict[Path, Evaluation]:
    found = {run.folder: evaluation_of(run.folder) for run in runs if run.registration is not None}
    return {folder: each for folder, each in found.items() if each is not None}


def _serving(project: Located) -> Part[list[ServiceStatus] | None]:
    if project.project.deployment.router != "local":
        return Part(None)
    from penstock.rollout.backends.local.services import status

    return _read("What serves", lambda: status(project.home), [])


def _rollouts(project: Located, runs: list[PastRun]) -> Part[list[Rollout]]:
    """Return the rollouts that journals tell of, and of those whose journals are gone the runs."""
    from penstock.rollout.backends.local.state import ServiceFolder
    from penstock.rollout.store import FolderStore

    below = ServiceFolder(project.home, project.project.name).path / "rollouts"
    none: list[FolderStore] = []
    stores = _read("The rollouts", lambda: FolderStore.all_below(below), none)
    found: dict[str, Rollout] = {}
    problems = list(stores.problems)
    for store in stores.value:
        path = Path(store.where)
        try:
            rollout = _rollout(path.parent, _stamp(path))
        except (OSError, PenstockError) as error:
            problems.append(f"The journal of rollout {store.name} cannot be read: {error}")
            continue
        if rollout is not None:
            found[rollout.identity] = rollout
    recorded = [run.rollout for run in runs if run.rollout is not None]
    gone = [one for one in recorded if one.identity not in found]
    newest = sorted((*found.values(), *gone), key=lambda one: one.started, reverse=True)
    return Part(newest, tuple(problems))


@lru_cache(maxsize=1000)
def _rollout(folder: Path, _written: tuple[int, int]) -> Rollout | None:
    """Return a rollout as its journal has it; None: it has not begun. It is read if it changed."""
    from penstock.rollout.journal import Journal
    from penstock.rollout.store import FolderStore

    journal = Journal(FolderStore(folder))
    # What was counted in each interval is on its own page, and would be kept in memory.
    return journal.rollout.model_copy(update={"intervals": ()}) if journal.exists else None


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _registered(project: Located) -> GlancedModel | None:
    try:
        registry = project.registry
    except InputError:
        return None  # No run has made its store.
    return glance(project.project.name, tracking_uri=registry)


def _watched(project: Located) -> Part[Watched]:
    folder = MonitorFolder(project.home)
    path = folder.path / "state.json"
    problems: list[str] = []
    state = written = None
    if path.exists():
        read = _read("The monitor's state", lambda: MonitorState.read(path), None)
        problems += read.problems
        state = read.value
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    if state is not None and state.service != project.project.name:
        problems.append(f"The monitor's folder is that of another service, {state.service}.")
        state = None
    verdicts = []
    unread = []
    for each in sorted((folder.path / "verdicts").glob("[0-9]*.json"))[-_VERDICTS:]:
        try:
            verdicts.append(_verdict(each, _stamp(each)))
        except (OSError, PenstockError) as error:
            unread.append(str(error))
    if unread:
        problems.append(
            f"{len(unread)} of the monitor's verdicts cannot be read, and are not shown; the "
            f"newest of them: {unread[-1]}"
        )
    return Part(Watched(state, written, tuple(verdicts)), tuple(problems))


@lru_cache(maxsize=2000)
def _verdict(path: Path, _written: tuple[int, int]) -> Verdict:
    return Verdict.read(path)


def _captured(project: Located) -> Part[list[Listed] | None]:
    from penstock.rollout.captures import captures_of

    deployment = project.project.deployment
    if deployment.router != "local":
        return Part(None)
    source = captures_of(deployment, service=project.project.name, home=project.home)
    return _read("The captures", lambda: listed(source), [])
