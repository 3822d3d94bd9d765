"""What a rollout saw, concluded and did: the evidence, the findings and the journal's record.

Everything that counts is additive: summing the intervals of a rollout gives the rollout, so a
controller that was killed goes on from what its journal holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from penstock.records.base import Record, Value, renamed
from penstock.records.decision import Decision
from penstock.records.release import Registration
from penstock.records.replicas import Replicas, as_one

Phase = Literal["deploy", "shadow", "step", "promote", "rollback", "done"]
Verdict = Literal["pass", "fail", "inconclusive", "not judged"]
Outcome = Literal["promoted", "rolled_back"]

K = TypeVar("K", int, str)

Counts = dict[int, int]
"""A sparse histogram. Bin 0 holds what is below `edges[0]`, bin i what is in
`[edges[i-1], edges[i])`, bin `len(edges)` what is at or above the last edge; empty bins are left
out. The edges are the rollout's `HistogramBuckets`."""


def _latency_edges() -> tuple[float, ...]:
    # 5 % apart, so that a quantile that is read from the bins is at most 5 % off.
    return tuple(round(1e-4 * 1.05**step, 9) for step in range(280))


_E12 = (1.0, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 3.9, 4.7, 5.6, 6.8, 8.2)

SERVED_LATENCY = tuple(
    edge
    for edge in (float(f"{digit}e{power}") for power in range(-4, 2) for digit in _E12)
    if edge <= 10
)
"""Seconds; upper edges of the model server's own histogram, from 0.1 ms to 10 s: the preferred
numbers E12, about 20 % apart, since two latencies whose ratio is smaller than a bin's are not kept
apart."""


class HistogramBuckets(Value):
    """The edges that all histograms of one rollout share.

    Attributes:
        latency: Seconds. By default from 0.1 ms to 82 s, 5 % apart.
        scores: In the unit of the score; by default for probabilities, 0.02 apart.
    """

    latency: tuple[float, ...] = _latency_edges()
    scores: tuple[float, ...] = tuple(round(0.02 * step, 2) for step in range(1, 50))


class Labelled(Value):
    """Requests whose true labels have come.

    The loss of a row lies in [0, 1]: binary, the squared error of the probability (Brier, 1950);
    multiclass, 1 for a wrong label; regression, `|p - y| / (|p| + |y|)`, 0 where both are 0. That
    of a request is the mean over its labelled rows: rows of one request are not independent,
    requests are what versions are drawn for (Donner and Klar, 2000, "Design and analysis of cluster
    randomization trials in health research", chapter 6: analysis by cluster means).
    """

    requests: int = 0
    loss: float = Field(default=0.0, description="Sum over the requests")
    squared: float = Field(default=0.0, description="Sum of the squares")

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_releases(cls, given: Any) -> Any:
        # Their journals counted rows; for requests of one row that is the same.
        return renamed(given, requests="rows")

    def plus(self, other: Labelled) -> Labelled:
        """Return both together."""
        return Labelled(
            requests=self.requests + other.requests,
            loss=self.loss + other.loss,
            squared=self.squared + other.squared,
        )

    def minus(self, earlier: Labelled) -> Labelled:
        """Return what has come since `earlier`."""
        return Labelled(
            requests=self.requests - earlier.requests,
            loss=max(0.0, self.loss - earlier.loss),
            squared=max(0.0, self.squared - earlier.squared),
        )


class ArmSummary(Value):
    """What one version answered, in some stretch of time.

    A request counts once it has ended. The score of a row is the probability of the positive
    class (binary), the probability of the predicted class (multiclass), or the value (regression).
    """

    requests: int = Field(default=0, description="Requests given to it, whatever came of them")
    replayed: int = Field(default=0, description="Of these, how many were replayed, not users'")
    client_errors: int = Field(default=0, description="Answers with a 4xx status")
    server_errors: int = Field(
        default=0, description="Answers with a 5xx status, none at all, or no connection"
    )
    unreachable: int = Field(
        default=0, description="Of the server errors: no connection came about"
    )
    latency: Counts = Field(default={}, description="Seconds to a 2xx answer")
    scores: Counts = Field(default={}, description="Scores, of one row of each request")
    labels: dict[str, int] = Field(
        default={},
        description="One row of each request by predicted label, as text; empty for a regression",
    )
    labelled: Labelled = Labelled()

    def plus(self, other: ArmSummary) -> ArmSummary:
        """Return both together."""
        return self._combined(other, sign=1)

    def minus(self, earlier: ArmSummary) -> ArmSummary:
        """Return what has come since `earlier`, a former reading of the same counters."""
        return self._combined(earlier, sign=-1)

    def _combined(self, other: ArmSummary, *, sign: int) -> ArmSummary:
        return ArmSummary(
            requests=self.requests + sign * other.requests,
            replayed=self.replayed + sign * other.replayed,
            client_errors=self.client_errors + sign * other.client_errors,
            server_errors=self.server_errors + sign * other.server_errors,
            unreachable=self.unreachable + sign * other.unreachable,
            latency=_combined(self.latency, other.latency, sign=sign),
            scores=_combined(self.scores, other.scores, sign=sign),
            labels=_combined(self.labels, other.labels, sign=sign),
            labelled=self.labelled.plus(other.labelled)
            if sign > 0
            else self.labelled.minus(other.labelled),
        )


