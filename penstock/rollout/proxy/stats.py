"""Stats of the versions: `records.rollout.ArmSummary` and `Pairs` while they grow.

The proxy is a process of its own that must start fast and stay small, so it keeps plain counters;
whoever reads them makes records of them.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.rollout.proxy.response_parsing import PredictedRows, parse
from penstock.serving.binary_tensors import HEADER_LENGTH

if TYPE_CHECKING:
    from penstock.rollout.proxy.upstream import Reply

# A draw of a row; nothing is kept secret by it.
_random = random.Random()  # noqa: S311

_READABLE = ("application/json", "application/cloudevents+json")
"""Media types of responses whose predictions are counted."""

_AGREEING = 0.1
"""How far two regressions may be apart, relative to the larger one, to agree."""

_KNOWN = 100_000
"""Mirrored requests that are remembered, so that a label of one counts for both versions."""

_LABELS = 1_000
"""Different labels that one arm's counter holds; further ones are not counted."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Edges of histogram buckets; bucket i holds what is in `[edges[i-1], edges[i])`."""

    latency: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()


@dataclass(slots=True)
class Outcome:
    """How one request ended.

    Attributes:
        status: The answer's; 0: there was none.
        seconds: From sending the request to having the answer.
        unreachable: Whether no connection came about.
        replayed: Whether the request was marked as replayed.
        body: The answer, where it may hold predictions; else empty.
        header_length: How many bytes of it are JSON, binary tensors being the rest; None: all are.
    """

    status: int
    seconds: float = 0.0
    unreachable: bool = False
    replayed: bool = False
    body: bytes = b""
    header_length: int | None = None

    @classmethod
    def of(cls, reply: Reply, *, replayed: bool) -> Outcome:
        """Return how a request ended that was answered."""
        given = reply.headers.get(HEADER_LENGTH, "")
        header_length = int(given) if given.isdecimal() and len(given) <= 10 else None
        media = reply.headers.get("content-type", "")
        readable = header_length is not None or media.startswith(_READABLE)
        return cls(
            reply.status,
            seconds=reply.seconds,
            replayed=replayed,
            body=reply.body if readable and reply.body else b"",
            header_length=header_length,
        )


@dataclass
class Stats:
    """Counters of one arm."""

    requests: int = 0
    replayed: int = 0
    client_errors: int = 0
    server_errors: int = 0
    unreachable: int = 0
    latency: Counter[int] = field(default_factory=Counter)
    scores: Counter[int] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)

    def add(
        self, outcome: Outcome, *, edges: Buckets, draw: float | None = None
    ) -> PredictedRows | None:
        """Count a request that has ended; return the prediction for one of its rows.

        Rows of one request are not independent: they come from one client at one moment. So each
        request is one unit, of which one row counts. It is drawn evenly, which leaves the share of
        each score as it is on the average of requests (two-stage sampling: Cochran, 1977, "Sampling
        techniques", chapter 11).

        Args:
            outcome: How it ended.
            edges: Of the histograms.
            draw: Where in [0, 1) the row lies; None: anywhere.
        """
        self.requests += 1
        self.replayed += outcome.replayed
        self.unreachable += outcome.unreachable
        if not 200 <= outcome.status < 300:
            self.client_errors += 400 <= outcome.status < 500
            self.server_errors += outcome.status >= 500 or outcome.status == 0
            return None
        self.latency[bisect_right(edges.latency, outcome.seconds)] += 1
        predicted = None
        if outcome.body:
            predicted = parse(outcome.body, header_length=outcome.header_length)
        if predicted is None or not predicted.labels:
            return None
        row = predicted.row(_random.random() if draw is None else draw)
        self.scores.update(bisect_right(edges.scores, score) for score in row.scores)
        for label in map(str, row.labels) if row.classes else ():
            if label in self.labels or len(self.labels) < _LABELS:
                self.labels[label] += 1
        return row

    def add_labelled(self, sums: Mapping[str, Any]) -> None:
        """Add the sums that a server returned for requests whose labels have come."""
        for key in ("requests", "loss", "squared"):
            self.labelled[key] += sums.get(key, 0)

    def counts(self) -> dict[str, Any]:
        """Return the fields of an `ArmSummary`, JSON-ready."""
        return {
            "requests": self.requests,
            "replayed": self.replayed,
            "client_errors": self.client_errors,
            "server_errors": self.server_errors,
            "unreachable": self.unreachable,
            "latency": self.latency,
            "scores": self.scores,
            "labels": self.labels,
            "labelled": self.labelled,
        }


@dataclass
class PairStats:
    """Counters of the requests that stable version and candidate both got.

    `known` holds the ids of those that both answered with 2xx, the oldest first.
    """

    stable: Stats = field(default_factory=Stats)
    candidate: Stats = field(default_factory=Stats)
    rows: int = 0
    agreeing: int = 0
    dropped: int = 0
    known: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def add(self, pair: Pair, stable: Outcome, candidate: Outcome) -> None:
        """Count a request that both have ended."""
        one = self.stable.add(stable, edges=pair.edges, draw=pair.draw)
        other = self.candidate.add(candidate, edges=pair.edges, draw=pair.draw)
        if one and other and one.of == other.of:
            self.rows += 1
            self.agreeing += _agreeing(one, other)
            self.known[pair.request_id] = None
            if len(self.known) > _KNOWN:
                self.known.popitem(last=False)

    def counts(self) -> dict[str, Any]:
        """Return the fields of a `Pairs`, JSON-ready."""
        return {
            "stable": self.stable.counts(),
            "candidate": self.candidate.counts(),
            "rows": self.rows,
            "agreeing": self.agreeing,
            "dropped": self.dropped,
        }


@dataclass
class Pair:
    """One request that both get, until both have ended it."""

    stats: PairStats
    edges: Buckets
    request_id: str
    stable: Outcome | None = None
    candidate: Outcome | None = None
    draw: float = field(default_factory=_random.random)

    def ended(self, *, stable: Outcome | None = None, candidate: Outcome | None = None) -> None:
        """Note how one side ended; the second one to end counts them both."""
        self.stable = stable or self.stable
        self.candidate = candidate or self.candidate
        if self.stable and self.candidate:
            self.stats.add(self, self.stable, self.candidate)


def _agreeing(one: PredictedRows, other: PredictedRows) -> int:
    if one.classes or other.classes:
        return sum(map(_equal, one.labels, other.labels))
    return sum(map(_close, one.scores, other.scores))


def _equal(one: object, other: object) -> bool:
    return one == other


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= _AGREEING * max(abs(one), abs(other))


def buckets_of(grids: Mapping[str, Sequence[float]]) -> Buckets:
    """Return the bucket edges that a `records.rollout.HistogramBuckets` names."""
    return Buckets(latency=tuple(grids["latency"]), scores=tuple(grids["scores"]))
