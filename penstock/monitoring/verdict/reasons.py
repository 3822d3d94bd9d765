"""A verdict in words: its headline, its reasons, what a person should do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from penstock.monitoring.settings.monitoring import OperationsSpec
from penstock.monitoring.verdict import words
from penstock.monitoring.verdict.sight import Sight
from penstock.records.figures import Performance, ServiceFigures, SignalFigure
from penstock.records.monitoring import Alarm, Cause, Looked, VerdictKind
from penstock.reports.words import percent

_OF_NO_COLUMN = {"score": "the scores", "volume": "the number of rows"}
"""What a headline calls signals that are of no column."""

_LISTED = 3
"""Columns that a headline names; the others are counted."""


@dataclass(frozen=True)
class Grounds:
    """What a verdict rests on.

    Attributes:
        looked: What the look saw.
        kind: The verdict.
        cause: What it is about.
        drift: The alarm on the data.
        loss: The alarm on the loss of labelled rows.
        failing: Limits on the operation that are broken.
        sight: What cannot be seen.
        suspicious: Whether anything is seen that is no alarm, and not nothing either.
        labelled: The performance when labels came last; None: none ever did.
        retrain: What the project says of training again: never, suggest or automatic.
    """

    looked: Looked
    kind: VerdictKind
    cause: Cause
    drift: Alarm | None
    loss: Alarm | None
    failing: list[str]
    sight: Sight
    suspicious: bool
    labelled: Performance | None
    retrain: str

    def headline(self) -> str:
        """Return the verdict in one sentence."""
        looked, cause = self.looked, self.cause
        name = f"version {looked.version}" if looked.version else looked.service
        whole = name[0].upper() + name[1:] if looked.version else name
        if self.kind == "blind":
            return f"{whole} cannot be judged: {(self.sight.dark or self.sight.dim)[0]}"
        if cause == "operations":
            return f"{whole} fails requests."
        if self.kind == "degraded":
            if self._worth_less and self.loss and self.loss.guilty[0].kind == "kpi":
                return f"The decisions of {name} are worth less than on the holdout."
            return f"{whole} predicts worse than it did on the holdout{named(self.drift)}."
        if self.kind == "drifted":
            what = "The quality of the data" if cause == "data quality" else "The data"
            return f"{what} of {name} changed{named(self.drift)}."
        if self.kind == "watch":
            return f"{whole} shows signs of a change, not enough for an alarm."
        return f"{whole} sees what it learned from, as far as is watched."

    def reasons(self) -> list[str]:
        """Return why, in sentences, the weightiest first."""
        said = list(self.sight.dark)
        said += self.failing
        said += self._performance()
        said += self._changes()
        said += [one for one in (*self.sight.dim, *self.sight.waiting) if one not in said]
        if not said:
            said.append(
                f"{self.looked.rows:,} rows; what is watched lies within its tolerance, or there "
                "is no evidence that it does not."
            )
        return [*said, *self.looked.unwatched]

    def advice(self) -> list[str]:
        """Return what a person should do."""
        if self.kind == "blind":
            return [
                "Mend what cannot be seen: until then the performance of the model is not known."
            ]
        if self.cause == "data quality" and self.drift and self.drift.guilty[0].kind == "volume":
            return [
                "See whether whoever sends the requests has changed, or whether rows are lost on "
                "their way. A day that is unlike all before, as a holiday, is such a change too."
            ]
        if self.cause == "data quality":
            names = named(self.drift).removeprefix(": ")
            return [
                f"Look at where {names} comes from, and mend it there. Training on such rows would "
                "teach the model the fault, so it is not suggested."
            ]
        if self.cause == "operations":
            return ["Look at the server's log; penstock rollback serves the version before."]
        if self.cause == "performance" and self.retrain == "automatic":
            return [
                "Send the labels of rows since the change: a former champion is recalled, or the "
                "model trained again, once there are enough."
            ]
        if self.cause == "performance":
            return [
                "See whether a former champion fits the rows since the change: penstock recall "
                "--compare. Else train again on them, once they have labels: penstock run."
            ]
        if self.cause == "data drift":
            may = self.retrain != "never"
            again = " If so, train again on rows since: penstock run." if may else ""
            labels = "" if self.labelled else " Send labels, to know what it does to predictions."
            return [f"See whether the change is meant to last.{again}{labels}"]
        return []

    def _performance(self) -> Iterator[str]:
        found, seen, value = self.labelled, self.looked.performance, self.looked.kpi
        alarm = f"; alarm at {words.moment(self.loss.time)}" if self.loss else ""
        if found and found.realized and (self.loss or found.worse(found.realized)):
            yield f"With labels {words.worse_by(found, found.realized)}{alarm}."
        if value and value.realized and (self._worth_less or value.worse(value.realized)):
            yield f"With labels the {words.worse_by(value, value.realized)}{alarm}."
        elif value and value.estimated and value.worse(value.estimated):
            yield f"Estimated without labels, the {words.worse_by(value, value.estimated)}."
        if seen is None:
            return
        if seen.withdrawn:
            yield (
                "Labels contradict the estimates made without them more often than chance "
                "explains: what a score means has changed (concept drift), and the estimate is "
                "withdrawn."
            )
        elif seen.estimated is not None and seen.worse(seen.estimated):
            yield f"Estimated without labels, {words.worse_by(seen, seen.estimated)}."

    @property
    def _worth_less(self) -> bool:
        """Whether an alarm names the value of decisions."""
        return bool(self.loss and any(one.kind == "kpi" for one in self.loss.guilty))

    def _changes(self) -> Iterator[str]:
        found = self.looked.drift
        if self.drift is not None:
            yield from (self._change(ours[0]) for ours in self.drift.by_column.values())
        elif found is not None and self.suspicious:
            yield from (self._change(one) for one in found.signals[:_LISTED] if one.excess > 1)

    def _change(self, one: SignalFigure) -> str:
        if one.kind == "volume":
            return words.volume_change(one, self.looked.volume)
        return words.change(one)


def named(drift: Alarm | None) -> str:
    """Return the columns that an alarm names, behind a colon; nothing where there is none."""
    parts = drift.by_column if drift else {}
    names = [name for name in parts if name]
    # That the scores moved follows from the columns.
    names += dict.fromkeys(_OF_NO_COLUMN.get(one.kind, one.name) for one in parts.get("", ()))
    if not names:
        return ""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f": {', '.join(names[:_LISTED])}{more}"


def broken_limits(
    seen: ServiceFigures | None, limits: OperationsSpec, *, share: float = 1.0
) -> list[str]:
    """Return which limits on its operation a service breaks, in sentences.

    Args:
        seen: How it answered; None: not known.
        limits: The section `monitoring.operations`.
        share: Of the limits, where they were broken before.
    """
    if seen is None or seen.requests < limits.min_requests:
        return []
    said = []
    if seen.error_share > share * limits.errors:
        said.append(
            f"{percent(seen.error_share)} of {seen.requests:,} requests were answered with an "
            f"error of the server; {percent(limits.errors)} are allowed."
        )
    if limits.p99 and seen.p99 is not None and seen.p99 > share * limits.p99:
        said.append(
            f"99 % of the answers took up to {seen.p99:.3g} s; {limits.p99:.3g} s are allowed."
        )
    return said
