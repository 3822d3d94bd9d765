"""Whether a champion does harm, held against what the one before it showed. Pure.

Errors, slow answers and the loss of labelled requests are three streams for the e-detector of
`penstock.monitoring.signals.detector`. A block is what was counted between two readings, so that
whatever hangs together within one, as the failures of an outage, is one observation. While the
mean of each block, given those before, is within its limit, the evidence exceeds a bound of B days
within T days with a probability of at most T / B: evidence less time is a supermartingale (Shin,
Ramdas and Rinaldo 2023, "E-detectors"). B is a month over `guardian.false_returns`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from penstock.records.base import restored
from penstock.records.guard import Guard, GuardedSignal, GuardLimit, Harm
from penstock.records.rollout import ArmSummary, HistogramBuckets, Rollout, total

if TYPE_CHECKING:
    from penstock.monitoring.settings.monitoring import GuardianSpec
    from penstock.monitoring.signals.definitions import Signals
    from penstock.monitoring.signals.detector import SignalEvidence

BLOCK = 20
"""Requests that a block has at least: readings are put together until it has."""

MONTH = timedelta(days=30)

ENOUGH: Mapping[GuardedSignal, int] = {"errors": 100, "latency": 200, "loss": 100}
"""Requests of the previous champion from which a limit follows."""

_ERRORS = 2.5
"""Standard errors of what the previous champion showed that are allowed."""

_COUNTED = ("epoch", "arm", "bins")
"""What is kept of a reading."""

_QUANTILE = 0.99
_PART = 0.05
"""A signal that has this share of the evidence is named."""


def unguarded(version: int, *, since: datetime, newest: str = "", why: str = "") -> Guard:
    """Return a guard that only counts what a version answers, for the version after it."""
    return Guard(version=version, since=since, newest=newest, open=(why,) if why else ())


def guard_of(
    promotion: Rollout,
    *,
    before: Guard | None,
    edges: Sequence[float],
    spec: GuardianSpec,
    newest: str = "",
    bins: str = "",
) -> Guard:
    """Return how a promoted version is held against the champion before it.

    What that one showed is what was counted of it while it was guarded itself, or during the
    canary: whichever has more requests of users. Latency that was measured elsewhere, or in other
    bins, is not compared.

    Args:
        promotion: The rollout that promoted it, over another version.
        before: The guard of the version before.
        edges: Of the histogram of latency that is counted now, in seconds.
        spec: The section `monitoring.guardian`.
        newest: The service's newest rollout.
        bins: Names the bins of a latency that is measured in the server; empty: at the proxy.
    """
    shown = total(each.stable for each in promotion.intervals)
    same = tuple(edges) == tuple(promotion.grids.latency)
    if bins:
        # A canary measures at the client, but for one on users' requests alone.
        same &= _live(promotion)
    alike = (before.counted or {}).get("bins") == bins if before and bins else same
    seen = before.seen if before is not None and before.version == promotion.stable else None
    if seen is not None and alike and _users(seen) > _users(shown):
        shown, same = seen, True
    limits, missing = [], []
    for found in _limits(shown, edges if same else (), spec):
        if isinstance(found, str):
            missing.append(found)
        else:
            limits.append(found)
    return Guard(
        version=promotion.candidate,
        former=promotion.stable,
        rollout=promotion.identity,
        newest=newest,
        since=promotion.last.time,
        limits=tuple(limits),
        open=tuple(missing),
    )


def _live(promotion: Rollout) -> bool:
    traffic = promotion.plan.get("traffic")
    return isinstance(traffic, dict) and traffic.get("source") == "live"


def _users(arm: ArmSummary) -> int:
    return arm.requests - arm.replayed


def after_reading(
    guard: Guard,
    counted: Mapping[str, Any],
    *,
    now: datetime,
    spec: GuardianSpec,
    canary: ArmSummary | None = None,
    drifted: bool | None = False,
) -> Guard:
    """Return the guard after a reading of the counters; it has `harm` where that is shown.

    Args:
        guard: As the reading before left it.
        counted: `epoch`, `arm`: what the version has answered, ever growing.
        now: The time of the reading.
        spec: The section `monitoring.guardian`.
        canary: What the version had answered before it was promoted; of the first reading.
        drifted: Whether an alarm on the data stands; None: that is not known. A loss that rises
            then is no reason to go back by itself: the version before would meet the same data.
    """
    fresh = _since(counted, guard.counted, canary)
    guard = guard.model_copy(
        update={
            "counted": {name: counted[name] for name in _COUNTED if name in counted},
            "seen": guard.seen.plus(fresh),
        }
    )
    if not guard.limits or guard.harm is not None:
        return guard
    return _weighed(guard, fresh, now=now, spec=spec, drifted=drifted)


def _weighed(
    guard: Guard, fresh: ArmSummary, *, now: datetime, spec: GuardianSpec, drifted: bool | None
) -> Guard:
    import numpy as np

    from penstock.monitoring.signals import detector
    from penstock.monitoring.signals.window import Blocks, Carry

    signals = _signals(guard.limits)
    state = _memory(guard, signals)
    given = []
    for limit in guard.limits:
        rows, amount = counts_of(limit, fresh)
        carry = state.carry(limit.signal)
        rows, amount = rows + carry.rows, amount + sum(filter(None, carry.sums))
        full = rows >= BLOCK
        means = np.array([[amount / rows]]) if full else np.empty((0, 1))
        begins = np.array([now.timestamp()] * full)
        rest = Carry() if full else Carry(rows=rows, sums=(amount,))
        given.append(Blocks(limit.signal, begins=begins, means=means, carry=rest))
    found = detector.follow(
        state,
        given,
        signals=signals,
        bound=MONTH / spec.false_returns,
        # Harm that goes on for minutes would be learned as dependence.
        dependent=False,
    )
    harm = None
    if found.alarm:
        harm = _harm(guard, found.signals, now=now, drifted=drifted)
    return guard.model_copy(
        update={
            "detector": found.state.model_dump(mode="json"),
            "log_evidence": found.log_evidence,
            "threshold": found.threshold,
            "harm": harm,
        }
    )


def _memory(guard: Guard, signals: Signals) -> Any:
    from penstock.monitoring.signals.detector import State, start

    if guard.detector is not None:
        return restored(State, guard.detector, where="state.json: guard.detector")
    begin = {"last": guard.since.timestamp()}
    streams = {
        name: stream.model_copy(update=begin) for name, stream in start(signals).streams.items()
    }
    return State(signals=signals.digest, streams=streams)


def _signals(limits: Sequence[GuardLimit]) -> Signals:
    from penstock.monitoring.signals.definitions import Signal, Signals

    return Signals(
        tuple(
            Signal(
                name=limit.signal,
                kind=limit.signal,
                column="",
                expected=limit.expected,
                # Only more than the limit is harm.
                low=0.0,
                high=limit.greatest,
                tolerance=limit.tolerance,
                reference_rows=limit.reference,
                weight=1 / len(limits),
                stream=limit.signal,
            )
            for limit in limits
        ),
        columns=(),
        block_rows=BLOCK,
    )


def _since(
    counted: Mapping[str, Any], before: Mapping[str, Any] | None, canary: ArmSummary | None
) -> ArmSummary:
    """Return what was answered since the reading before; a new epoch counts from nothing."""
    arm = restored(ArmSummary, counted["arm"], where="state.json: guard.counted")
    if before is not None:
        if before.get("epoch") != counted["epoch"]:
            return arm
        return arm.minus(restored(ArmSummary, before["arm"], where="state.json: guard.counted"))
    if canary is None or arm.requests < canary.requests:
        return arm
    return _not_negative(arm.minus(canary))


def _not_negative(arm: ArmSummary) -> ArmSummary:
    counts = ("requests", "replayed", "client_errors", "server_errors", "unreachable")
    return arm.model_copy(
        update={
            **{name: max(0, getattr(arm, name)) for name in counts},
            "latency": {place: count for place, count in arm.latency.items() if count > 0},
            "scores": {},
            "labels": {},
        }
    )


def counts_of(limit: GuardLimit, arm: ArmSummary) -> tuple[int, float]:
    """Return how many requests there were of a kind, and how much harm among them."""
    if limit.signal == "errors":
        return arm.requests, min(arm.server_errors, arm.requests)
    if limit.signal == "latency":
        slow = sum(count for place, count in arm.latency.items() if place >= limit.place)
        return sum(arm.latency.values()), slow
    rows = max(0, arm.labelled.requests)
    return rows, min(max(0.0, arm.labelled.loss), float(rows))


def _limits(
    shown: ArmSummary, edges: Sequence[float], spec: GuardianSpec
) -> Iterator[GuardLimit | str]:
    if shown.requests >= ENOUGH["errors"]:
        yield _share("errors", shown.server_errors, shown.requests, tolerance=spec.errors)
    else:
        yield _too_few("Errors are", shown.requests, "requests")
    yield _latency(shown, edges, spec)
    labelled = shown.labelled
    if labelled.requests < ENOUGH["loss"]:
        yield _too_few("The loss is", labelled.requests, "labelled requests")
        return
    mean = labelled.loss / labelled.requests
    variance = max(0.0, labelled.squared / labelled.requests - mean**2)
    # At least that of one observation more, which may have been any.
    error = math.sqrt((variance + 1 / labelled.requests) / labelled.requests)
    yield _limit("loss", mean, labelled.requests, spec.loss, mean + _ERRORS * error)


def _latency(shown: ArmSummary, edges: Sequence[float], spec: GuardianSpec) -> GuardLimit | str:
    answers = sum(shown.latency.values())
    if answers < ENOUGH["latency"]:
        return _too_few("Latency is", answers, "answers")
    if not edges:
        return "Latency is not guarded: it was measured elsewhere, or in other bins, before."
    line = spec.latency_ratio * _upper_quantile(shown, edges, _QUANTILE)
    place = min(bisect_left(edges, line), len(edges) - 1) + 1
    slow = sum(count for bin_, count in shown.latency.items() if bin_ >= place)
    limit = _share("latency", slow, answers, tolerance=spec.slow)
    return limit.model_copy(update={"place": place, "line": edges[place - 1]})


def _upper_quantile(arm: ArmSummary, edges: Sequence[float], share: float) -> float:
    """Return the upper edge of the bin in which a quantile lies."""
    left = share * sum(arm.latency.values())
    for place in sorted(arm.latency):
        left -= arm.latency[place]
        if left <= 0:
            return edges[min(place, len(edges) - 1)]
    return edges[-1]


def _share(signal: GuardedSignal, count: int, of: int, *, tolerance: float) -> GuardLimit:
    """Return the limit of a share; its upper end is Wilson's (1927)."""
    share, z = count / of, _ERRORS**2
    centre = (share + z / (2 * of)) / (1 + z / of)
    half = _ERRORS / (1 + z / of) * math.sqrt(share * (1 - share) / of + z / (4 * of**2))
    return _limit(signal, share, of, tolerance, centre + half)


