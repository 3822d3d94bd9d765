"""The intervals of a rollout as the report draws them: few enough, and what is compared in each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from penstock.records.replicas import Replicas, as_one
from penstock.records.rollout import (
    ArmSummary,
    Counts,
    Interval,
    Labelled,
    Pairs,
    Rollout,
    total,
    total_pairs,
)

MOST_POINTS = 200
_FEWEST_POINTS = 12
_SAMPLES = 50
"""Requests of the candidate in a point, on average, below which shares and quantiles are noise."""


Line = tuple[list[float], list[float]]
"""Where a line's points are, in seconds since the rollout's start, and how high."""


@dataclass(frozen=True)
class Point:
    """Neighbouring intervals of one phase taken together.

    Attributes:
        start: Seconds since the rollout's start.
        end: The same.
        phase: `shadow` or `step`.
        step: Index of the step.
        weight: The candidate's share of new requests, in percent.
        stable: The stable version's summary: of the mirrored requests in the shadow phase, else of
            its own.
        candidate: The candidate's summary, likewise.
        pairs: The mirrored requests.
        parted: Whether nothing was measured right before it, or something else.
        replicas: Servers of `stable` and `candidate`; empty: load does not scale them.
    """

    start: float
    end: float
    phase: str
    step: int
    weight: int
    stable: ArmSummary
    candidate: ArmSummary
    pairs: Pairs
    parted: bool
    replicas: Mapping[str, Replicas]

    @property
    def middle(self) -> float:
        """Seconds since the rollout's start."""
        return (self.start + self.end) / 2


def points_of(record: Rollout, *, pause: float) -> list[Point]:
    """Return the rollout's intervals, merged within phases into about `MOST_POINTS` at most.

    Args:
        record: The rollout.
        pause: Seconds without measurement from which on a line is broken.
    """
    requests = sum(_sides(interval)[1].requests for interval in record.intervals)
    target = min(max(requests // _SAMPLES, _FEWEST_POINTS), MOST_POINTS)
    size = math.ceil(len(record.intervals) / target)
    return [
        _point(record, chunk, parted=first)
        for group in _stretches(record.intervals, pause=pause)
        for chunk, first in _chunks(group, size)
    ]


def phases_of(points: Sequence[Point]) -> list[Point]:
    """Return one point for each phase and step, in order."""
    return [_merged(list(group)) for _, group in groupby(points, key=lambda p: (p.phase, p.step))]


def paused(points: Sequence[Point]) -> float:
    """Return the seconds within phases in which nothing was measured."""
    return sum(
        after.start - before.end
        for before, after in pairwise(points)
        if after.parted and (before.phase, before.step) == (after.phase, after.step)
    )


def quantile(counts: Counts, edges: Sequence[float], share: float) -> float | None:
    """Return the value below which `share` of a histogram lies, or None for an empty one.

    Linear within a bin. The first bin begins at 0; of the last, only its lower edge is known.
    """
    target = share * sum(counts.values())
    seen = 0
    for place in sorted(counts):
        if seen + counts[place] >= target and counts[place]:
            low = edges[place - 1] if place else 0.0
            high = edges[min(place, len(edges) - 1)]
            return low + (high - low) * max(0.0, target - seen) / counts[place]
        seen += counts[place]
    return None


def bins_of(edges: Sequence[float]) -> list[float]:
    """Return the bounds of all bins: the outer ones, open in truth, as wide as their neighbours."""
    widths = [high - low for low, high in pairwise(edges)] or [1.0]
    first, last = edges[0] - widths[0], edges[-1] + widths[-1]
    # An edge of 0 that floating point missed would be drawn as a tick of its own.
    return [first if abs(first) > 1e-9 else 0.0, *edges, last]


def densities(counts: Counts, bounds: Sequence[float], *, even: bool) -> list[float]:
    """Return what share of a histogram is in each bin, in percent.

    Args:
        counts: The histogram.
        bounds: Of its bins.
        even: Whether the bins are equally wide; if not, the shares are by unit of the score.
    """
    everything = max(sum(counts.values()), 1)
    shares = [100 * counts.get(place, 0) / everything for place in range(len(bounds) - 1)]
    if even:
        return shares
    widths = [high - low for low, high in pairwise(bounds)]
    return [share / width for share, width in zip(shares, widths, strict=True)]


def line_of(points: Sequence[Point], values: Sequence[float | None]) -> Line:
    """Return a line; NaN, which leaves a gap, where there is no value or nothing was measured."""
    x: list[float] = []
    y: list[float] = []
    for point, value in zip(points, values, strict=True):
        if point.parted and x:
            x.append(point.start)
            y.append(math.nan)
        x.append(point.middle)
        y.append(math.nan if value is None else value)
    return x, y


def mean_losses(
    points: Sequence[Point], arm_of: Callable[[Point], ArmSummary]
) -> list[float | None]:
    """Return the mean loss of labelled requests so far, phase by phase; None before the first."""
    sums: dict[str, Labelled] = {}
    means: list[float | None] = []
    for point in points:
        so_far = sums.get(point.phase, Labelled()).plus(arm_of(point).labelled)
        sums[point.phase] = so_far
        means.append(so_far.loss / so_far.requests if so_far.requests else None)
    return means


def share_of(count: int, arm: ArmSummary) -> float | None:
    """Return a count as percent of an arm's requests; None where there were none."""
    return 100 * count / arm.requests if arm.requests else None


def _sides(interval: Interval) -> tuple[ArmSummary, ArmSummary]:
    """Return what can be compared: in the shadow phase, the requests that both were requests."""
    if interval.phase == "shadow":
        return interval.pairs.stable, interval.pairs.candidate
    return interval.stable, interval.candidate


def _stretches(intervals: Sequence[Interval], *, pause: float) -> Iterator[list[Interval]]:
    """Yield intervals of one phase and step that follow one another without a pause."""
    group: list[Interval] = []
    for interval in intervals:
        if group and not _follows(group[-1], interval, pause=pause):
            yield group
            group = []
        group.append(interval)
    if group:
        yield group


def _follows(before: Interval, interval: Interval, *, pause: float) -> bool:
    away = (interval.started - before.started).total_seconds() - before.seconds
    same = (before.phase, before.step) == (interval.phase, interval.step)
    return same and away <= pause


def _chunks(group: list[Interval], size: int) -> Iterator[tuple[list[Interval], bool]]:
    for start in range(0, len(group), size):
        yield group[start : start + size], start == 0


def _point(record: Rollout, chunk: Sequence[Interval], *, parted: bool) -> Point:
    sides = [_sides(interval) for interval in chunk]
    final = chunk[-1]
    return Point(
        start=(chunk[0].started - record.started).total_seconds(),
        end=(final.started - record.started).total_seconds() + final.seconds,
        phase=final.phase,
        step=final.step,
        weight=final.weight,
        stable=total(stable for stable, _ in sides),
        candidate=total(candidate for _, candidate in sides),
        pairs=total_pairs(interval.pairs for interval in chunk),
        parted=parted,
        replicas=as_one(interval.replicas for interval in chunk),
    )


def _merged(points: Sequence[Point]) -> Point:
    return Point(
        start=points[0].start,
        end=points[-1].end,
        phase=points[0].phase,
        step=points[0].step,
        weight=points[-1].weight,
        stable=total(point.stable for point in points),
        candidate=total(point.candidate for point in points),
        pairs=total_pairs(point.pairs for point in points),
        parted=True,
        replicas=as_one(point.replicas for point in points),
    )
