"""When a signal has left its range: a Shiryaev-Roberts e-detector with a bound on false alarms.

For each signal, direction and size of bet `f` the detector holds M = e (M + w), block by block. The
bet e = 1 + f (y / m - 1), y being the block's mean and m the greatest mean that is no drift, is at
most 1 on average for any y from 0 to 1 whose mean is at most m, whatever the rows of a block have
to do with each other (Waudby-Smith and Ramdas 2024). w is the time from the first row of the block
before to that of this one. So M less the time that has passed is a supermartingale while nothing
has drifted, and so is any average of such M: when the average reaches the bound, as much time has
passed, on average (Shin, Ramdas and Rinaldo 2023, "E-detectors", whose w is 1). How signals depend
on each other does not matter; how blocks do, `penstock.monitoring.signals.dependence` learns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from penstock.data.profile.counting import moment
from penstock.errors import InputError
from penstock.monitoring.signals.definitions import Signal, Signals
from penstock.monitoring.signals.dependence import Dependence, LevelState, fresh
from penstock.monitoring.signals.window import Blocks, Carry, Window
from penstock.records.base import Value

Floats = npt.NDArray[np.float64]

BOUND = timedelta(days=365)
"""The mean time between false alarms of a service is at least this."""

BETS = (0.05, 0.2, 0.5, 0.95)
"""Sizes of bets, of which each has the same weight; less than 1, or one block could lose all."""

_PAGE = 2
"""The bet by which the beginning of a change is estimated."""

_LONGEST = 50
"""A block waits at most this part of the bound: a clock that jumps, or a service that slept, is no
evidence. A wait that is cut only makes false alarms rarer."""

_PART = 512
"""Blocks that are prepared at once."""

_ENOUGH = 5
"""Blocks from which the spread of their means is known."""

_TOP = 100.0
"""Evidence is kept up to this multiple of the threshold, so that a return is seen soon."""


class StreamState(Value):
    """What is kept of a stream's past: a fixed number of figures a signal."""

    carry: Carry = Carry()
    blocks: int = 0
    last: float | None = Field(default=None, description="When the last block began, in seconds")
    evidence: tuple[tuple[float, ...], ...] = Field(
        description="In days, its weight included, by direction (up, down) and bet, then by signal"
    )
    page: tuple[tuple[float, ...], ...] = Field(description="Page's sums by direction, then signal")
    since: tuple[tuple[float, ...], ...] = Field(
        description="When each of these sums began, in seconds"
    )
    dependence: tuple[LevelState, ...] = Field(description="How much blocks depend on each other")


class State(Value):
    """The detector's memory. It does not grow; `signals` are those that it belongs to."""

    signals: str = Field(description="Digest of the signals")
    streams: dict[str, StreamState]

    def carry(self, stream: str) -> Carry:
        """Return the rows that have not filled a block yet."""
        return self.streams[stream].carry if stream in self.streams else Carry()


@dataclass(frozen=True)
class SignalEvidence:
    """What one signal shows.

    Attributes:
        signal: Which.
        mean: Over this window's blocks; None where there is none.
        interval: Of the mean in this window alone, at 95 %, from how its blocks differ.
        direction: Whether it is above or below its range, if it is anywhere.
        log_evidence: Logarithm of its own part of the evidence, weight included, in days.
        since: When it began to move that way, as Page's sum (1954) has it; None: not at all.
    """

    signal: Signal
    mean: float | None
    interval: tuple[float, float]
    direction: Literal["above", "below"]
    log_evidence: float
    since: datetime | None


@dataclass(frozen=True)
class Update:
    """What is known after a window.

    Attributes:
        state: To keep for the next look.
        log_evidence: Logarithm of the greatest evidence at any block of this window, or of what
            stands where it has none, in days.
        threshold: Logarithm of the bound in days: at or above it is an alarm.
        signals: The most telling first.
        columns: Columns by their evidence, the most telling first. No bound holds for their order.
        since: When what is most telling began to move; None: nothing moves.
        at: Time of the first block at which the threshold was reached; None: it was not.
    """

    state: State
    log_evidence: float
    threshold: float
    signals: tuple[SignalEvidence, ...]
    columns: tuple[tuple[str, float], ...]
    since: datetime | None
    at: datetime | None

    @property
    def alarm(self) -> bool:
        """Whether the evidence has reached the threshold."""
        return self.log_evidence >= self.threshold