def _limit(
    signal: GuardedSignal, expected: float, of: int, tolerance: float, upper: float
) -> GuardLimit:
    return GuardLimit(
        signal=signal,
        expected=expected,
        reference=of,
        tolerance=tolerance,
        greatest=min(1.0, upper + tolerance),
    )


def _too_few(what: str, count: int, of: str) -> str:
    return f"{what} not guarded: {count} {of} of the previous champion are too few to compare with."


def _harm(
    guard: Guard, found: Sequence[SignalEvidence], *, now: datetime, drifted: bool | None
) -> Harm:
    limits = {limit.signal: limit for limit in guard.limits}
    whole = math.log(sum(math.exp(one.log_evidence) for one in found))
    guilty = [one for one in found if one.log_evidence >= whole + math.log(_PART)]
    names = tuple(name for one in guilty for name in limits if name == one.signal.name)
    reasons = [_sentence(limits[name], guard, one) for name, one in zip(names, guilty, strict=True)]
    returns = drifted is False or names != ("loss",)
    if not returns:
        data = "The data changed too" if drifted else "It is not known whether the data changed"
        reasons.append(f"{data}, so version {guard.former} may do no better: a person decides.")
    return Harm(time=now, signals=names, reason=" ".join(reasons), returns=returns)


def _sentence(limit: GuardLimit, guard: Guard, one: SignalEvidence) -> str:
    expected, greatest = f"{limit.expected:.2%}", f"{limit.greatest:.2%}"
    now = one.mean if one.mean is not None else one.signal.high
    if limit.signal == "errors":
        what, value = "the share of requests that its server fails is", f"{now:.2%}"
    elif limit.signal == "latency":
        what = f"the share of answers that take {limit.line:.3g} s or more is"
        value = f"{now:.2%}"
    else:
        what, value = "its mean loss on labelled requests is", f"{now:.4f}"
        expected, greatest = f"{limit.expected:.4f}", f"{limit.greatest:.4f}"
    return (
        f"Version {guard.version} does harm: {what} {value} now; version {guard.former} had "
        f"{expected}, and up to {greatest} is no harm."
    )


def edges_of(counted: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the edges of the histogram of latency in a reading."""
    return tuple(HistogramBuckets.model_validate(counted["grids"]).latency)
