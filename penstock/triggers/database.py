"""The SQLite file of a trigger: made, read, and changed by transactions.

facts       counts, and what is remembered once
events      what came in, by source and id; the release that it started
releases    each is written down before its process starts; how it ended, with the exit code
places      folders and prefixes that are watched
files       the files in them that have counted
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from penstock.errors import IntegrityError, ServiceError

_VERSION = 1
_BUSY_SECONDS = 30
_TOTAL = "total "

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE releases (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    begun REAL NOT NULL,
    events INTEGER NOT NULL,
    types TEXT NOT NULL,
    process TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    ended REAL,
    exit_code INTEGER,
    outcome TEXT,
    reason TEXT NOT NULL DEFAULT '',
    link TEXT NOT NULL DEFAULT '',
    posted INTEGER NOT NULL DEFAULT 0,
    notified INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX one_at_a_time ON releases ((ended IS NULL)) WHERE ended IS NULL;
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    subject TEXT NOT NULL,
    received REAL NOT NULL,
    release INTEGER,
    UNIQUE (source, id)
);
CREATE INDEX waiting ON events (received) WHERE release IS NULL;
CREATE TABLE places (place TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    place TEXT NOT NULL,
    path TEXT NOT NULL,
    stamp TEXT NOT NULL,
    UNIQUE (place, path)
);
"""


class Database:
    """The file. Usable by several threads, and by several processes at once.

    Args:
        path: The file; it and its folder are made if they are not there.

    Raises:
        ServiceError: If it cannot be written.
        IntegrityError: If it is damaged, or of another release of Penstock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            # The folder is synced too: a power cut takes back nothing that was answered.
            self._db.execute("PRAGMA synchronous = EXTRA")
        self._make()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query."""
        with self._lock, self._errors():
            return self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one transaction, on disk once it has ended.

        Raises:
            ServiceError: If it cannot be written; then nothing of it is.
            IntegrityError: If the file is damaged.
        """
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                # Where the disk is full SQLite has taken it back already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def fact(self, name: str) -> Any:
        """Return what is remembered under a name; None: nothing."""
        found = self.rows("SELECT value FROM facts WHERE name = ?", (name,))
        return found[0][0] if found else None

    def totals(self) -> dict[str, int]:
        """Return what `count` counted."""
        return {
            name.removeprefix(_TOTAL): value
            for name, value in self.rows("SELECT name, value FROM facts")
            if name.startswith(_TOTAL)
        }

    def _make(self) -> None:
        with self.change() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise IntegrityError(
                    f"it has version {version}, and this release of Penstock reads {_VERSION}",
                    where=str(self.path),
                    remedy="Use the release that wrote it, or move it away.",
                )
            if version:
                return
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)
            remember(db, "identity", uuid.uuid4().hex[:8])
            db.execute(f"PRAGMA user_version = {_VERSION}")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise ServiceError(
                f"what the trigger remembers cannot be read or written: {error}",
                where=str(self.path),
                remedy="See that the disk has room and this user may write there.",
            ) from error
        except sqlite3.DatabaseError as error:
            raise IntegrityError(
                f"what the trigger remembers is damaged: {error}",
                where=str(self.path),
                remedy="Move the file away and start again: events that waited in it must be sent "
                "again, and files be dropped again.",
            ) from error


def remember(db: sqlite3.Connection, name: str, value: Any) -> None:
    """Remember something under a name."""
    db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def count(db: sqlite3.Connection, name: str, by: int) -> None:
    """Add to a count."""
    if by:
        db.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + ?",
            (f"{_TOTAL}{name}", by, by),
        )