def start(signals: Signals) -> State:
    """Return the memory of a detector that has seen nothing."""
    streams = {}
    for stream in signals.streams:
        width = len(signals.of(stream))
        rows = ((0.0,) * width,)
        streams[stream] = StreamState(
            evidence=rows * (2 * len(BETS)), page=rows * 2, since=rows * 2, dependence=fresh(width)
        )
    return State(signals=signals.digest, streams=streams)


def rearm(state: State, signals: Signals) -> State:
    """Return the state without its evidence: after a verdict of "healthy again"."""
    fresh = start(signals)
    return State(
        signals=state.signals,
        streams={
            name: fresh.streams[name].model_copy(
                update={
                    "carry": old.carry,
                    "blocks": old.blocks,
                    "last": old.last,
                    "dependence": old.dependence,
                }
            )
            for name, old in state.streams.items()
        },
    )


def update(
    state: State,
    window: Window,
    *,
    signals: Signals,
    more: Sequence[Blocks] = (),
    bound: timedelta = BOUND,
) -> Update:
    """Take a window into account.

    Args:
        state: What was known before.
        window: What this look saw.
        signals: What is watched.
        more: Blocks of other streams: losses, gaps, KPI.
        bound: The mean time between false alarms is at least this, while rows come.

    Raises:
        InputError: If the state belongs to other signals, or blocks to a stream without signals.
    """
    return follow(state, (window.blocks, *more), signals=signals, bound=bound)


def follow(
    state: State,
    given: Sequence[Blocks],
    *,
    signals: Signals,
    bound: timedelta = BOUND,
    dependent: bool = True,
) -> Update:
    """Take blocks into account, of each stream at most once; see `update`.

    Args:
        state: What was known before.
        given: The blocks.
        signals: What is watched.
        bound: See `update`.
        dependent: Whether it is learned how blocks depend on each other, and allowed for.
    """
    if state.signals != signals.digest:
        raise InputError(
            "the detector's state belongs to other signals",
            where="the state of the monitor",
            remedy="Start the detector again, as after every new version.",
        )
    unknown = [blocks.stream for blocks in given if blocks.stream not in state.streams]
    if unknown:
        raise InputError(f"no signal is of the stream {unknown[0]!r}", where="the monitor")
    runs = {
        name: _Run(signals.of(name), state.streams[name], bound, dependent=dependent)
        for name in state.streams
    }
    best, at = _total(runs), None
    seen = [blocks for blocks in given if len(blocks.means)]
    if seen:
        best = 0.0
    days = bound.total_seconds() / 86400
    for blocks in seen:
        rest = sum(run.total() for name, run in runs.items() if name != blocks.stream)
        for begin, own in runs[blocks.stream].follow(blocks):
            best = max(best, rest + own)
            if at is None and rest + own >= days:
                at = begin
    for blocks in given:
        runs[blocks.stream].carry = blocks.carry
    return _said(runs, signals=signals, best=best, at=at, days=days)


