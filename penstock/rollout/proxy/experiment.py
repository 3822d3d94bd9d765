"""The arms of an experiment: which user gets which version, and what is written down of it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import orjson

from penstock.rollout.proxy.response_parsing import parse
from penstock.rollout.proxy.stats import Outcome, Stats
from penstock.serving.request_errors import RequestError, show
from penstock.serving.request_headers import MAX_ID_LENGTH

_log = logging.getLogger("penstock.proxy")

_APART_SECONDS = 1.0
"""After which requests without a user are written down, as one number."""


@dataclass(frozen=True, slots=True)
class User:
    """Who sent a request: a hash of the id, and where in [0, 100) the user lies."""

    name: str
    point: float


@dataclass(eq=False)
class Experiment:
    """One experiment, as a routing table has it; it goes from table to table.

    A user lies at one point for as long as the experiment goes on, whatever is started again; the
    challenger has the users below its weight. So a higher weight moves some of the champion's users
    to the challenger, and none back.

    Attributes:
        salt: What ids are hashed with. Another one each time, lest the same users be the first to
            meet every challenger; without it nobody can tell who is behind a hash.
        header: The header that holds the user's id.
        path: The file that its events are appended to.
        labels: Whether predicted labels are written down too: the KPI is a cost.
        apart: What the champion answered to requests without a user.
    """

    salt: str
    header: str
    path: Path
    labels: bool
    apart: Stats = field(default_factory=Stats)
    _stream: FileIO | None = None
    _cut: bool = False
    _uncounted: int = 0

    def user(self, headers: Mapping[str, str]) -> User | None:
        """Return who sent a request with these headers; None: nobody that is known."""
        value = headers.get(self.header, "").strip()
        if not value:
            return None
        text = f"{self.salt}:{value}".encode(errors="surrogateescape")
        drawn = hashlib.blake2b(text, digest_size=16).digest()
        return User(drawn.hex(), int.from_bytes(drawn[:8]) / 2**64 * 100)

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
        self._write(event)

    def feedback(self, entries: list[Any]) -> int:
        """Write down labels or values that were accepted; return how many."""
        now = time.time()
        key = "label" if self.labels else "value"
        taken = [entry for entry in entries if key in entry]
        for entry in taken:
            event = {"e": "feedback", "t": now, "id": entry["request_id"], key: entry[key]}
            self._write(event | {"row": int(entry.get("row", 0))})
        return len(taken)

    def _write_apart(self) -> None:
        count, self._uncounted = self._uncounted, 0
        self._write({"e": "apart", "t": time.time(), "n": count})

    def _write(self, event: dict[str, Any]) -> None:
        """Append a line. One that is not taken is lost: no user waits for a disk."""
        line = orjson.dumps(event) + b"\n"
        try:
            if self._stream is None:
                # What a process before this one was killed in may be half a line.
                self._stream, self._cut = FileIO(self.path, "ab"), self.path.stat().st_size > 0
            if self._cut:
                line = b"\n" + line
            self._cut = self._stream.write(line) != len(line)
        except OSError as error:
            self._cut = True
            _log.warning("an event of the experiment was not written: %s", error)


def experiment_of(given: Any, before: Experiment | None) -> Experiment | None:
    """Return the experiment that a routing table describes; the one before if it is the same.

    Raises:
        LookupError, TypeError, ValueError: If a field is missing, or is not what it must be.
    """
    if given is None:
        return None
    salt, header, path = given["salt"], given["header"], given["path"]
    for value in (salt, header, path):
        if not isinstance(value, str) or not value:
            raise TypeError(f"an experiment's salt, header and path are texts, not {value!r}")
    if before is not None and (before.salt, before.header) == (salt, header):
        return before
    return Experiment(salt, header, Path(path), labels=bool(given["labels"]))


def check_value(entry: Mapping[str, Any], where: str) -> None:
    """Return if an entry of feedback holds a value that can be counted.

    Raises:
        RequestError: Naming the field that cannot.
    """
    value, row, request_id = entry["value"], entry.get("row", 0), entry.get("request_id")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RequestError(f"{where}.value must be a finite number, got {show(value)}")
    if not isinstance(request_id, str) or not 0 < len(request_id) <= MAX_ID_LENGTH:
        raise RequestError(f"{where}.request_id must be the id of a request")
    if isinstance(row, bool) or not isinstance(row, int | float) or row % 1 or row < 0:
        raise RequestError(f"{where}.row must be a row's index, counted from 0, got {show(row)}")
