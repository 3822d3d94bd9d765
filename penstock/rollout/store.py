"""Where a rollout's journal is kept, and the notes that people and steps leave beside it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from typing import Protocol

from penstock.common import files
from penstock.common.disk import writing
from penstock.errors import ServiceError

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
        guard: Held while the journal is written. It refuses who does not drive the service any
            more, whose line would be put over his successor's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        guard: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._folder = folder
        self._path = folder / _JOURNAL
        self._guard = guard
        self._end: int | None = None

    @staticmethod
    def all_below(
        folder: Path,
        *,
        guard: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> list[FolderStore]:
        """Return the rollouts of a service that have a journal, the oldest first.

        Whatever else lies there is no rollout, and is left alone.

        Args:
            folder: `<service>/rollouts`.
            guard: As of the class.
        """
        made = [path for path in folder.glob(f"*/{_JOURNAL}") if path.is_file()]
        found = [FolderStore(path.parent, guard=guard) for path in made]
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
        """Return the journal's whole lines.

        Raises:
            ServiceError: If it is there and cannot be read.
        """
        try:
            found = self._path.read_bytes().splitlines(keepends=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise ServiceError(
                f"it cannot be read: {error.strerror}",
                where=self.where,
                remedy="Give this user the right to read it, or move it away.",
            ) from error
        return [line for line in found if line.endswith(b"\n")]

    def clear(self) -> None:
        """Forget the journal.

        Raises:
            LeaseLostError: If the guard refuses.
            ServiceError: If it cannot be removed.
        """
        with self._guard(), writing(self._path):
            self._path.unlink(missing_ok=True)
            (self._folder / _OUTCOME).unlink(missing_ok=True)
        self._end = None

    def append(self, line: bytes, *, evidence: bool = False) -> None:  # noqa: ARG002
        """Add a line and sync it; a line that a crash cut short is cut off first.

        Raises:
            LeaseLostError: If the guard refuses; nothing is written.
            ServiceError: If it cannot be written; no whole line of it is there then.
        """
        with self._guard(), writing(self._path):
            new = not self._path.exists()
            if new:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._take_number()
                # Nobody else may read it: its order names the MLflow store.
                self._path.touch(mode=0o600, exist_ok=False)
            with self._path.open("r+b", buffering=0) as stream:
                if self._end is None or stream.seek(0, os.SEEK_END) != self._end:
                    # Something else was written since: by another process, or half a line.
                    self._end = sum(map(len, self.lines()))
                _put(stream, line, at=self._end)
                end = stream.tell()
            if new:
                _sync_folder(self._folder)
        self._end = end

    def rewrite(self, lines: list[bytes]) -> None:
        """Write other lines beside the journal, then over it.

        Raises:
            LeaseLostError: If the guard refuses; nothing is written.
            ServiceError: If it cannot be written; the journal is as it was then.
        """
        with self._guard(), writing(self._path):
            beside = self._path.with_suffix(".part")
            beside.touch(mode=0o600)
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
        """Delete the folder; the journal first, so that nothing takes the rest for a rollout."""
        self.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _take_number(self) -> None:
        others = FolderStore.all_below(self._folder.parent)
        self.leave(_NUMBER, str(1 + max((other.number for other in others), default=0)))

    def note(self, name: str) -> str | None:
        """Return a note.

        Raises:
            ServiceError: If it is there and cannot be read.
        """
        try:
            return (self._folder / name).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ServiceError(
                f"it cannot be read: {error}",
                where=str(self._folder / name),
                remedy="Remove it, then leave the note again.",
            ) from error

    def leave(self, name: str, text: str) -> None:
        """Leave a note. Nobody else may read it.

        Raises:
            ServiceError: If it cannot be written.
        """
        with writing(self._folder / name):
            self._folder.mkdir(parents=True, exist_ok=True)
            files.write_text(self._folder / name, text, private=True)


def _put(stream: FileIO, line: bytes, *, at: int) -> None:
    """Make a line the end of a file, or leave it as it was up to there."""
    try:
        stream.truncate(at)
        stream.seek(at)
        if stream.write(line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(stream.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            stream.truncate(at)
        raise


def _sync_folder(folder: Path) -> None:
    """Make a new file's name last through a power cut, as fsync of the file alone does not."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
