"""The journal of one rollout: appended to and synced before anything is acted on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from penstock import files
from penstock.errors import InputError, IntegrityError
from penstock.records.base import explain
from penstock.records.rollout import Finding, Interval, Phase, Rollout, Transition

_FILE = "journal.jsonl"
_APPROVED = "approved"
_ABORT = "abort"


class Journal:
    """One rollout's folder: `journal.jsonl`, and what people said to it in between.

    The first line is the rollout as it was planned; each line after it is a transition or an
    interval. A line that a crash cut short was not acted on: it is left out, and cut off before
    the next one is written.

    Args:
        folder: `<service>/rollouts/<identity>`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / _FILE
        self._rollout: Rollout | None = None
        self._end: int | None = None

    @property
    def exists(self) -> bool:
        """Whether the rollout has begun."""
        return bool(_whole_lines(self._path))

    @property
    def rollout(self) -> Rollout:
        """The rollout as the journal has it.

        Raises:
            InputError: If the journal is absent or holds no line.
            IntegrityError: If a line in it is not what this release writes.
        """
        if self._rollout is None:
            self._rollout = _fold(_whole_lines(self._path), where=str(self._path))
        return self._rollout

    def begin(self, planned: Rollout, *, reason: str) -> None:
        """Write the plan and the first transition, `deploy`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._end = None
        self._append({"rollout": planned.payload()})
        self._rollout = planned
        self.go("deploy", reason=reason)

    def go(
        self,
        phase: Phase,
        *,
        reason: str,
        step: int = 0,
        weight: int = 0,
        findings: tuple[Finding, ...] = (),
    ) -> Transition:
        """Append a transition; what it says may be done once this returns."""
        rollout = self.rollout
        transition = Transition(
            sequence=len(rollout.transitions),
            time=datetime.now(UTC),
            phase=phase,
            step=step,
            weight=weight,
            reason=reason,
            findings=findings,
        )
        self._append({"transition": transition.model_dump(mode="json")})
        self._rollout = _with_transition(rollout, transition)
        return transition

    def saw(self, interval: Interval) -> None:
        """Append what was seen in an interval."""
        self._append({"interval": interval.model_dump(mode="json", exclude_defaults=True)})
        rollout = self.rollout
        self._rollout = rollout.model_copy(update={"intervals": (*rollout.intervals, interval)})

    def approve(self, step: int, *, by: str) -> None:
        """Let a rollout that holds at a step go on."""
        files.write_text(self.folder / f"{_APPROVED}-{step}", by)

    def approval_of(self, step: int) -> str | None:
        """Return who approved a step that holds, or None."""
        return _text(self.folder / f"{_APPROVED}-{step}")

    def ask_to_abort(self, reason: str) -> None:
        """Ask whoever runs this rollout to roll it back."""
        files.write_text(self.folder / _ABORT, reason)

    @property
    def abort_asked(self) -> str | None:
        """Why somebody asked to abort, or None."""
        return _text(self.folder / _ABORT)

    def _append(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        new = not self._path.exists()
        if self._end is None:
            self._end = sum(len(whole) for whole in _whole_lines(self._path))
        with self._path.open("xb" if new else "r+b") as stream:
            stream.truncate(self._end)
            stream.seek(self._end)
            stream.write(text.encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
            self._end = stream.tell()
        if new:
            _sync_folder(self.folder)


def journals(service: Path) -> list[Journal]:
    """Return the rollouts of a service that have begun, the oldest first.

    Args:
        service: The service's folder.
    """
    found = [Journal(path.parent) for path in (service / "rollouts").glob(f"*/{_FILE}")]
    return sorted((j for j in found if j.exists), key=lambda j: j.rollout.started)


def _whole_lines(path: Path) -> list[bytes]:
    if not path.is_file():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _fold(lines: list[bytes], *, where: str) -> Rollout:
    if not lines:
        raise InputError("no rollout has begun here", where=where)
    entries = list(_parsed(lines, where=where))
    rollout = Rollout.parse(entries[0].get("rollout"), where=f"{where}, line 1")
    transitions, intervals = [], []
    for number, entry in enumerate(entries[1:], start=2):
        try:
            if "transition" in entry:
                transitions.append(Transition.model_validate(entry["transition"]))
            else:
                intervals.append(Interval.model_validate(entry["interval"]))
        except ValidationError as error:
            raise _damaged(where, number, explain(error)) from error
        except KeyError as error:
            raise _damaged(where, number, "neither a transition nor an interval") from error
    folded = rollout.model_copy(update={"intervals": tuple(intervals)})
    for transition in transitions:
        folded = _with_transition(folded, transition)
    return folded


def _parsed(lines: list[bytes], *, where: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise _damaged(where, number, error) from error
        if not isinstance(entry, dict):
            raise _damaged(where, number, "not an object")
        yield entry


def _damaged(where: str, number: int, error: object) -> IntegrityError:
    return IntegrityError(
        f"line {number} of the journal is damaged: {error}",
        where=where,
        remedy="Move the folder of this rollout away, then look: penstock status.",
    )


def _with_transition(rollout: Rollout, transition: Transition) -> Rollout:
    changes: dict[str, Any] = {"transitions": (*rollout.transitions, transition)}
    if transition.phase == "done":
        before = rollout.last
        changes["outcome"] = "promoted" if before.phase == "promote" else "rolled_back"
        changes["reason"] = before.reason
    return rollout.model_copy(update=changes)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _sync_folder(folder: Path) -> None:
    """Make a new file's name last through a power cut, as fsync of the file alone does not."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
