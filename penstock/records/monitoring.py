"""What the monitor saw, concluded and did: a window's record, a verdict, its own state."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value
from penstock.records.baseline import Baseline
from penstock.records.estimate import Estimate
from penstock.records.explanation import Explanation
from penstock.records.figures import (
    AttributionShare,
    ColumnDistance,
    Detected,
    Performance,
    ServiceFigures,
    SignalFigure,
    Volume,
)
from penstock.records.guard import Guard
from penstock.records.intervention import Intervention

VerdictKind = Literal["healthy", "watch", "drifted", "degraded", "blind"]
Cause = Literal["", "data quality", "data drift", "performance", "operations"]
ActionKind = Literal["returned", "recalled", "retrained", "refused", "failed", "suggested"]

ALARMS: tuple[VerdictKind, ...] = ("drifted", "degraded", "blind")
"""Verdicts that people are notified of."""

QUALITY = ("missing", "unseen", "volume")
"""Kinds of signals that tell of a fault of the source rather than of a changed world."""

PERFORMANCE_KINDS = ("loss", "kpi")
"""Kinds of signals of the performance; the others are of the data."""


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
    volume: dict[str, Any] | None = Field(
        default=None, description="Numbers of rows by hour or day; of whichever version"
    )


class Known(Record):
    """`known-<version>.json`: what the registry keeps of a version, so that it is asked once."""

    KIND: ClassVar[str] = "monitoring-known"

    model: str = Field(description="Digest of the model's folder")
    baseline: Baseline
    metrics: dict[str, Estimate] = Field(description="On the holdout")
    higher_is_better: dict[str, bool]
    cost: dict[str, Any] | None = Field(
        default=None, description="How the policy values a decision; None: it does not"
    )
    value: Estimate | None = Field(
        default=None, description="What 1,000 decisions were worth on the holdout"
    )
    explanation: Explanation | None = Field(
        default=None, description="What the model's answers rested on there; None: it was not made"
    )
    form: int = Field(
        default=1, description="Which fields were fetched: 1 those up to `higher_is_better`"
    )


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
    kpi: Performance | None = Field(
        default=None, description="What 1,000 decisions are worth, by the policy's cost"
    )
    operations: ServiceFigures | None = None
    volume: Volume | None = None
    attributions: tuple[AttributionShare, ...] = Field(
        default=(), description="Of some rows of the window; the largest on the holdout first"
    )
    missing: tuple[str, ...] = Field(
        default=(), description="What cannot be watched, and why, one sentence each"
    )
    unwatched: tuple[str, ...] = Field(
        default=(), description="What is not watched: nobody has said where to read it"
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
    begins: bool = Field(
        default=False, description="Whether a recall or a retraining is begun because of it"
    )

    def reason(self) -> str:
        """Return what was found and the weightiest reasons, in sentences."""
        return " ".join((self.headline, *self.reasons[:3]))

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
        description="drifted, degraded, blind, recovered, suggested, harm, returned, recalled, "
        "retrained, refused, failed or waiting"
    )
    text: str
    time: datetime


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
    volume: Volume | None = Field(
        default=None, description="Rows of the newest whole period, whichever version answered"
    )
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
    intervention: Intervention | None = Field(
        default=None, description="The recall or retraining under way; None: there is none"
    )
    last: Looked | None = Field(
        default=None, description="The last look that had rows, without its counts and progress"
    )