class _Run:
    """The figures of one stream while blocks are followed.

    They are not in logarithms, which would cost ten times as much: the cap keeps them from
    overflowing, and what underflows to 0 is 0.
    """

    def __init__(
        self,
        signals: tuple[Signal, ...],
        state: StreamState,
        bound: timedelta,
        *,
        dependent: bool,
    ) -> None:
        days = bound.total_seconds() / 86400
        self.dependent = dependent
        self.signals, self.carry = signals, state.carry
        self.blocks, self.last = state.blocks, state.last
        self.evidence = np.array(state.evidence).reshape(2, len(BETS), len(signals))
        self.expected = np.array([one.expected for one in signals])
        self.dependence = Dependence(
            state.dependence,
            np.array([one.weight * one.expected * (1 - one.expected) for one in signals]),
        )
        self.page, self.since = np.array(state.page), np.array(state.since)
        low = np.array([one.low for one in signals])
        high = np.array([one.high for one in signals])
        self.low, self.high = low, high
        self.longest = days / _LONGEST
        # A direction in which nothing can be shown leaves its weight to the other one.
        able = np.array([high < 1, low > 0]) + 0.0
        weight = np.array([one.weight for one in signals]) * able / able.sum(axis=0)
        self.weight = weight[:, None, :] / len(BETS) * np.ones((1, len(BETS), 1))
        self.top = _TOP * days
        self.seen, self.sum, self.squares = np.zeros((3, len(signals)))

    def total(self) -> float:
        """Return the evidence of all signals, in days."""
        return float(self.evidence.sum())

    def follow(self, blocks: Blocks) -> Iterator[tuple[float, float]]:
        """Take blocks into account; yield when each begins, and the evidence after it."""
        bets = np.array(BETS)[None, :, None]
        for at in range(0, len(blocks.means), _PART):
            means = blocks.means[at : at + _PART]
            there = np.isfinite(means)
            self.sum += np.nansum(means, axis=0)
            self.squares += np.nansum(means**2, axis=0)
            self.seen += there.sum(axis=0)
            gains = np.where(there[:, None, :], self._gains(means), 0.0)
            pages = np.log1p(BETS[_PAGE] * gains)
            filled = np.where(there, means, self.expected)
            whole = np.all(there, axis=1)
            for k, begin in enumerate(blocks.begins[at : at + _PART].tolist()):
                waited = self._waited(begin) * self.weight
                self.evidence += waited if whole[k] else waited * there[k]
                factor = 1 + bets * gains[k][:, None, :]
                if self.dependent and self.dependence.factor is not None:
                    factor **= 1 / self.dependence.factor
                self.evidence *= factor
                np.minimum(self.evidence, self.top, out=self.evidence)
                self._trace(pages[k], begin)
                self.dependence.add(filled[k])
                self.blocks += 1
                yield begin, self.total()

    def _gains(self, means: Floats) -> Floats:
        """Return y / m - 1 by block, direction and signal; -0.0 where there can be no gain."""
        with np.errstate(divide="ignore", invalid="ignore"):
            above = means / self.high - 1
            below = (1 - means) / (1 - self.low) - 1
        return np.stack([above, below], axis=1)

    def _waited(self, begin: float) -> float:
        """Return the days since the block before, which are known before the block is seen."""
        last, self.last = self.last, begin
        return 0.0 if last is None else min(max(0.0, (begin - last) / 86400), self.longest)

    def _trace(self, gain: Floats, begin: float) -> None:
        """Move Page's sums, and note when each one began."""
        fresh = self.page <= 0
        self.since[fresh] = begin
        np.maximum(self.page + gain, 0, out=self.page)

    def kept(self) -> StreamState:
        """Return what the next look needs."""
        flat = self.evidence.reshape(2 * len(BETS), len(self.signals))
        return StreamState(
            carry=self.carry,
            blocks=self.blocks,
            last=self.last,
            evidence=_rows(flat),
            page=_rows(self.page),
            since=_rows(self.since),
            dependence=self.dependence.kept(),
        )

    def said(self) -> Iterator[SignalEvidence]:
        """Return what each signal shows."""
        parts = self.evidence.sum(axis=1)
        for k, signal in enumerate(self.signals):
            way = int(parts[1, k] > parts[0, k])
            moving = self.page[way, k] > 0
            mean, interval = self._mean(k)
            yield SignalEvidence(
                signal=signal,
                mean=mean,
                interval=interval,
                direction="below" if way else "above",
                log_evidence=_log(float(parts[:, k].sum())),
                since=moment(self.since[way, k] * 1e6) if moving else None,
            )

    def _mean(self, k: int) -> tuple[float | None, tuple[float, float]]:
        blocks = self.seen[k]
        if not blocks:
            return None, (0.0, 1.0)
        mean = float(self.sum[k] / blocks)
        if blocks < _ENOUGH:
            return mean, (0.0, 1.0)
        variance = max(0.0, float(self.squares[k] / blocks) - mean**2) / (blocks - 1)
        half = 1.96 * math.sqrt(variance)
        return mean, (max(0.0, mean - half), min(1.0, mean + half))


def _total(runs: dict[str, _Run]) -> float:
    return sum(run.total() for run in runs.values())


def _said(
    runs: dict[str, _Run], *, signals: Signals, best: float, at: float | None, days: float
) -> Update:
    said = [one for run in runs.values() for one in run.said()]
    said.sort(key=lambda one: -one.log_evidence)
    columns: dict[str, float] = {}
    for one in said:
        if name := one.signal.column:
            columns[name] = columns.get(name, 0.0) + math.exp(one.log_evidence)
    ranked = sorted(columns.items(), key=lambda pair: -pair[1])
    return Update(
        state=State(
            signals=signals.digest, streams={name: run.kept() for name, run in runs.items()}
        ),
        log_evidence=_log(best),
        threshold=math.log(days),
        signals=tuple(said),
        columns=tuple((name, _log(evidence)) for name, evidence in ranked),
        since=said[0].since if said else None,
        at=None if at is None else moment(at * 1e6),
    )


def _rows(array: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in array.tolist())


def _log(value: float) -> float:
    """Return the logarithm; of nothing at all a number that JSON has a word for."""
    return math.log(value) if value > 0 else -1000.0
