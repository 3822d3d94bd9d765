"""What the monitor saw, concluded and did: a window's record, a verdict, its own state."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value
from penstock.records.baseline import Baseline
from penstock.records.estimate import Estimate
from penstock.records.rollout import ArmSummary

VerdictKind = Literal["healthy", "watch", "drifted", "degraded", "blind"]
Cause = Literal["", "data quality", "data drift", "performance", "operations"]
ActionKind = Literal["returned", "recalled", "retrained", "refused", "suggested"]

ALARMS: tuple[VerdictKind, ...] = ("drifted", "degraded", "blind")
"""Verdicts that people are notified of."""

QUALITY = ("missing", "unseen", "volume")
"""Kinds of signals that tell of a fault of the source rather than of a changed world."""

PERFORMANCE_KINDS = ("loss", "kpi")
"""Kinds of signals of the performance; the others are of the data."""


_SHOWN = math.log(0.1)
"""Evidence in days, as a logarithm, from which a signal says when something changed."""


class SignalFigure(Value):
    """One signal in one window, beside what the reference expects of it.

    `value` is a share or a mean from 0 to 1, of a gap between groups from -1 to 1; `low` and `high`
    are its interval in this window alone.
    """

    name: str = Field(description="For example `amount: missing`")
    kind: str
    column: str = Field(default="", description="Empty: it is not of one column")
    expected: float
    value: float
    low: float
    high: float
    tolerance: float = Field(description="How far from `expected` is not yet drift")
    least: float = Field(
        description="The least mean that is no drift: the tolerance, and what the reference's own "
        "sampling error may be"
    )
    greatest: float = Field(description="The greatest")
    log_evidence: float = Field(description="Natural logarithm of its part of the evidence")
    since: datetime | None = Field(default=None, description="When it probably changed")

    @property
    def excess(self) -> float:
        """How far it lies from what is expected; 1 is the end of the range that is no drift."""
        end = self.greatest if self.value > self.expected else self.least
        far, room = abs(self.value - self.expected), abs(end - self.expected)
        return far / room if room else float(far > 0)


class Detected(Value):
    """What the sequential test has gathered up to a window, that window included."""

    log_evidence: float = Field(
        description="Natural logarithm of the Shiryaev-Roberts statistic, of all signals together"
    )
    threshold: float = Field(description="Its value at which there is an alarm, as a logarithm")
    signals: tuple[SignalFigure, ...] = Field(
        default=(), description="The strongest evidence first: those with most, and those named"
    )
    since: datetime | None = Field(default=None, description="When it probably changed")

    @property
    def alarms(self) -> bool:
        """Whether it has reached its threshold."""
        return self.log_evidence >= self.threshold

    @property
    def changed(self) -> datetime | None:
        """Since when the rows are what they are now: the latest beginning that a signal shows.

        Of the signals that have at least a tenth of a day's evidence each, which is far more than
        chance leaves any of them. The one with most evidence may have begun to move long before the
        rest, by chance or by another change; rows since then would be of two kinds.
        """
        shown = [one.since for one in self.signals if one.log_evidence >= _SHOWN and one.since]
        return max(shown, default=self.since)

    def signal(self, name: str) -> SignalFigure | None:
        """Return the figure of a signal, or None where it has no evidence."""
        return next((one for one in self.signals if one.name == name), None)


class ColumnDistance(Value):
    """How far a column's distribution lies from the reference's; what does not apply is None."""

    column: str
    psi: float | None = None
    ks: float | None = None
    wasserstein: float | None = None
    jensen_shannon: float | None = None
    chi_squared: float | None = None


class Performance(Value):
    """The performance in a window, before and after its labels."""

    metric: str
    higher_is_better: bool
    reference: Estimate | None = Field(default=None, description="On the holdout")
    tolerance: float = Field(description="How much worse is not yet degraded")
    estimated: Estimate | None = Field(default=None, description="Without labels")
    method: str = Field(default="", description="How it was estimated")
    not_estimated: str = Field(default="", description="Why there is no estimate")
    realized: Estimate | None = Field(default=None, description="On the rows whose labels came")
    labels: int = Field(default=0, description="Labels that came in this window")
    withdrawn: bool = Field(
        default=False,
        description="Whether labels contradict the estimates so often that what a score means must "
        "have changed (concept drift): there is no estimate then",
    )

    def worse(self, figure: Estimate | None) -> bool:
        """Return whether the whole interval of a figure lies beyond the tolerance."""
        if figure is None or self.reference is None:
            return False
        if self.higher_is_better:
            return figure.high < self.reference.value - self.tolerance
        return figure.low > self.reference.value + self.tolerance

    def within(self, figure: Estimate, share: float) -> bool:
        """Return whether a figure is at most a share of the tolerance worse than on the holdout."""
        if self.reference is None:
            return True
        loss = self.reference.value - figure.value
        return (loss if self.higher_is_better else -loss) <= share * self.tolerance


class ServiceFigures(Value):
    """How the service answered users' requests in a window, whatever they asked."""

    requests: int
    client_errors: int = Field(description="Answers with a 4xx status")
    server_errors: int = Field(description="Answers with a 5xx status, and none at all")
    p99: float | None = Field(default=None, description="99 % of the answers took less, in seconds")

    @property
    def error_share(self) -> float:
        """Share of the requests that the server failed, 0 to 1."""
        return self.server_errors / self.requests if self.requests else 0.0