class Pairs(Value):
    """Requests that both versions answered: the stable one for the user, the candidate a copy.

    Only requests that both got are in here, so that the two sides differ by version alone.
    """

    stable: ArmSummary = ArmSummary()
    candidate: ArmSummary = ArmSummary()
    rows: int = Field(default=0, description="Requests that both answered with 2xx")
    agreeing: int = Field(default=0, description="Of these, on how many they agree, by one row")
    dropped: int = Field(default=0, description="Copies that were not sent: too many under way")

    def plus(self, other: Pairs) -> Pairs:
        """Return both together."""
        return Pairs(
            stable=self.stable.plus(other.stable),
            candidate=self.candidate.plus(other.candidate),
            rows=self.rows + other.rows,
            agreeing=self.agreeing + other.agreeing,
            dropped=self.dropped + other.dropped,
        )

    def minus(self, earlier: Pairs) -> Pairs:
        """Return what has come since `earlier`."""
        return Pairs(
            stable=self.stable.minus(earlier.stable),
            candidate=self.candidate.minus(earlier.candidate),
            rows=self.rows - earlier.rows,
            agreeing=self.agreeing - earlier.agreeing,
            dropped=self.dropped - earlier.dropped,
        )


class Interval(Value):
    """One stretch of a rollout in which nothing was changed: the unit of evidence."""

    started: datetime
    seconds: float
    looks: int = Field(default=1, ge=1, description="Looks at the router that are in it, together")
    phase: Literal["shadow", "step"]
    step: int = Field(default=0, description="Index of the plan's step; 0 in the shadow phase")
    weight: int = Field(description="The candidate's share of new requests, in percent")
    stable: ArmSummary = ArmSummary()
    candidate: ArmSummary = ArmSummary()
    pairs: Pairs = Pairs()
    blind: str = Field(
        default="", description="Why users' requests could not be counted; empty: they could"
    )
    replicas: dict[str, Replicas] = Field(
        default={},
        description="Servers of `stable` and `candidate`; empty: load does not scale them",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Where load scales nothing it is the record that earlier releases read.
        fields: dict[str, Any] = write(self)
        return {key: fields[key] for key in fields if key != "replicas" or fields[key]}


class Finding(Value):
    """One rule, and what it says of the evidence so far."""

    rule: str
    verdict: Verdict
    value: float | None = Field(description="The figure; None while there is none")
    low: float | None = Field(default=None, description="Lower end of its interval")
    high: float | None = Field(default=None, description="Upper end of its interval")
    bound: float | None = Field(description="What the figure may be at most, or at least")
    stable_samples: int = 0
    candidate_samples: int = 0
    sentence: str


class Transition(Value):
    """One line of the journal: written and synced before it is acted on.

    `phase` is where the rollout goes. `findings` is the evidence on which it goes there.
    """

    sequence: int
    time: datetime
    phase: Phase
    step: int = 0
    weight: int = Field(default=0, description="The candidate's share once this is acted on")
    reason: str
    findings: tuple[Finding, ...] = ()
    notified: bool = Field(
        default=True, description="Of `done` after a rollback: whether the registry knows of it"
    )


class Rollout(Record):
    """One rollout from its first transition to its last, with the evidence for each."""

    KIND: ClassVar[str] = "rollout"

    identity: str = Field(description="Names this rollout; the same for a step that is run again")
    service: str
    router: str
    url: str
    candidate: int
    stable: int | None = Field(description="The version it was compared with; None: the first")
    purpose: Literal["release", "return", "experiment"] = Field(
        default="release",
        description="return: back to a version that was the champion before, by a person or by the "
        "guardian; experiment: compared with the champion by a business KPI",
    )
    champion: int | None = Field(
        default=None, description="The champion when it began, which a rollback restores"
    )
    uri: str = Field(description="`models:/name/version` of the candidate")
    model: str = Field(description="Digest of the candidate's folder")
    decision: str = Field(description="Digest of the decision that approved it")
    fault: str = Field(default="", description="The fault that is injected; empty: none")
    direct: str = Field(
        default="", description="Why it takes all traffic without a comparison; empty: it does not"
    )
    started: datetime
    plan: dict[str, object] = Field(description="The project file's section `deployment.canary`")
    grids: HistogramBuckets = HistogramBuckets()
    outcome: Outcome | None = Field(default=None, description="None while it is under way")
    reason: str = ""
    transitions: tuple[Transition, ...] = ()
    intervals: tuple[Interval, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_releases(cls, given: Any) -> Any:
        return renamed(given, fault="drill")

    @property
    def last(self) -> Transition:
        """The transition it stands at."""
        return self.transitions[-1]

    @property
    def ended(self) -> bool:
        """Whether nothing is left to be done for it."""
        return self.outcome is not None and self.last.notified

    def of_phase(self, phase: Phase) -> tuple[Interval, ...]:
        """Return the intervals of one phase."""
        return tuple(interval for interval in self.intervals if interval.phase == phase)

    def of_step(self, phase: Phase, step: int) -> tuple[Interval, ...]:
        """Return the intervals of one step of the plan, or of the shadow phase as step 0."""
        return tuple(each for each in self.of_phase(phase) if each.step == step)


class Order(Record):
    """The inputs of a rollout, so that another process can go on with it."""

    KIND: ClassVar[str] = "rollout-order"

    registration: Registration
    decision: Decision
    deployment: dict[str, object] = Field(description="The project file's section `deployment`")
    holdout: str = Field(description="Folder of the dataset that is replayed")
    tracking_uri: str = ""
    policy: dict[str, object] = Field(
        default={}, description="The section `gate`; empty takes what is kept as evidence"
    )


class ReturnOrder(Record):
    """The inputs of a return to an earlier champion."""

    KIND: ClassVar[str] = "return-order"

    service: str
    version: int
    by: str = Field(description="Who requested it")
    means: str = Field(
        default="", description="How that identity was established; empty: it is no person's"
    )
    deployment: dict[str, object] = Field(description="The project file's section `deployment`")
    tracking_uri: str = ""

    @property
    def automatic(self) -> bool:
        """Whether the guardian requested it, and no person."""
        return not self.means and self.by.endswith("(automatic)")


def total(arms: Iterable[ArmSummary]) -> ArmSummary:
    """Return the sum of summaries."""
    result = ArmSummary()
    for arm in arms:
        result = result.plus(arm)
    return result


def total_pairs(pairs: Iterable[Pairs]) -> Pairs:
    """Return the sum of pairs."""
    result = Pairs()
    for pair in pairs:
        result = result.plus(pair)
    return result


def merged(intervals: Sequence[Interval]) -> Interval:
    """Return intervals of one phase and step as one: what they counted, summed exactly.

    It began when the first of them did, took as long as all of them together, and is blind where
    one of them was.

    Args:
        intervals: One at least, in their order.

    Example:
        >>> from datetime import datetime, UTC
        >>> one = Interval(started=datetime.now(UTC), seconds=1.0, phase="step", weight=10)
        >>> both = merged([one, one])
        >>> (both.seconds, both.looks)
        (2.0, 2)
    """
    first = intervals[0]
    return Interval(
        started=first.started,
        seconds=sum(one.seconds for one in intervals),
        looks=sum(one.looks for one in intervals),
        phase=first.phase,
        step=first.step,
        weight=first.weight,
        stable=total(one.stable for one in intervals),
        candidate=total(one.candidate for one in intervals),
        pairs=total_pairs(one.pairs for one in intervals),
        blind=next((one.blind for one in intervals if one.blind), ""),
        replicas=as_one(one.replicas for one in intervals),
    )


def _combined(mine: Mapping[K, int], other: Mapping[K, int], *, sign: int) -> dict[K, int]:
    keys = mine.keys() | other.keys()
    sums = {key: mine.get(key, 0) + sign * other.get(key, 0) for key in keys}
    return {key: count for key, count in sums.items() if count}
