"""The verdict on a look. It is pure: what was seen and what was concluded before in, verdict out.

An alarm is raised when a sequential test reaches its threshold, and that alone is bounded over
time. Everything else that a look shows can put the verdict on watch, and raises no alarm by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from penstock.monitoring import words
from penstock.monitoring.spec import MonitoringSpec
from penstock.records.monitoring import (
    QUALITY,
    WORTH,
    Alarm,
    Cause,
    Detected,
    Looked,
    MonitorState,
    SignalFigure,
    Verdict,
    VerdictKind,
)
from penstock.reports.words import percent

WATCH = math.log(0.1)
"""From a tenth of the evidence that an alarm needs, the verdict is watch; a logarithm."""

BLIND_AFTER = 2
"""Periods without rows to judge after which the verdict is blind."""

REFUSALS = 3
"""Runs refused in a row after which nothing more is suggested."""

_MONTH = timedelta(days=30)
_NAMED = 12
"""Signals that an alarm names, at most."""

_PART = math.log(0.05)
"""A signal that has this share of all evidence is named."""

Group = Literal["data", "worth"]
"""Signals of the data, and those of what the predictions are worth."""


@dataclass(frozen=True)
class _Sight:
    """What cannot be seen: `dark` if nothing can, `dim` if something cannot."""

    dark: tuple[str, ...] = ()
    dim: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def judge(looked: Looked, *, state: MonitorState, spec: MonitoringSpec) -> Verdict:
    """Return the verdict on a look.

    It is degraded by an alarm on the loss of labelled rows, by an alarm on the data together with
    a metric, estimated or with labels, whose whole interval lies beyond the tolerance, or by errors
    of the server beyond their limit; drifted by an alarm on the data alone; blind where something
    that is to be watched cannot be; watch from a tenth of an alarm's evidence; else healthy. The
    first of these that holds is the verdict; if nothing can be seen at all it is blind, whatever
    was before.

    Args:
        looked: What the look saw.
        state: As the look before left it; of another version only its actions count.
        spec: The section `monitoring`.
    """
    before = state.verdict if state.version == looked.version else None
    sight = _sight(looked, state=state, spec=spec)
    drift = _alarm_of("data", looked, before.drift if before else None, spec=spec)
    loss = _alarm_of("worth", looked, before.loss if before else None, spec=spec)
    failing = _failing(looked, spec)
    seen = looked.performance
    worth = bool(drift and seen and (seen.worse(seen.estimated) or seen.worse(seen.realized)))
    kind: VerdictKind
    cause: Cause = ""
    if sight.dark:
        kind = "blind"
    elif loss or worth or failing:
        kind, cause = "degraded", "performance" if loss or worth else "operations"
    elif drift:
        kind, cause = "drifted", _cause(drift)
    elif sight.dim:
        kind = "blind"
    elif sight.waiting and before:
        kind = before.kind
    else:
        kind = "watch" if _suspicious(looked) else "healthy"
    if drift and _cause(drift) == "data quality" and kind == "degraded" and not loss:
        cause = "data quality"
    alarms = tuple(one for one in (drift, loss) if one is not None)
    labelled = bool(state.labelled or (seen and seen.realized))
    suggests, bar = _suggestion(looked, kind, cause, alarms=alarms, state=state, spec=spec)
    return Verdict(
        service=looked.service,
        version=looked.version,
        number=looked.number,
        time=looked.time,
        kind=kind,
        before=state.verdict.kind if state.verdict else None,
        cause=cause,
        since=_since(kind, loss or drift, looked=looked, state=state),
        headline=_headline(looked, kind, cause, drift=drift, sight=sight),
        reasons=tuple(
            _reasons(looked, drift=drift, loss=loss, failing=failing, sight=sight, kind=kind)
        ),
        drift=drift,
        loss=loss,
        blind=(*sight.dark, *sight.dim),
        bound=bound(spec),
        advice=tuple(
            filter(None, [*_advice(kind, cause, drift=drift, labelled=labelled, spec=spec), bar])
        ),
        suggests="retrain" if suggests else "",
    )


def bound(spec: MonitoringSpec) -> str:
    """Return how often alarms of the service are false, and what that does not cover."""
    rate = spec.false_alarms_per_year
    often = f"at most {rate:g} a year" if rate >= 1 else f"at most one in {1 / rate:.3g} years"
    return (
        f"False alarms on data and performance: {often} on the average, for all columns, signals "
        "and looks of this service together. Which column is named carries no such bound."
    )


def _sight(looked: Looked, *, state: MonitorState, spec: MonitoringSpec) -> _Sight:
    dark: list[str] = []
    waiting: list[str] = []
    dim = list(looked.missing)
    if not looked.rows:
        why = _no_rows(looked)
        known = state.judged if state.version == looked.version else None
        if known is None:
            dark.append(why)
        else:
            # After a clock was set back, what was judged before would lie in the future.
            gone = (looked.time - min(known, looked.time)).total_seconds()
            past = gone >= BLIND_AFTER * spec.seconds
            last = f" The last rows were seen at {words.moment(known)}."
            (dark if past else waiting).append(why + last)
    seen = looked.rows + (state.seen if state.version == looked.version else 0)
    if not dark and seen < spec.min_rows:
        dark.append(f"Only {seen:,} rows have been seen; a verdict needs {spec.min_rows:,}.")
    if looked.lost_share > spec.lost:
        dim.append(
            f"{looked.lost:,} of {looked.rows + looked.lost:,} rows were lost before they were "
            f"read, more than {percent(spec.lost)}."
        )
    dim += _overdue(looked, state=state, spec=spec)
    return _Sight(tuple(dark), tuple(dim), tuple(waiting))


def _no_rows(looked: Looked) -> str:
    if looked.problem:
        return looked.problem
    return "No rows were captured since the last look."


def _overdue(looked: Looked, *, state: MonitorState, spec: MonitoringSpec) -> list[str]:
    hours = spec.performance.labels_within
    labels = looked.performance.labels if looked.performance else 0
    same = state.version == looked.version
    since = (state.labelled or state.began) if same else None
    if not hours or labels or since is None:
        return []
    if looked.time - since <= timedelta(hours=hours):
        return []
    return [
        f"No label has come since {words.moment(since)}; they are due within "
        f"{words.period(3600 * hours)}."
    ]


def _alarm_of(
    group: Group, looked: Looked, before: Alarm | None, *, spec: MonitoringSpec
) -> Alarm | None:
    """Return the alarm of a group of signals that stands after a look.

    It was raised by this look, or was raised before and is not over.
    """
    found = looked.drift
    if found is None:
        return before
    if before is not None and _over(group, before, looked, spec=spec):
        return None
    guilty = _guilty(found, group)
    if before is None:
        if not guilty:
            return None
        since = guilty[0].since or found.since
        return Alarm(number=looked.number, time=looked.time, since=since, guilty=guilty)
    seen = {one.name: one for one in (*before.guilty, *guilty)}
    now = [found.signal(name) or one for name, one in seen.items()]
    named = sorted(now, key=lambda one: -one.log_evidence)[:_NAMED]
    return before.model_copy(update={"guilty": tuple(named)})


def _over(group: Group, before: Alarm, looked: Looked, *, spec: MonitoringSpec) -> bool:
    """Return whether all that an alarm named lies well within its tolerance again."""
    seen, found = looked.performance, looked.drift
    if group == "worth" and seen is not None and seen.realized is not None:
        enough = seen.labels >= spec.min_rows
        return enough and seen.within(seen.realized, spec.recovered)
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
    named = [
        one
        for one in sorted(found.signals, key=lambda one: -one.log_evidence)
        if one.log_evidence >= least and (one.kind in WORTH) == (group == "worth")
    ]
    return tuple(named[:_NAMED])


def _failing(looked: Looked, spec: MonitoringSpec) -> list[str]:
    """Return how the service breaks the limits on its operation."""
    seen, limits = looked.operations, spec.operations
    if seen is None or seen.requests < limits.min_requests:
        return []
    said = []
    if seen.error_share > limits.errors:
        said.append(
            f"{percent(seen.error_share)} of {seen.requests:,} requests were answered with "
            f"an error of the server; {percent(limits.errors)} are allowed."
        )
    if limits.p99 and seen.p99 is not None and seen.p99 > limits.p99:
        said.append(
            f"99 % of the answers took up to {seen.p99:.3g} s; {limits.p99:.3g} s are allowed."
        )
    return said


def _cause(drift: Alarm) -> Cause:
    return "data quality" if drift.guilty and drift.guilty[0].kind in QUALITY else "data drift"


def _suspicious(looked: Looked) -> bool:
    """Return whether anything is seen that is no alarm, and not nothing either."""
    found = looked.drift
    if found and found.log_evidence >= found.threshold + WATCH:
        return True
    seen = looked.performance
    return bool(seen and (seen.worse(seen.estimated) or seen.worse(seen.realized)))


def _since(
    kind: VerdictKind, alarm: Alarm | None, *, looked: Looked, state: MonitorState
) -> datetime | None:
    if kind in ("drifted", "degraded") and alarm is not None:
        return alarm.since or alarm.time
    if state.verdict is not None and state.verdict.kind == kind and state.changed is not None:
        return min(state.changed, looked.time)
    return looked.time


def _headline(
    looked: Looked, kind: VerdictKind, cause: Cause, *, drift: Alarm | None, sight: _Sight
) -> str:
    name = f"Version {looked.version}" if looked.version else looked.service
    if kind == "blind":
        return f"{name} cannot be judged: {(sight.dark or sight.dim)[0]}"
    if kind == "degraded" and cause == "operations":
        return f"{name} fails requests."
    if kind == "degraded":
        return f"{name} predicts worse than it did on the holdout{_of(drift)}."
    if kind == "drifted":
        what = "The data of" if cause == "data drift" else "The quality of the data of"
        return f"{what} {name[0].lower()}{name[1:]} changed{_of(drift)}."
    if kind == "watch":
        return f"{name} shows signs of a change, not enough for an alarm."
    return f"{name} sees what it learned from, as far as is watched."


def _of(drift: Alarm | None) -> str:
    guilty = drift.guilty if drift else ()
    # That the scores moved follows from the columns.
    named = list(dict.fromkeys(one.column for one in guilty if one.column))
    named += dict.fromkeys(
        "the scores" if one.kind == "score" else one.name for one in guilty if not one.column
    )
    if not named:
        return ""
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return f": {', '.join(named[:3])}{more}"


def _reasons(
    looked: Looked,
    *,
    drift: Alarm | None,
    loss: Alarm | None,
    failing: list[str],
    sight: _Sight,
    kind: VerdictKind,
) -> list[str]:
    said = list(sight.dark) if kind == "blind" else []
    said += failing
    seen = looked.performance
    if seen and loss and seen.realized:
        said.append(
            f"With labels {words.worse_by(seen, seen.realized)}; alarm at "
            f"{words.moment(loss.time)}."
        )
    if seen and seen.withdrawn:
        said.append(
            "Labels contradict the estimates made without them more often than chance explains: "
            "what a score means has changed (concept drift), and the estimate is withdrawn."
        )
    elif seen and seen.estimated and seen.worse(seen.estimated):
        said.append(f"Estimated without labels, {words.worse_by(seen, seen.estimated)}.")
    if seen and not loss and seen.realized and seen.worse(seen.realized):
        said.append(f"With labels {words.worse_by(seen, seen.realized)}.")
    said += [words.change(one[0]) for one in drift.by_column.values()] if drift else []
    if (
        drift is None
        and looked.drift
        and looked.drift.log_evidence >= (looked.drift.threshold + WATCH)
    ):
        said += [words.change(one) for one in looked.drift.signals[:3]]
    said += [each for each in (*sight.dark, *sight.dim, *sight.waiting) if each not in said]
    if not said:
        said.append(
            f"{looked.rows:,} rows, each watched column within its tolerance of the reference or "
            "without evidence that it is not."
        )
    return said


def _advice(
    kind: VerdictKind, cause: Cause, *, drift: Alarm | None, labelled: bool, spec: MonitoringSpec
) -> list[str]:
    if kind == "blind":
        return ["Mend what cannot be seen: until then nobody knows what the model is worth."]
    if cause == "data quality":
        named = _of(drift).removeprefix(": ") or "these columns"
        return [
            f"Look at where {named} comes from, and mend it there. Training on such rows would "
            "teach the model the fault, so it is not suggested."
        ]
    if cause == "operations":
        return ["Look at the server's log; penstock rollback serves the version before."]
    if cause == "performance":
        return ["Train again on rows since the change, once their labels are there: penstock run."]
    if cause == "data drift":
        labels = "" if labelled else " Send labels, to know what it does to predictions."
        again = " If so, train again on rows since: penstock run."
        again = "" if spec.retrain == "never" else again
        return [f"See whether the change is meant to last.{again}{labels}"]
    return []


def _wants(kind: VerdictKind, cause: Cause) -> bool:
    return kind in ("drifted", "degraded") and cause in ("data drift", "performance")


def _suggestion(
    looked: Looked,
    kind: VerdictKind,
    cause: Cause,
    *,
    alarms: tuple[Alarm, ...],
    state: MonitorState,
    spec: MonitoringSpec,
) -> tuple[bool, str]:
    """Return whether this look suggests to train again, and else what bars it, in a sentence.

    It is suggested once for each alarm, and once more where an alarm on the loss follows.
    """
    wanted = kind in ("drifted", "degraded") and cause in ("data drift", "performance")
    if spec.retrain == "never" or not wanted or not alarms:
        return False, ""
    newest = max(one.number for one in alarms)
    if any(one.kind == "suggested" and one.number >= newest for one in state.actions):
        return False, ""
    bar = _bar(looked, state=state, spec=spec)
    return not bar, bar


def _bar(looked: Looked, *, state: MonitorState, spec: MonitoringSpec) -> str:
    """Return why nothing is done now, although an alarm asks for it; empty: nothing bars it."""
    if looked.refused >= REFUSALS:
        return (
            f"The last {looked.refused} runs were refused, so training again is not suggested any "
            "more. Read their decisions: the gate, the data or the features need a person."
        )
    recent = [one for one in state.actions if looked.time - one.time < _MONTH]
    if len(recent) >= spec.actions_per_month:
        return (
            f"Nothing more is suggested: {len(recent)} actions were taken within 30 days, and "
            f"monitoring.actions_per_month allows {spec.actions_per_month}."
        )
    rest = timedelta(hours=spec.cooldown)
    # An action in the future was noted before a clock was set back.
    last = min(max(one.time for one in recent), looked.time) if recent else None
    if last is not None and looked.time - last < rest:
        return (
            f"Nothing more is suggested before {words.moment(last + rest)}: the last action was at "
            f"{words.moment(last)}."
        )
    return ""