class Progress(Value):
    """How far the monitor has come: what the next look goes on from."""

    cursor: dict[str, Any] | None = Field(default=None, description="Of the captured rows")
    label_cursor: dict[str, Any] | None = None
    detector: dict[str, Any] | None = Field(default=None, description="None: it begins anew")
    concept: dict[str, Any] | None = Field(
        default=None, description="What labels have taught of the error of estimates"
    )
    counted: dict[str, Any] | None = Field(
        default=None, description="The service's own counters at the last look"
    )


class Known(Record):
    """`known-<version>.json`: what the registry keeps of a version, so that it is asked once."""

    KIND: ClassVar[str] = "monitoring-known"

    model: str = Field(description="Digest of the model's folder")
    baseline: Baseline
    metrics: dict[str, Estimate] = Field(description="On the holdout")
    higher_is_better: dict[str, bool]


class Looked(Record):
    """`windows/<number>-<time>.json`: what one look saw, and how far it came.

    It holds counts, means and figures, and no row.
    """

    KIND: ClassVar[str] = "monitoring-window"

    service: str
    version: int | None = Field(default=None, description="The one that was watched, if any")
    number: int = Field(description="Of the look, from 1")
    time: datetime = Field(description="Of the look")
    since: datetime | None = Field(default=None, description="Time of the first row")
    until: datetime | None = Field(default=None, description="Time of the last row")
    rows: int = 0
    lost: int = Field(default=0, description="Rows that were answered and cannot be read")
    drift: Detected | None = None
    distances: tuple[ColumnDistance, ...] = ()
    performance: Performance | None = None
    operations: ServiceFigures | None = None
    missing: tuple[str, ...] = Field(
        default=(), description="What cannot be watched, and why, one sentence each"
    )
    problem: str = Field(default="", description="Why nothing could be read at all")
    notes: tuple[str, ...] = ()
    refused: int = Field(default=0, description="Runs in a row that were refused, up to now")
    progress: Progress = Progress()
    counts: dict[str, Any] | None = Field(
        default=None, description="Additive counts by column in the reference's own edges"
    )

    @property
    def lost_share(self) -> float:
        """Share of the rows that were lost, 0 to 1."""
        return self.lost / (self.rows + self.lost) if self.lost else 0.0


class Alarm(Value):
    """An alarm that was raised and is not over."""

    number: int = Field(description="The look that raised it")
    time: datetime = Field(description="When that was")
    since: datetime | None = Field(default=None, description="When the change probably began")
    guilty: tuple[SignalFigure, ...] = Field(
        default=(), description="The strongest evidence first, each as it was seen last"
    )

    @property
    def by_column(self) -> dict[str, tuple[SignalFigure, ...]]:
        """What it named, by column and in order; under an empty name what is of no column, last."""
        columns = [*dict.fromkeys(one.column for one in self.guilty if one.column), ""]
        named = {name: tuple(s for s in self.guilty if s.column == name) for name in columns}
        return {name: signals for name, signals in named.items() if signals}


