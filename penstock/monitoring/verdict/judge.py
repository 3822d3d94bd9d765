"""The verdict on a look. It is pure: what was seen and what was concluded before in, verdict out.

An alarm is raised when the sequential test of all signals reaches its threshold, and that alone is
bounded over time. What else a look shows can make an alarm on the data one on performance, or put
the verdict on watch; limits on errors and latency are plain limits on what was seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.verdict import reasons
from penstock.monitoring.verdict.actions import beginning, suggestion
from penstock.monitoring.verdict.sight import Sight, sight_of
from penstock.records.figures import Detected, Performance, SignalFigure
from penstock.records.monitoring import (
    PERFORMANCE_KINDS,
    QUALITY,
    Alarm,
    Cause,
    Looked,
    MonitorState,
    Verdict,
    VerdictKind,
)

WATCH = math.log(0.1)
"""From a tenth of the evidence that an alarm needs, the verdict is watch; a logarithm."""

_NAMED = 12
_OF_A_COLUMN = 3
"""Signals that an alarm names at most: in all, and of a column and a kind."""

_PART = math.log(0.05)
"""A signal that has this share of all evidence is named."""

Group = Literal["data", "performance"]
"""Signals of the data, and those of the performance."""


def judge(looked: Looked, *, state: MonitorState, spec: MonitoringSpec) -> Verdict:
    """Return the verdict on a look.

    It is degraded by an alarm on the loss of labelled rows, by an alarm on the data together with
    a metric, estimated or with labels, whose whole interval lies beyond the tolerance, or by errors
    of the server beyond their limit; drifted by an alarm on the data alone; blind where something
    that is to be watched cannot be; watch from a tenth of an alarm's evidence; else healthy. The
    first of these that holds is the verdict; if nothing can be seen at all it is blind, whatever
    was before. What people are notified of ends only within `monitoring.recovered` of its limit.

    Args:
        looked: What the look saw.
        state: As the look before left it; of another version only its actions count.
        spec: The section `monitoring`.
    """
    case = _Case(looked, state, spec)
    kind, cause = case.kind, case.cause
    words = reasons.Grounds(
        looked=looked,
        kind=kind,
        cause=cause,
        drift=case.drift,
        loss=case.loss,
        failing=case.failing,
        sight=case.sight,
        suspicious=case.suspicious,
        labelled=case.labelled,
        retrain=spec.retrain,
    )
    suggests, bar = suggestion(
        looked, kind=kind, cause=cause, alarms=case.alarms, state=state, spec=spec
    )
    begins, held = beginning(looked, kind=kind, cause=cause, state=state, spec=spec)
    return Verdict(
        service=looked.service,
        version=looked.version,
        number=looked.number,
        time=looked.time,
        kind=kind,
        before=state.verdict.kind if state.verdict else None,
        cause=cause,
        since=case.since,
        headline=words.headline(),
        reasons=tuple(words.reasons()),
        drift=case.drift,
        loss=case.loss,
        blind=(*case.sight.dark, *case.sight.dim),
        bound=bound(spec),
        advice=tuple(filter(None, [*words.advice(), bar, held])),
        suggests="retrain" if suggests else "",
        begins=begins,
    )


def bound(spec: MonitoringSpec) -> str:
    """Return how often alarms of the service are false, and what that does not cover."""
    rate = spec.false_alarms_per_year
    often = f"at most {rate:g} a year" if rate >= 1 else f"at most one in {1 / rate:.3g} years"
    return (
        f"False alarms on data and performance: {often} on the average, for all columns, signals "
        "and looks of this service together. Which column is named carries no such bound."
    )


@dataclass(frozen=True)
class _Case:
    """A look, and what was concluded before it."""

    looked: Looked
    state: MonitorState
    spec: MonitoringSpec

    @property
    def before(self) -> Verdict | None:
        """The verdict before, of the same version."""
        return self.state.verdict if self.state.version == self.looked.version else None

    @cached_property
    def sight(self) -> Sight:
        return sight_of(self.looked, state=self.state, spec=self.spec)

    @cached_property
    def drift(self) -> Alarm | None:
        """The alarm on the data."""
        return self._alarm("data", self.before.drift if self.before else None)

    @cached_property
    def loss(self) -> Alarm | None:
        """The alarm on the loss of labelled rows."""
        return self._alarm("performance", self.before.loss if self.before else None)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        return tuple(one for one in (self.drift, self.loss) if one is not None)

    @property
    def labelled(self) -> Performance | None:
        """The performance when labels came last."""
        seen = self.looked.performance
        if seen is not None and seen.realized is not None:
            return seen
        return (
            self.state.labelled_performance if self.state.version == self.looked.version else None
        )

    @cached_property
    def worse(self) -> bool:
        """Whether an alarm on the data stands, and a metric is worse than is tolerated."""
        seen = self.looked.performance
        if self.drift is None:
            return False
        if self._beyond:
            return True
        was = self.before is not None and self.before.kind == "degraded"
        if not was or self.before is None or self.before.cause == "operations":
            return False
        figure = (seen.realized or seen.estimated) if seen else None
        if figure is None or not (seen and seen.within(figure, self.spec.recovered)):
            return True
        value = self.looked.kpi
        worth = (value.realized or value.estimated) if value else None
        return bool(value and worth and not value.within(worth, self.spec.recovered))

    @property
    def _beyond(self) -> bool:
        """Whether a metric or the KPI lies beyond its tolerance with its whole interval."""
        seen = filter(None, (self.looked.performance, self.looked.kpi))
        return any(one.worse(one.estimated) or one.worse(one.realized) for one in seen)

    @cached_property
    def failing(self) -> list[str]:
        """How the service breaks the limits on its operation."""
        was = self.before is not None and self.before.cause == "operations"
        share = self.spec.recovered if was else 1.0
        return reasons.broken_limits(self.looked.operations, self.spec.operations, share=share)

    @cached_property
    def suspicious(self) -> bool:
        """Whether anything is seen that is no alarm, and not nothing either."""
        found = self.looked.drift
        return bool(found and found.log_evidence >= found.threshold + WATCH) or self._beyond

    @cached_property
    def kind(self) -> VerdictKind:
        if self.sight.dark:
            return "blind"
        if self.loss or self.worse or self.failing:
            return "degraded"
        if self.drift:
            return "drifted"
        if self.sight.dim:
            return "blind"
        if self.sight.waiting and self.before:
            return self.before.kind
        return "watch" if self.suspicious else "healthy"

    @cached_property
    def cause(self) -> Cause:
        if self.kind not in ("drifted", "degraded"):
            return ""
        faulty = self.drift is not None and self.drift.guilty[0].kind in QUALITY
        if self.loss:
            return "performance"
        if self.kind == "degraded" and not self.worse:
            return "operations"
        if faulty:
            return "data quality"
        return "performance" if self.worse else "data drift"

    @property
    def since(self) -> datetime:
        looked, state = self.looked, self.state
        alarm = self.loss or self.drift
        if self.kind in ("drifted", "degraded") and alarm is not None:
            return alarm.since or alarm.time
        same = state.verdict is not None and state.verdict.kind == self.kind
        return min(state.changed, looked.time) if same and state.changed else looked.time

    def _alarm(self, group: Group, before: Alarm | None) -> Alarm | None:
        """Return the alarm of a group of signals: raised now, or before and not over."""
        found = self.looked.drift
        if found is None:
            return before
        if before is not None and self._over(group, before):
            return None
        guilty = _guilty(found, group)
        if before is None:
            if not guilty:
                return None
            since = guilty[0].since or found.since
            return Alarm(
                number=self.looked.number, time=self.looked.time, since=since, guilty=guilty
            )
        seen = {one.name: one for one in (*before.guilty, *guilty)}
        now = [found.signal(name) or one for name, one in seen.items()]
        return before.model_copy(update={"guilty": _named(now)})

    def _over(self, group: Group, before: Alarm) -> bool:
        """Return whether all that an alarm named lies well within its tolerance again."""
        looked, spec = self.looked, self.spec
        seen, found = looked.performance, looked.drift
        if group == "performance" and seen is not None and seen.realized is not None:
            enough = seen.labels >= spec.min_rows and seen.within(seen.realized, spec.recovered)
            values = [one for one in before.guilty if one.kind == "kpi"]
            worth = [found.signal(one.name) for one in values] if found else []
            return enough and all(one is not None and one.excess <= spec.recovered for one in worth)
        if found is None or looked.rows < spec.min_rows:
            return False
        figures = [found.signal(one.name) for one in before.guilty]
        # One that is not listed was not seen in this window.
        return all(one is not None and one.excess <= spec.recovered for one in figures)


def _guilty(found: Detected, group: Group) -> tuple[SignalFigure, ...]:
    """Return the signals of a group that brought an alarm about, the strongest evidence first.

    Each has a twentieth of all evidence, or would be an alarm alone.
    """
    if not found.alarms:
        return ()
    least = min(found.log_evidence + _PART, found.threshold)
    return _named(
        one
        for one in found.signals
        if one.log_evidence >= least and (one.kind in PERFORMANCE_KINDS) == (group == "performance")
    )


def _named(signals: Iterable[SignalFigure]) -> tuple[SignalFigure, ...]:
    """Return the signals that are named, the strongest evidence first."""
    found: dict[tuple[str, str], int] = {}
    named = []
    for one in sorted(signals, key=lambda one: -one.log_evidence):
        place = one.column, one.kind
        found[place] = found.get(place, 0) + 1
        if found[place] <= _OF_A_COLUMN:
            named.append(one)
    return tuple(named[:_NAMED])
