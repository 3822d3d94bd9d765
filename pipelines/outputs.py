"""What a run on this machine left: the outputs of its tasks, its pages, its summary."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.common import files
from penstock.errors import PenstockError
from penstock.records.base import Record
from penstock.records.decision import Decision
from penstock.records.release import Registration
from penstock.records.rollout import Rollout
from penstock.reports.page import with_navigation

if TYPE_CHECKING:
    from penstock.gate.evaluation import Evaluation

R = TypeVar("R", bound=Record)

INDEX = "index.html"
"""The page of the project, in its home."""

SUMMARY = "summary.json"
"""How a run ended, in the run's folder."""

POLICY = "policy.json"
"""The policy that a run was to judge by, in the run's folder."""

PAGES = {
    "validation": "Validation",
    "features": "Features",
    "training": "Training",
    "evaluation": "Evaluation",
    "decision": "Decision",
    "explanation": "Explanation",
    "rollout": "Canary",
    "card": "Model card",
}
"""The pages of a run in their order: the file's name, and what people call it."""

_TASKS = {
    "validation": "validate",
    "features": "engineer-features",
    "training": "train",
    "evaluation": "evaluate",
    "decision": "decide",
    "explanation": "explain",
    "rollout": "deploy",
}


class Outputs:
    """Finds what the tasks of one local run wrote: <root>/<pipeline and time>/<task>/<output>.

    Args:
        root: The folder `kfp` of the run.
    """

    def __init__(self, root: Path) -> None:
        runs = sorted(path for path in root.glob("*") if path.is_dir())
        self._run = runs[-1] if runs else root

    def path(self, task: str, output: str) -> Path | None:
        """Return where an output is; None if the task did not write it."""
        path = self._run / task / output
        return path if path.exists() else None

    def record(self, kind: type[R], task: str, output: str) -> R | None:
        """Return an output that is a record; None if the task did not write it."""
        path = self.path(task, output)
        return kind.read(path) if path is not None else None


def registrations(run: Path) -> list[Registration]:
    """Return what a run registered, each time that it was gone on with, the newest last."""
    found = []
    for path in sorted((run / "kfp").glob("*/register/registration")):
        with contextlib.suppress(PenstockError):
            found.append(Registration.read(path))
    return found


@dataclass(frozen=True)
class PastRun:
    """A run as its folder has it.

    Attributes:
        folder: The run's folder.
        outcome: How it ended; empty if it did not get that far.
        reason: Why, in words.
        settings: What was set for it on the command line.
        data_version: Of the table; empty if none was read.
        pages: Its pages, by the names of `PAGES`.
        decision: What the gate decided; None if it was not run.
        registration: What was registered.
        rollout: How that was brought to users.
    """

    folder: Path
    outcome: str = ""
    reason: str = ""
    settings: tuple[str, ...] = ()
    data_version: str = ""
    pages: Mapping[str, Path] = field(default_factory=dict)
    decision: Decision | None = None
    registration: Registration | None = None
    rollout: Rollout | None = None

    @property
    def began(self) -> str:
        """When it began, by this machine's clock."""
        day, _, clock = self.folder.name.partition("T")
        return f"{day} {clock.partition('.')[0].replace('-', ':')}"


def past_runs(home: Path, *, newest: int) -> tuple[list[PastRun], int]:
    """Return the runs that a project's home has folders of, the newest first.

    Args:
        home: The project's home.
        newest: How many are read at most.

    Returns:
        These, and how many older ones there are.
    """
    folders = sorted((home / "runs").glob("*/"), key=lambda folder: folder.name, reverse=True)
    return [_past_run(folder) for folder in folders[:newest]], max(0, len(folders) - newest)


def evaluation_of(run: Path) -> Evaluation | None:
    """Return what a run measured; None: it did not, or another release of Penstock wrote it."""
    from penstock.gate.evaluation import Evaluation

    return _read(Outputs(run / "kfp"), Evaluation, "evaluate", "evaluation")


def collect_pages(run: Path, *, home: Path, name: str) -> dict[str, Path]:
    """Copy the pages of a run to where a browser opens them, linked with one another and back.

    Kubeflow's outputs have no suffix, and a browser shows a file without one as text. There they
    stay as they were written: what they are linked with here is not beside them.

    Args:
        run: The run's folder.
        home: The project's.
        name: What the project is called.

    Returns:
        The copies, by the names of `PAGES`.
    """
    found = Outputs(run / "kfp")
    written = {name: found.path(task, "report") for name, task in _TASKS.items()}
    written["card"] = _card(found, home=home)
    there = {name: path for name in PAGES if (path := written.get(name)) and path.is_file()}
    pages = {}
    for here, path in there.items():
        back = "/".join([".."] * (1 + len(run.relative_to(home).parts)))
        links = [
            (name, f"{back}/{INDEX}"),
            *((PAGES[other], "" if other == here else f"{other}.html") for other in there),
        ]
        pages[here] = run / "reports" / f"{here}.html"
        text = with_navigation(path.read_text(encoding="utf-8"), links=links)
        files.write_text(pages[here], text)
    return pages


def _card(found: Outputs, *, home: Path) -> Path | None:
    """Return the newest card of the version that the run registered, where the store is a file."""
    registration = _read(found, Registration, "register", "registration")
    if registration is None:
        return None
    evidence = home / "artifacts" / registration.mlflow_run / "artifacts" / "evidence"
    cards = sorted(evidence.rglob("card.html"), key=lambda path: path.stat().st_mtime)
    return cards[-1] if cards else None


def _past_run(folder: Path) -> PastRun:
    summary = _summary(folder)
    found = Outputs(folder / "kfp")
    pages = {name: folder / "reports" / f"{name}.html" for name in PAGES}
    return PastRun(
        folder=folder,
        outcome=str(summary.get("outcome") or ""),
        reason=str(summary.get("reason") or ""),
        settings=tuple(map(str, summary.get("settings") or ())),
        data_version=str(summary.get("data_version") or ""),
        pages={name: path for name, path in pages.items() if path.is_file()},
        decision=_read(found, Decision, "decide", "decision"),
        registration=_read(found, Registration, "register", "registration"),
        rollout=_read(found, Rollout, "deploy", "rollout"),
    )


def _summary(folder: Path) -> dict[str, Any]:
    try:
        read = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # The run was killed, or still goes on.
    return read if isinstance(read, dict) else {}


def _read(found: Outputs, kind: type[R], task: str, output: str) -> R | None:
    path = found.path(task, output)
    try:
        written = path.stat() if path is not None else None
    except OSError:
        return None
    if path is None or written is None:
        return None
    return _record(kind, path, (written.st_mtime_ns, written.st_size))


# A page that is made anew every few seconds reads a hundred runs, which do not change any more.
@lru_cache(maxsize=1000)
def _record(kind: type[R], path: Path, _written: tuple[int, int]) -> R | None:
    try:
        return kind.read(path)
    except PenstockError:
        return None  # Another release of Penstock wrote it.
