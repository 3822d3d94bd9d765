"""Intervals as arrays: what the tests read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING, Literal

import numpy as np

from penstock.records.rollout import ArmSummary, Interval
from penstock.rollout.analysis._rates import Tables
from penstock.rollout.analysis.strata import strata_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """Both arms, interval by interval.

    Attributes:
        stable: The stable version's summaries.
        candidate: The candidate's, of the same intervals.
        blocks: Index of the first interval of each stratum. Strata are fixed by position alone,
            whatever is in them, and one that is not full yet is left out: the tests stay valid.
        used: Intervals that lie in a stratum.
        stages: Index of the stage (shadow, step 0, step 1 ...) of each stratum.
        starts: Log-weight of "something goes wrong from this stratum on"; half of what is left
            for each stage, and within a stage 1 / (i (i + 1)) for its i-th stratum.
    """

    stable: Sequence[ArmSummary]
    candidate: Sequence[ArmSummary]
    blocks: NDArray[np.int64]
    used: NDArray[np.bool_]
    stages: NDArray[np.int64]
    starts: Floats

    def tables(self, events: Callable[[ArmSummary], int]) -> Tables:
        """Return events among all requests."""
        return Tables(
            n_s=self._strata(self._counts(self.stable, lambda arm: arm.requests)),
            x_s=self._strata(self._counts(self.stable, events)),
            n_c=self._strata(self._counts(self.candidate, lambda arm: arm.requests)),
            x_c=self._strata(self._counts(self.candidate, events)),
            starts=self.starts,
        )

    def moments(self) -> tuple[Floats, Floats]:
        """Return requests, loss and squared loss of stable version and candidate, (strata, 3)."""
        sides = (
            [(arm.labelled.requests, arm.labelled.loss, arm.labelled.squared) for arm in arms]
            for arms in (self.stable, self.candidate)
        )
        stable, candidate = (self._strata(np.array(side, dtype=float)) for side in sides)
        return stable, candidate

    def histograms(
        self, counts: Callable[[ArmSummary], Mapping[int, int]]
    ) -> tuple[int, Floats, Floats]:
        """Return the first bin that is kept, and the counts of both arms, (strata, bins)."""
        sparse = [[counts(arm) for arm in arms] for arms in (self.stable, self.candidate)]
        occupied = set(chain.from_iterable(chain.from_iterable(sparse)))
        if not occupied:
            empty = np.zeros((len(self.blocks), 1))
            return 0, empty, empty
        first = min(occupied)
        width = max(occupied) - first + 1
        stable, candidate = (self._strata(_dense(side, first, width)) for side in sparse)
        return first, stable, candidate

    def _counts(self, arms: Sequence[ArmSummary], count: Callable[[ArmSummary], int]) -> Floats:
        return np.fromiter(map(count, arms), dtype=float, count=len(arms))

    def _strata(self, values: Floats) -> Floats:
        kept = np.where(self.used.reshape(-1, *(1,) * (values.ndim - 1)), values, 0.0)
        return np.asarray(np.add.reduceat(kept, self.blocks, axis=0))


def evidence_of(
    intervals: Sequence[Interval], *, phases: Sequence[Literal["shadow", "step"]]
) -> Evidence | None:
    """Return the evidence of some phases, in their order, or None if there is none yet."""
    chosen = [interval for interval in intervals if interval.phase in phases]
    if not chosen:
        return None
    blocks, stages, starts = [], [], []
    used = np.zeros(len(chosen), dtype=bool)
    begin = 0
    for stage, (_, group) in enumerate(groupby(chosen, key=lambda one: (one.phase, one.step))):
        places = np.cumsum([0, *(one.looks for one in group)])
        firsts, kept = strata_of(int(places[-1]))
        length = len(places) - 1
        used[begin : begin + length] = places[1:] <= kept
        # Merged intervals lie in one stratum, so each stratum begins with one of them.
        blocks_here = np.searchsorted(places, firsts)
        place = np.arange(1.0, len(firsts) + 1)
        blocks.append(begin + blocks_here)
        stages.append(np.full(len(firsts), stage))
        starts.append(-np.log(2.0) * (stage + 1) - np.log(place * (place + 1)))
        begin += length
    return Evidence(
        stable=[one.pairs.stable if one.phase == "shadow" else one.stable for one in chosen],
        candidate=[
            one.pairs.candidate if one.phase == "shadow" else one.candidate for one in chosen
        ],
        blocks=np.concatenate(blocks),
        used=used,
        stages=np.concatenate(stages),
        starts=np.concatenate(starts),
    )


def standardised(counts: Floats, by: Floats, stages: NDArray[np.int64]) -> Floats:
    """Return the stable version's histogram as it would be with the candidate's share of stages.

    While the weight rises, the candidate meets more of the later hours than the stable version
    does; unweighted sums would blame it for what those hours brought.

    Args:
        counts: Of the stable version, (strata, bins).
        by: Of the candidate, likewise.
        stages: Stage of each stratum.
    """
    result = np.zeros(counts.shape[1])
    for stage in np.unique(stages):
        mine, theirs = counts[stages == stage], by[stages == stage]
        if mine.sum():
            result += mine.sum(axis=0) * (theirs.sum() / mine.sum())
    return result


def _dense(side: Sequence[Mapping[int, int]], first: int, width: int) -> Floats:
    sizes = np.fromiter(map(len, side), dtype=np.int64, count=len(side))
    rows = np.repeat(np.arange(len(side)), sizes)
    total = int(sizes.sum())
    columns = np.fromiter(chain.from_iterable(side), dtype=np.int64, count=total)
    values = np.fromiter(
        chain.from_iterable(counts.values() for counts in side), dtype=float, count=total
    )
    dense = np.zeros((len(side), width))
    dense[rows, columns - first] = values
    return dense
