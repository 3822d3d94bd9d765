"""Where a rollout's journal is kept, and the notes that people and steps leave beside it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol

from penstock import files

_JOURNAL = "journal.jsonl"
_NUMBER, _OUTCOME = "number", "outcome"
_CROWDED = 2**26
"""Bytes from which a journal should be made shorter."""


class Store(Protocol):
    """What keeps one rollout."""

    @property
    def name(self) -> str:
        """The rollout's identity."""
        ...

    @property
    def where(self) -> str:
        """The place, for messages."""
        ...

    @property
    def number(self) -> int:
        """Its place in the order in which the service's rollouts began; 0 where it is not known."""
        ...

    @property
    def ended(self) -> bool:
        """Whether `end` was called: known without reading the journal.

        False where it was not, though the journal may say that the rollout is done.
        """
        ...

    @property
    def crowded(self) -> bool:
        """Whether the journal should be rewritten shorter before more evidence comes."""
        ...

    def lines(self) -> list[bytes]:
        """Return the journal's whole lines, each with its line end; none before it has begun.

        A line that a crash cut short is left out.
        """
        ...

    def rewrite(self, lines: list[bytes]) -> None:
        """Write other lines in the journal's place, all of them or none.

        Args:
            lines: Each with its line end.
        """
        ...

    def end(self, outcome: str) -> None:
        """Mark the rollout as done.

        Args:
            outcome: `promoted` or `rolled_back`.
        """
        ...

    def forget(self) -> None:
        """Delete the journal, its notes and marks for good."""
        ...

    def clear(self) -> None:
        """Forget the journal, so that it begins anew."""
        ...

    def append(self, line: bytes, *, evidence: bool = False) -> None:
        """Add a line; it lasts once this returns.

        Args:
            line: With its line end.
            evidence: It says what was seen and not what will be done: a store whose writes are dear
                may keep it back until the next line that says so, or for a few seconds.
        """
        ...

    def note(self, name: str) -> str | None:
        """Return a note, or None if nobody left it."""
        ...

    def leave(self, name: str, text: str) -> None:
        """Leave a note, over any of the same name."""
        ...


class FolderStore:
    """A folder of this machine: `journal.jsonl`, and a file for each note.

    Args:
        folder: `<service>/rollouts/<identity>`; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _JOURNAL
        self._end: int | None = None

    @staticmethod
    def all_below(folder: Path) -> list[FolderStore]:
        """Return the rollouts of a service that have a journal, the oldest first.

        Args:
            folder: `<service>/rollouts`.
        """
        found = [FolderStore(path.parent) for path in folder.glob(f"*/{_JOURNAL}")]
        return sorted(found, key=lambda store: (store.number, store.name))

    @property
    def name(self) -> str:
        """The rollout's identity."""
        return self._folder.name

    @property
    def where(self) -> str:
        """The journal's path."""
        return str(self._path)

    @property
    def number(self) -> int:
        """Its place among the service's rollouts; 0 where a former release made it."""
        text = self.note(_NUMBER) or ""
        return int(text) if text.isdecimal() else 0

    @property
    def ended(self) -> bool:
        """Whether it is marked as done."""
        return (self._folder / _OUTCOME).exists()

    @property
    def crowded(self) -> bool:
        """Whether the journal has grown large."""
        return (self._end or 0) > _CROWDED

    def lines(self) -> list[bytes]:
        """Return the journal's whole lines."""
        if not self._path.is_file():
            return []
        found = self._path.read_bytes().splitlines(keepends=True)
        return [line for line in found if line.endswith(b"\n")]

    def clear(self) -> None:
        """Forget the journal."""
        self._path.unlink(missing_ok=True)
        (self._folder / _OUTCOME).unlink(missing_ok=True)
        self._end = None

    def append(self, line: bytes, *, evidence: bool = False) -> None:  # noqa: ARG002
        """Add a line and sync it; a line that a crash cut short is cut off first."""
        new = not self._path.exists()
        if new:
            self._folder.mkdir(parents=True, exist_ok=True)
            others = FolderStore.all_below(self._folder.parent)
            self.leave(_NUMBER, str(1 + max((other.number for other in others), default=0)))
        if self._end is None:
            self._end = sum(map(len, self.lines()))
        with self._path.open("xb" if new else "r+b") as stream:
            stream.truncate(self._end)
            stream.seek(self._end)
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
            self._end = stream.tell()
        if new:
            _sync_folder(self._folder)

    def rewrite(self, lines: list[bytes]) -> None:
        """Write other lines beside the journal, then over it."""
        beside = self._path.with_suffix(".part")
        with beside.open("wb") as stream:
            stream.writelines(lines)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(self._path)
        _sync_folder(self._folder)
        self._end = sum(map(len, lines))

    def end(self, outcome: str) -> None:
        """Leave a mark that it is done."""
        self.leave(_OUTCOME, outcome)

    def forget(self) -> None:
        """Delete the folder; without its journal first, so that nothing takes it for a rollout."""
        self.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def note(self, name: str) -> str | None:
        """Return a note."""
        try:
            return (self._folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def leave(self, name: str, text: str) -> None:
        """Leave a note."""
        self._folder.mkdir(parents=True, exist_ok=True)
        files.write_text(self._folder / name, text)


def _sync_folder(folder: Path) -> None:
    """Make a new file's name last through a power cut, as fsync of the file alone does not."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
