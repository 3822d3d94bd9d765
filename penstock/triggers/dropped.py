"""Files that are dropped into a folder or below a prefix of an object store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from sqlite3 import Connection
from stat import S_ISREG
from typing import Any

from penstock.data.sources.addresses import is_local, local_path
from penstock.data.sources.files import open_store, store_errors
from penstock.errors import InputError
from penstock.redaction import redact_address
from penstock.triggers.events import Event
from penstock.triggers.store import Taken, TriggerStore

TYPE = "io.penstock.file.dropped"
"""The type of the event that a file becomes."""

_BEING_WRITTEN = (
    ".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".filepart", ".inprogress",
    ".writing", ".swp", "~",
)  # fmt: skip
"""Ends of names that programs give files until they are whole."""

_CHANGES = (
    "ETag", "etag", "generation", "md5Hash", "LastModified", "last_modified", "mtime", "updated",
    "created",
)  # fmt: skip
"""What the clients of stores call what changes when an object is written again."""


class WatchedPlace:
    """A folder or prefix in which files are dropped.

    What lies there at the very first look counts for nothing; from then on each file that is new or
    was written again becomes one event, also if it came while nobody looked.

    Args:
        address: A folder of this machine, or an address in a store that fsspec knows.
        store: Where events, and the files that have counted, are written down.
        marker: Name or pattern of the files that alone count, at once; empty: each counts, once its
            size and time were the same at two looks.
        remember: Files that are gone, and are remembered, at most.

    Raises:
        InputError: If the folder is not there, or the address is of no known store.
        ServiceError: If the store cannot be reached.
    """

    def __init__(
        self, address: str | Path, *, store: TriggerStore, marker: str = "", remember: int = 100_000
    ) -> None:
        self._store = store
        self._marker = marker
        self._remember = remember
        self._before: dict[str, str] = {}
        self._folder: Path | None = None
        self._system: Any = None
        if isinstance(address, Path) or is_local(address):
            self._folder = Path(local_path(str(address))).resolve()
            self.name = str(self._folder)
        else:
            self.name = redact_address(address)
            self._system, self._root = open_store(address)
        # With another marker other files count, and those that are there must not.
        self._key = f"{self.name} ({marker})" if marker else self.name

    def look(self, *, now: float) -> Taken:
        """Look once, and write down what was dropped.

        Args:
            now: Seconds since 1970.

        Raises:
            InputError: If the folder is not there any more, or cannot be read.
            ServiceError: If the store does not answer, or what was dropped cannot be written down:
                then it is looked at again.
        """
        found = self._listed()
        counted = self._counted()
        if counted is None:
            with self._store.database.change() as db:
                db.execute("INSERT OR REPLACE INTO places VALUES (?, ?)", (self._key, now))
                self._keep(db, found)
            return Taken(new=0, known=0)
        changed = {path: stamp for path, stamp in found.items() if counted.get(path) != stamp}
        whole = {
            path: stamp
            for path, stamp in changed.items()
            if self._marker or self._before.get(path) == stamp
        }
        self._before = changed
        if not whole:
            return Taken(new=0, known=0)
        events = [
            Event(source=self.name, id=f"{path}#{stamp}", type=TYPE, subject=path)
            for path, stamp in whole.items()
        ]
        # In one transaction: a file has counted if, and only if, its event is there.
        with self._store.database.change() as db:
            taken = self._store.add(db, events, now=now)
            self._keep(db, whole)
            self._forget(db, counted, found)
        return taken

    def _counted(self) -> dict[str, str] | None:
        rows = self._store.database.rows
        if not rows("SELECT 1 FROM places WHERE place = ?", (self._key,)):
            return None
        return dict(
            rows("SELECT path, stamp FROM files WHERE place = ? ORDER BY rowid", (self._key,))
        )

    def _keep(self, db: Connection, files: Mapping[str, str]) -> None:
        db.executemany(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?)",
            [(self._key, path, stamp) for path, stamp in files.items()],
        )

    def _forget(self, db: Connection, counted: Mapping[str, str], found: Mapping[str, str]) -> None:
        # Not at once: a share that is away for a while shows none of its files, and then all.
        gone = [path for path in counted if path not in found]
        db.executemany(
            "DELETE FROM files WHERE place = ? AND path = ?",
            [(self._key, path) for path in gone[: max(0, len(gone) - self._remember)]],
        )

    def _listed(self) -> dict[str, str]:
        """Return the files that are there and count, with what changes when one is written."""
        found = self._local() if self._folder is not None else self._remote()
        return {path: stamp for path, stamp in found.items() if counts(path, marker=self._marker)}

    def _local(self) -> dict[str, str]:
        assert self._folder is not None
        if not self._folder.is_dir():
            raise InputError(
                "there is no such folder, so nothing can be dropped into it",
                where=self.name,
                remedy="Make it, or correct trigger.watch or --watch.",
            )
        found = {}
        for at, below, names in os.walk(self._folder, onerror=self._unreadable):
            below[:] = [name for name in below if not name.startswith((".", "_"))]
            for name in names:
                path = Path(at, name)
                try:
                    stat = path.stat()
                except OSError:  # It was moved away, or is a link that leads nowhere.
                    continue
                if not S_ISREG(stat.st_mode):
                    continue
                relative = path.relative_to(self._folder).as_posix()
                found[_printable(relative)] = f"{stat.st_size}-{stat.st_mtime_ns}"
        return found

    def _unreadable(self, error: OSError) -> None:
        # One below it may belong to somebody else, or be gone already.
        if Path(error.filename) == self._folder:
            raise InputError(
                f"it cannot be read: {error.strerror}",
                where=self.name,
                remedy="Let this user read it.",
            ) from error

    def _remote(self) -> dict[str, str]:
        base = self._root.rstrip("/") + "/"
        with store_errors(self.name):
            self._system.invalidate_cache()
            try:
                listing = self._system.find(self._root, detail=True)
            except FileNotFoundError:
                # A prefix is there once something is below it.
                listing = {}
        return {
            _printable(path.removeprefix(base)): _stamp(facts) for path, facts in listing.items()
        }


def counts(path: str, *, marker: str = "") -> bool:
    """Return whether a file may count, by its path below the place that is watched.

    Hidden files and folders, those that begin with `_`, and names that programs give a file while
    they write it are left alone.

    Example:
        >>> [counts(path) for path in ("2026/a.csv", "a.csv.part", "_temporary/a.csv", ".a.csv")]
        [True, False, False, False]
        >>> [counts(path, marker="_SUCCESS") for path in ("2026/_SUCCESS", "2026/a.csv")]
        [True, False]
    """
    *folders, name = PurePosixPath(path).parts or ("",)
    if any(folder.startswith((".", "_")) for folder in folders):
        return False
    if marker:
        return fnmatch(name, marker)
    return not name.startswith((".", "_")) and not name.lower().endswith(_BEING_WRITTEN)


def _stamp(facts: Mapping[str, Any]) -> str:
    marks = [str(facts[name]) for name in _CHANGES if facts.get(name)]
    return "-".join([str(facts.get("size")), *marks])


def _printable(path: str) -> str:
    """Return a path as text that every place takes: a name may hold bytes that are not UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
