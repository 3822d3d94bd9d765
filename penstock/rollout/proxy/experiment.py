"""The arms of an experiment: which user gets which version, and what is written down of it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.rollout.proxy.events import AppendedEvents, EventSink
from penstock.rollout.proxy.response_parsing import parse
from penstock.rollout.proxy.stats import Outcome, Stats

_APART_SECONDS = 1.0
"""After which requests without a user are written down, as one number."""


@dataclass(frozen=True, slots=True)
class User:
    """Who sent a request: a hash of the id, and where in [0, 100) the user lies."""

    name: str
    point: float

    @classmethod
    def of(cls, value: str, *, salt: str) -> User:
        """Return the user of an id, as every proxy of the experiment has it.

        Example:
            >>> round(User.of("ann", salt="s").point, 1)
            81.7
        """
        drawn = hashlib.blake2b(
            f"{salt}:{value}".encode(errors="surrogateescape"), digest_size=16
        ).digest()
        return cls(drawn.hex(), int.from_bytes(drawn[:8]) / 2**64 * 100)


@dataclass(eq=False)
class Experiment:
    """One experiment, as a routing table has it; it goes from table to table.

    A user lies at one point for as long as the experiment goes on, whatever is started again; the
    challenger has the users below its weight. So a higher weight moves some of the champion's users
    to the challenger, and none back.

    Attributes:
        salt: What ids are hashed with. Another one each time, lest the same users be the first to
            meet every challenger; without it nobody can know who is behind a hash.
        header: The header that holds the user's id.
        events: What takes its events.
        labels: Whether predicted labels are written down too: the KPI is a cost.
        apart: What the champion answered to requests without a user.
    """

    salt: str
    header: str
    events: EventSink
    labels: bool
    apart: Stats = field(default_factory=Stats)
    _uncounted: int = 0

    def user(self, headers: Mapping[str, str]) -> User | None:
        """Return who sent a request with these headers; None: nobody that is known."""
        value = headers.get(self.header, "").strip()
        return User.of(value, salt=self.salt) if value else None

    def answered(
        self, user: User | None, request_id: str, outcome: Outcome, *, weight: int
    ) -> None:
        """Write down that a user was given an arm, whatever came of the request.

        Args:
            user: Who sent it; None: nobody that is known.
            request_id: What its label or value names later.
            outcome: How it ended.
            weight: The challenger's share of users, in percent.
        """
        if user is None:
            self._uncounted += 1
            if self._uncounted == 1:
                asyncio.get_running_loop().call_later(_APART_SECONDS, self._write_apart)
            return
        event: dict[str, Any] = {
            "e": "request",
            "t": time.time(),
            "id": request_id,
            "user": user.name,
            "arm": "candidate" if user.point < weight else "stable",
            "weight": weight,
        }
        if self.labels and outcome.body and 200 <= outcome.status < 300:
            found = parse(outcome.body, header_length=outcome.header_length)
            event["labels"] = found.labels if found else []
        self.events.write(event)

    def feedback(self, entries: list[Any]) -> int:
        """Write down labels or values that were accepted; return how many."""
        now = time.time()
        key = "label" if self.labels else "value"
        taken = [entry for entry in entries if key in entry]
        for entry in taken:
            event = {"e": "feedback", "t": now, "id": entry["request_id"], key: entry[key]}
            self.events.write(event | {"row": int(entry.get("row", 0))})
        return len(taken)

    def flush(self) -> None:
        """Write down what is counted and not written yet."""
        if self._uncounted:
            self._write_apart()

    def _write_apart(self) -> None:
        count, self._uncounted = self._uncounted, 0
        if not count:
            return
        self.events.write({"e": "apart", "t": time.time(), "n": count})


def experiment_of(
    given: Any, before: Experiment | None, *, events: EventSink | None = None
) -> Experiment | None:
    """Return the experiment that a routing table describes; the one before if it is the same.

    Args:
        given: Its part of the table.
        before: The one of the table before.
        events: What takes its events; None: the file that `given` names.

    Raises:
        LookupError, TypeError, ValueError: If a field is missing, or is not what it must be.
    """
    if given is None:
        return None
    salt, header = _text(given["salt"]), _text(given["header"])
    if before is not None and (before.salt, before.header) == (salt, header):
        return before
    sink = events or AppendedEvents(Path(_text(given["path"])))
    return Experiment(salt, header, sink, labels=bool(given["labels"]))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"an experiment's salt, header and path are texts, not {value!r}")
    return value
