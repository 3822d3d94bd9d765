"""Where a rollout's journal is kept, and the notes that people and steps leave beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from penstock import files

_JOURNAL = "journal.jsonl"


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

    def lines(self) -> list[bytes]:
        """Return the journal's whole lines, each with its line end; none before it has begun.

        A line that a crash cut short is left out.
        """
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
        """Return the rollouts of a service that have a journal, in no order.

        Args:
            folder: `<service>/rollouts`.
        """
        return [FolderStore(path.parent) for path in folder.glob(f"*/{_JOURNAL}")]

    @property
    def name(self) -> str:
        """The rollout's identity."""
        return self._folder.name

    @property
    def where(self) -> str:
        """The journal's path."""
        return str(self._path)

    def lines(self) -> list[bytes]:
        """Return the journal's whole lines."""
        if not self._path.is_file():
            return []
        found = self._path.read_bytes().splitlines(keepends=True)
        return [line for line in found if line.endswith(b"\n")]

    def clear(self) -> None:
        """Forget the journal."""
        self._path.unlink(missing_ok=True)
        self._end = None

    def append(self, line: bytes, *, evidence: bool = False) -> None:  # noqa: ARG002
        """Add a line and sync it; a line that a crash cut short is cut off first."""
        new = not self._path.exists()
        if new:
            self._folder.mkdir(parents=True, exist_ok=True)
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

    def note(self, name: str) -> str | None:
        """Return a note."""
        try:
            return (self._folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def leave(self, name: str, text: str) -> None:
        """Leave a note. Nobody else may read it: an order names the MLflow store."""
        self._folder.mkdir(parents=True, exist_ok=True)
        files.write_text(self._folder / name, text, private=True)


def _sync_folder(folder: Path) -> None:
    """Make a new file's name last through a power cut, as fsync of the file alone does not."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
