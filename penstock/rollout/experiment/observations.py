"""From the events of an experiment to one observation a user.

A user belongs to the arm of the first request. What counts is the mean (or the sum) over the rows
whose labels or values come within `window` of that request; then the user's window is over, and
what comes later changes nothing. So users are taken once each, in the order in which they came,
which no arm has a say in: rows of one user, which hang together, are one observation, and a look at
any moment is a look at a sequence of independent users.

A change of weight ends all windows that are open, in both arms alike: some users get the other arm
from then on, and none of what they do there counts. Where several proxies change one after another,
it has changed with the first request at the new weight; what a proxy answers at the old weight
after that is of no user's, and a user whom it met first counts from the next request on, in the arm
that the new weight gives.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from penstock.errors import ServiceError
from penstock.records.experiment import ExperimentPlan

_PRIOR = 10.0
"""Users that the KPI which was expected counts for, in guessing that of the next user."""

_BLOCK = 1 << 20

Amount = Callable[[Any, Any], float | None]


@dataclass
class Sums:
    """What the reading is computed from; each user adds to it once."""

    users: list[int] = field(default_factory=lambda: [0, 0])
    exposed: dict[int, list[int]] = field(default_factory=dict)
    totals: list[float] = field(default_factory=lambda: [0.0, 0.0])
    share: float = 0.0
    score: float = 0.0
    squared: float = 0.0
    clipped: int = 0
    without: int = 0
    apart: int = 0
    unknown: int = 0
    repeated: int = 0
    moved: int = 0
    damaged: int = 0
    changing: int = 0
    dropped: int = 0
    silent: int = 0


@dataclass
class _User:
    candidate: bool
    weight: int
    since: float
    requests: list[str] = field(default_factory=list)
    total: float = 0.0
    rows: int = 0


@dataclass
class _Request:
    user: str
    labels: list[Any]
    seen: set[int] = field(default_factory=set)


class Observations:
    """Users of one experiment, as its events have them.

    Args:
        plan: The experiment's.
        amount: What a predicted label is worth where another was true, of kpi: cost; None: nothing.
    """

    def __init__(self, plan: ExperimentPlan, *, amount: Amount | None = None) -> None:
        self._plan = plan
        self._amount = amount
        self._open: dict[str, _User] = {}
        self._queue: deque[tuple[float, str]] = deque()
        self._done: set[str] = set()
        self._requests: dict[str, _Request] = {}
        self._now = 0.0
        self._guess, self._guesses = self._scaled(plan.centre) * _PRIOR, _PRIOR
        self.weight = plan.weight
        self.sums = Sums()

    @property
    def waiting(self) -> int:
        """Users whose window is not over."""
        return len(self._open)

    def add(self, event: Mapping[str, Any]) -> None:
        """Take an event.

        Raises:
            LookupError, TypeError, ValueError: If it is none.
        """
        kind = event["e"]
        self.until(float(event["t"]))
        if kind == "request":
            self._request(event)
        elif kind == "feedback":
            self._feedback(event)
        elif kind == "apart":
            self.sums.apart += int(event["n"])
        else:
            raise ValueError(f"an unknown event: {kind!r}")

    def until(self, now: float) -> None:
        """Let time pass: what is over by then is counted. It never runs backwards."""
        self._now = max(self._now, now)
        while self._queue and self._queue[0][0] + self._plan.window <= self._now:
            self._close(self._queue.popleft()[1])

    def _request(self, event: Mapping[str, Any]) -> None:
        name, candidate = str(event["user"]), event["arm"] == "candidate"
        weight, identity = int(event["weight"]), str(event["id"])
        if weight > self.weight:
            self._end_all()
            self.weight = weight
        elif weight < self.weight:
            self.sums.changing += 1
            return
        user = self._open.get(name)
        if user is None:
            if name in self._done:
                return
            user = self._open[name] = _User(candidate, weight, self._now)
            self._queue.append((self._now, name))
            self.sums.exposed.setdefault(weight, [0, 0])[candidate] += 1
        if user.candidate != candidate:
            self.sums.moved += 1
            return
        known, labels = self._requests.get(identity), list(event.get("labels") or ())
        if known is None:
            self._requests[identity] = _Request(name, labels)
            user.requests.append(identity)
        elif known.user == name and not known.labels:
            # The arm could not be reached, and the other one answered.
            known.labels = labels

    def _feedback(self, event: Mapping[str, Any]) -> None:
        request = self._requests.get(str(event["id"]))
        if request is None:
            self.sums.unknown += 1
            return
        value, row = self._value(event, request), int(event.get("row", 0))
        if value is None:
            return
        if row in request.seen:
            self.sums.repeated += 1
            return
        request.seen.add(row)
        # The requests of users whose window is over are forgotten.
        user = self._open[request.user]
        user.total += value
        user.rows += 1

    def _value(self, event: Mapping[str, Any], request: _Request) -> float | None:
        if self._plan.kpi == "value":
            return float(event["value"]) if "value" in event else None
        row = int(event.get("row", 0))
        if "label" not in event or self._amount is None or row >= len(request.labels):
            return None
        return self._amount(request.labels[row], event["label"])

    def _end_all(self) -> None:
        while self._queue:
            self._close(self._queue.popleft()[1])

    def _close(self, name: str) -> None:
        user = self._open.pop(name)
        self._done.add(name)
        sums = self.sums
        for identity in user.requests:
            del self._requests[identity]
        if not user.rows and self._plan.missing == "skip":
            sums.without += 1
            return
        value = (
            user.total / user.rows if user.rows and self._plan.per_user == "mean" else user.total
        )
        if not math.isfinite(value):
            value = self._plan.high if value > 0 else self._plan.low
        sums.without += not user.rows
        sums.clipped += not self._plan.low <= value <= self._plan.high
        scaled, share = self._scaled(value), user.weight / 100
        score = (user.candidate - share) * (scaled - self._guess / self._guesses)
        sums.users[user.candidate] += 1
        sums.totals[user.candidate] += scaled
        sums.share += share * (1 - share)
        sums.score += score
        sums.squared += score * score
        # Only now: a user's own KPI must not be in what is taken from it.
        self._guess += scaled
        self._guesses += 1

    def _scaled(self, value: float) -> float:
        low, high = self._plan.low, self._plan.high
        return (min(max(value, low), high) - low) / (high - low)


class EventFile:
    """Reads what the proxy appends, a part at a time; half a line waits for its end.

    Args:
        path: The file; it may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0

    def begins_anew(self) -> bool:
        """Return False: whatever is appended comes after what was read."""
        return False

    def read(self, observations: Observations, *, until: float) -> float:
        """Give what has come since the last time to the observations.

        Args:
            observations: What takes it.
            until: What was written later is left for the next time (Unix time).

        Returns:
            `until`: who appends does it at once.

        Raises:
            ServiceError: If the file is there and cannot be read.
        """
        for line in self._lines():
            if not line:
                self._place += 1
                continue
            try:
                event = orjson.loads(line)
                if float(event["t"]) > until:
                    return until
                observations.add(event)
            except (LookupError, TypeError, ValueError, AttributeError):
                observations.sums.damaged += 1
            self._place += len(line) + 1
        return until

    def _lines(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._place)
                rest = b""
                while block := stream.read(_BLOCK):
                    *whole, rest = (rest + block).split(b"\n")
                    yield from whole
        except FileNotFoundError:
            return
        except OSError as error:
            raise ServiceError(
                f"the events of the experiment cannot be read: {error.strerror}",
                where=str(self._path),
                remedy="Give this user the right to read them.",
            ) from error
