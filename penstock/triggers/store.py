"""What a trigger remembers of events and releases, whole after any kill.

Every change is one transaction, on disk before its method returns. An event without a release
waits for the next one; a release and the events that start it are written together, before its
process starts. So no event is lost, and none starts two releases.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import ServiceError
from penstock.processes.identity import ProcessRef
from penstock.records.base import restored
from penstock.records.run_end import Outcome
from penstock.triggers.database import Database, count, remember
from penstock.triggers.endings import Ending
from penstock.triggers.events import Event

REFUSED: tuple[Outcome, ...] = ("refused", "rolled_back")
"""Outcomes that count as a refusal."""

REFUSED_EVENTS, DEBOUNCED = "events refused", "events debounced"
"""Counts: requests and events that were turned away; events that joined another in its release."""

_RELEASES = 1_000
"""Releases that are kept."""


@dataclass(frozen=True)
class Taken:
    """What became of events: `new` are written down now, `known` were before."""

    new: int
    known: int


@dataclass(frozen=True)
class Waiting:
    """Events that wait for a release; times in seconds since 1970."""

    count: int
    first: float
    last: float


@dataclass(frozen=True)
class Release:
    """A release that events started.

    Attributes:
        number: Counts from 1.
        begun: When it was written down, in seconds since 1970.
        events: How many events started it.
        types: Their types, with how many of each, in words.
        process: The process that took it up; None: none has yet.
        attempts: How many processes took it up.
        ended: When it ended; None: it has not.
        exit_code: Of its process; None: it was not seen to end.
        outcome: How it ended.
        reason: Why.
        link: Where its page is; empty: it has none.
        posted: Whether its run has notified people itself, as one on Kubeflow does.
    """

    number: int
    begun: float
    events: int
    types: str
    process: ProcessRef | None
    attempts: int
    ended: float | None
    exit_code: int | None
    outcome: Outcome | None
    reason: str
    link: str
    posted: bool


_RELEASE = (
    "SELECT number, begun, events, types, process, attempts, ended, exit_code, outcome, reason, "
    "link, posted FROM releases"
)


class TriggerStore:
    """Events and releases. Usable by several threads, and by several processes at once.

    Args:
        path: The file; it and its folder are made if they are not there.
        remember: Events that are remembered, and that may wait, at most.

    Raises:
        ServiceError: If it cannot be written.
        IntegrityError: If it is damaged, or of another release of Penstock.
    """

    def __init__(self, path: Path, *, remember: int = 100_000) -> None:
        self.database = Database(path)
        self._remember = remember

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def take(self, events: Sequence[Event], *, now: float) -> Taken:
        """Write events down, those that are not known yet.

        Raises:
            ServiceError: If they cannot be written, or too many wait already.
        """
        with self.database.change() as db:
            return self.add(db, events, now=now)

    def waiting(self) -> Waiting:
        """Return what waits for a release."""
        (found,) = self.database.rows(
            "SELECT count(*), min(received), max(received) FROM events WHERE release IS NULL"
        )
        return Waiting(found[0], found[1] or 0.0, found[2] or 0.0)

    def begin(self, *, now: float) -> Release | None:
        """Write down that a release starts for all that waits; its process starts afterwards.

        Returns:
            The release; None if nothing waits, or another one has not ended.
        """
        with self.database.change() as db:
            if db.execute("SELECT 1 FROM releases WHERE ended IS NULL").fetchone():
                return None
            kinds = db.execute(
                "SELECT type, count(*) FROM events WHERE release IS NULL "
                "GROUP BY type ORDER BY count(*) DESC, type"
            ).fetchall()
            if not kinds:
                return None
            events = sum(number for _, number in kinds)
            made = db.execute(
                "INSERT INTO releases (begun, events, types) VALUES (?, ?, ?)",
                (now, events, _in_words(kinds)),
            )
            count(db, DEBOUNCED, events - 1)
            number = made.lastrowid or 0
            db.execute("UPDATE events SET release = ? WHERE release IS NULL", (number,))
            db.execute("DELETE FROM releases WHERE number <= ?", (number - _RELEASES,))
        return self.release(number)

    def claim(self, number: int, process: ProcessRef) -> bool:
        """Let a process take a release up; return whether it is the one."""
        with self.database.change() as db:
            changed = db.execute(
                "UPDATE releases SET process = ?, attempts = attempts + 1 "
                "WHERE number = ? AND process IS NULL AND ended IS NULL",
                (process.model_dump_json(), number),
            )
            return changed.rowcount == 1

    def give_up(self, number: int, process: ProcessRef) -> None:
        """Note that the process which had taken a release up is gone: another may."""
        with self.database.change() as db:
            db.execute(
                "UPDATE releases SET process = NULL WHERE number = ? AND process = ? "
                "AND ended IS NULL",
                (number, process.model_dump_json()),
            )

    def end(
        self,
        number: int,
        *,
        now: float,
        exit_code: int | None,
        ending: Ending,
    ) -> None:
        """Write down how a release ended; how it ended first stays.

        Args:
            number: The release.
            now: Seconds since 1970.
            exit_code: Of its process; None: it was not seen to end.
            ending: How it ended.
        """
        with self.database.change() as db:
            ended = db.execute(
                "UPDATE releases SET ended = ?, exit_code = ?, outcome = ?, reason = ?, link = ?, "
                "posted = ? WHERE number = ? AND ended IS NULL",
                (now, exit_code, *ending, number),
            )
            if ended.rowcount:
                count(db, ending.outcome, 1)

    def release(self, number: int) -> Release:
        """Return a release."""
        (row,) = self.database.rows(f"{_RELEASE} WHERE number = ?", (number,))
        return _release(row)

    def open_release(self) -> Release | None:
        """Return the release that has not ended."""
        found = self.database.rows(f"{_RELEASE} WHERE ended IS NULL")
        return _release(found[0]) if found else None

    def last_ended(self) -> Release | None:
        """Return the newest release that has ended."""
        found = self.database.rows(
            f"{_RELEASE} WHERE ended IS NOT NULL ORDER BY number DESC LIMIT 1"
        )
        return _release(found[0]) if found else None

    def refused(self, number: int) -> None:
        """Count events that were turned away.

        Raises:
            ServiceError: If it cannot be written.
        """
        with self.database.change() as db:
            count(db, REFUSED_EVENTS, number)

    def recent(self, *, most: int) -> list[Release]:
        """Return the newest releases, the newest first."""
        found = self.database.rows(f"{_RELEASE} ORDER BY number DESC LIMIT ?", (most,))
        return [_release(row) for row in found]

    def to_notify(self) -> list[Release]:
        """Return the releases that ended and that nobody was notified of."""
        found = self.database.rows(
            f"{_RELEASE} WHERE ended IS NOT NULL AND NOT notified ORDER BY number"
        )
        return [_release(row) for row in found]

    def notified(self, number: int) -> None:
        """Note that people were notified of a release."""
        with self.database.change() as db:
            db.execute("UPDATE releases SET notified = 1 WHERE number = ?", (number,))

    def refusals(self) -> int:
        """Return how many releases in a row were refused or rolled back, up to the newest.

        One that failed neither counts nor ends the row; `resume` ends it.
        """
        found = self.database.rows(
            "SELECT outcome FROM releases WHERE ended IS NOT NULL AND number > ? "
            "ORDER BY number DESC",
            (self.database.fact("resumed") or 0,),
        )
        row = [outcome for (outcome,) in found]
        end = row.index("released") if "released" in row else len(row)
        return sum(outcome in REFUSED for outcome in row[:end])

    def resume(self) -> None:
        """Let releases start again after a row of refusals."""
        with self.database.change() as db:
            remember(db, "resumed", self._newest())

    @property
    def stop_notified(self) -> bool:
        """Whether people were notified that no release starts any more, since the newest one."""
        return bool(self.database.fact("stopped") == self._newest())

    def note_stop(self) -> None:
        """Note that they were."""
        with self.database.change() as db:
            remember(db, "stopped", self._newest())

    @property
    def identity(self) -> str:
        """Tells this file from any other one: eight characters."""
        return str(self.database.fact("identity"))

    def add(self, db: sqlite3.Connection, events: Sequence[Event], *, now: float) -> Taken:
        """Do what `take` does, as a part of a transaction."""
        new = 0
        for each in events:
            added = db.execute(
                "INSERT INTO events (source, id, type, subject, received) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (each.source, each.id, each.type, each.subject, now),
            )
            new += added.rowcount
        waiting, newest = db.execute(
            "SELECT (SELECT count(*) FROM events WHERE release IS NULL), max(number) FROM events"
        ).fetchone()
        if new and waiting > self._remember:
            raise ServiceError(
                f"{self._remember:,} events wait for a release already, and trigger.remember "
                "allows no more",
                where=str(self.database.path),
                remedy="See what keeps the release from starting: penstock trigger --status.",
            )
        # What waits is never forgotten, nor what a release that goes on was started by.
        db.execute(
            "DELETE FROM events WHERE number <= ? AND release IS NOT NULL "
            "AND release NOT IN (SELECT number FROM releases WHERE ended IS NULL)",
            ((newest or 0) - self._remember,),
        )
        count(db, "taken", new)
        count(db, "known", len(events) - new)
        return Taken(new=new, known=len(events) - new)

    def _newest(self) -> int:
        return int(self.database.rows("SELECT max(number) FROM releases")[0][0] or 0)


def _in_words(kinds: Sequence[tuple[str, int]]) -> str:
    shown = [f"{kind} ({count:,})" for kind, count in kinds[:5]]
    more = [f"{len(kinds) - 5} other types"] if len(kinds) > 5 else []
    return ", ".join([*shown, *more])


def _release(row: Sequence[Any]) -> Release:
    number, begun, events, types, process, attempts, ended, code, outcome, reason, link, posted = (
        row
    )
    return Release(
        number=number,
        begun=begun,
        events=events,
        types=types,
        process=restored(ProcessRef, process, where=f"release {number}") if process else None,
        attempts=attempts,
        ended=ended,
        exit_code=code,
        outcome=outcome,
        reason=reason,
        link=link,
        posted=bool(posted),
    )