class Verdict(Record):
    """`verdicts/<number>-<time>.json`: what a look concluded, and why."""

    KIND: ClassVar[str] = "monitoring-verdict"

    service: str
    version: int | None = None
    number: int = Field(description="Of the look")
    time: datetime
    kind: VerdictKind
    before: VerdictKind | None = Field(default=None, description="The verdict before; None: none")
    cause: Cause = ""
    since: datetime | None = Field(
        default=None, description="When what the verdict is about probably began"
    )
    headline: str = Field(description="One sentence")
    reasons: tuple[str, ...] = Field(description="In sentences, the weightiest first")
    drift: Alarm | None = Field(default=None, description="The alarm on the data, if there is one")
    loss: Alarm | None = Field(default=None, description="The alarm on the performance")
    blind: tuple[str, ...] = Field(default=(), description="What cannot be watched, and why")
    bound: str = Field(description="How often such an alarm is false")
    done: tuple[str, ...] = Field(default=(), description="What the monitor did")
    advice: tuple[str, ...] = Field(default=(), description="What a person should do")
    suggests: Literal["", "retrain"] = Field(
        default="", description="What is suggested with this verdict, once for each alarm"
    )

    @property
    def changed(self) -> bool:
        """Whether it is another verdict than the one before."""
        return self.kind != self.before

    @property
    def recovered(self) -> bool:
        """Whether it ends a verdict that people were notified of."""
        return self.before in ALARMS and self.kind in ("healthy", "watch")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are named, the strongest evidence first."""
        return tuple(filter(None, self.drift.by_column if self.drift else ()))


class Action(Value):
    """Something that the monitor did."""

    kind: ActionKind
    time: datetime
    number: int = Field(description="The look that it belongs to")
    reason: str


class Notice(Value):
    """A message to people that is to be delivered, or was not."""

    identity: str = Field(description="The same in every attempt, so that a receiver can tell")
    event: str = Field(
        description="drifted, degraded, blind, recovered, suggested, harm or returned"
    )
    text: str
    time: datetime


GuardedSignal = Literal["errors", "latency", "loss"]


class GuardLimit(Value):
    """One thing in which a champion may not be worse than the one before it."""

    signal: GuardedSignal
    expected: float = Field(description="Share or mean that the previous champion showed, 0 to 1")
    reference: int = Field(description="Requests that show it")
    tolerance: float
    greatest: float = Field(
        description="The greatest mean that is no harm: `expected`, the tolerance, and the "
        "sampling error of `expected`"
    )
    place: int = Field(
        default=0, description="Of `latency`: the first bin of the histogram that counts as slow"
    )
    line: float = Field(default=0.0, description="Of `latency`: its lower edge, in seconds")


class Harm(Value):
    """That a champion does harm."""

    time: datetime
    signals: tuple[GuardedSignal, ...] = Field(description="The strongest evidence first")
    reason: str = Field(description="In sentences")
    returns: bool = Field(description="Whether the previous champion is to serve again by itself")


class Guard(Value):
    """How a champion is held against the one before it."""

    version: int
    former: int | None = Field(
        default=None, description="The champion before; None: it is guarded against nothing"
    )
    rollout: str = Field(default="", description="Identity of the rollout that promoted it")
    newest: str = Field(
        default="", description="The service's newest rollout, if that has ended; empty: look again"
    )
    since: datetime = Field(description="When it became the champion, or was first seen")
    limits: tuple[GuardLimit, ...] = ()
    open: tuple[str, ...] = Field(default=(), description="What is not guarded, and why")
    counted: dict[str, Any] | None = Field(default=None, description="The counters, as read last")
    seen: ArmSummary = Field(default=ArmSummary(), description="What it answered since")
    detector: dict[str, Any] | None = None
    log_evidence: float = Field(default=0.0, description="Natural logarithm")
    threshold: float = Field(default=0.0, description="At which it is harm, as a logarithm")
    harm: Harm | None = None
    notified: bool = Field(default=False, description="Whether people were notified of it")
    tries: int = Field(default=0, description="Returns that were tried and did not succeed")
    next_try: datetime | None = None


class Totals(Value):
    """What has been counted since the monitor began."""

    looks: int = 0
    rows: int = 0
    lost: int = 0
    actions: dict[ActionKind, int] = Field(default={})
    undelivered: int = Field(default=0, description="Messages that did not reach a place")


class MonitorState(Record):
    """`state.json` of the monitor: written whole, after the window's record and the verdict."""

    KIND: ClassVar[str] = "monitor"

    service: str
    version: int | None = None
    began: datetime | None = Field(default=None, description="When the version was first watched")
    number: int = Field(default=0, description="Of the last look that is counted")
    time: datetime | None = Field(default=None, description="Of that look")
    judged: datetime | None = Field(default=None, description="Time of the last look that had rows")
    labelled: datetime | None = Field(default=None, description="Of the last one that had labels")
    labelled_performance: Performance | None = Field(
        default=None, description="Of the last look that had labels, as they were seen then"
    )
    seen: int = Field(default=0, description="Rows of the version that have been seen")
    progress: Progress = Progress()
    rearm: bool = Field(
        default=False, description="Whether an alarm is over, so that evidence begins anew"
    )
    verdict: Verdict | None = None
    changed: datetime | None = Field(default=None, description="Since when the verdict is its kind")
    actions: tuple[Action, ...] = Field(default=(), description="Of the last 31 days")
    outbox: tuple[Notice, ...] = Field(default=(), description="Messages to be delivered")
    totals: Totals = Totals()
    guard: Guard | None = Field(
        default=None, description="The champion and the one before it; None: nothing is guarded"
    )
    last: Looked | None = Field(
        default=None, description="The last look that had rows, without its counts and progress"
    )
