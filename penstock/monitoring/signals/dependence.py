"""How much blocks of rows depend on each other, learned from those that have been seen.

Means of batches of independent blocks vary the less, the larger the batch. Where one user's rows
lie in many blocks they vary more; how much more is learned here, at three sizes of batches, for
each signal and for all together. Where a bet is at most 1 on average, so is its power of 1/d, d
being that factor (Jensen); and so is, at any one time, the product of such powers where up to d
blocks in a row depend on each other in whatever way (Hölder). So evidence is divided by d.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from penstock.records.base import Value

Floats = npt.NDArray[np.float64]

SIZES = (32, 8, 8)
"""How many means make a batch: blocks first, then batches of the level below."""

BATCHES = 8
"""Batches after which a level is learned from."""

FIRST = 2.0
"""Blocks that are taken to depend on each other while nothing has been learned."""

MOST = 20.0
"""The factor is not more than this: beyond it nothing would ever be found."""

_MEMORY = 16
"""Rounds of batches that are averaged; older ones fade."""

_JUMP = 2.0
"""A round counts at most for so much more than those before: a change of the mean is no
dependence."""

_SLACK = 0.1
"""What is learned of independent rows lies this near to 1."""


class LevelState(Value):
    """What a level remembers, by signal."""

    seen: int = Field(default=0, description="Means in the batch that is being filled")
    batches: int = Field(default=0, description="Batches in the round that is being filled")
    rounds: int = 0
    sums: tuple[tuple[float, ...], ...] = Field(
        description="Sum of the batch, sums and squares of the round's means and batches, the "
        "ratio that was learned"
    )


def fresh(width: int) -> tuple[LevelState, ...]:
    """Return what is remembered of nothing."""
    rows = ((0.0,) * width,) * 5 + ((1.0,) * width,)
    return tuple(LevelState(sums=rows) for _ in SIZES)


class Dependence:
    """Learns while blocks are followed.

    Attributes:
        factor: By how much evidence is divided, by signal; None where that is 1 for all.
    """

    def __init__(self, states: tuple[LevelState, ...], weights: Floats) -> None:
        self.levels = [_Level(state, size) for state, size in zip(states, SIZES, strict=True)]
        self.weights = weights
        self.factor = self._factor()

    def add(self, means: Floats) -> None:
        """Take the means of a block into account; afterwards `factor` may have changed."""
        changed = False
        batch: Floats | None = means
        for level in self.levels:
            if batch is None:
                break
            rounds = level.rounds
            batch = level.add(batch)
            changed = changed or level.rounds != rounds
        if changed:
            self.factor = self._factor()

    def kept(self) -> tuple[LevelState, ...]:
        """Return what is to be remembered."""
        return tuple(level.kept() for level in self.levels)

    def _factor(self) -> Floats | None:
        """Return the factor by signal; None where it is 1 for all.

        What all signals say together varies little; what one says alone counts where it is beyond
        chance.
        """
        width = len(self.weights)
        if not self.levels[0].rounds:
            return np.full(width, FIRST)
        found, ratio = np.ones(width), np.ones(width)
        for level in self.levels:
            if not level.rounds:
                break
            ratio = ratio * level.ratio
            together = _mean(ratio, self.weights)
            free = (BATCHES - 1) * min(level.rounds, _MEMORY)
            alone = ratio * max(0.0, 1 - 2 * np.sqrt(2 / free))
            found = np.maximum(found, np.maximum(alone, together - _SLACK))
        found = np.minimum(found, MOST)
        return None if (found <= 1).all() else found


def _mean(values: Floats, weights: Floats) -> float:
    total = weights.sum()
    return float((values * weights).sum() / total) if total > 0 else 1.0


class _Level:
    def __init__(self, state: LevelState, size: int) -> None:
        self.size, self.seen, self.batches = size, state.seen, state.batches
        self.rounds = state.rounds
        self.sum, self.mean, self.square, self.batch, self.squares, self.ratio = (
            np.array(row) for row in state.sums
        )

    def add(self, means: Floats) -> Floats | None:
        self.sum += means
        self.mean += means
        self.square += means * means
        self.seen += 1
        if self.seen < self.size:
            return None
        batch = self.sum / self.size
        self.batch += batch
        self.squares += batch * batch
        self.sum = np.zeros_like(self.sum)
        self.seen = 0
        self.batches += 1
        if self.batches == BATCHES:
            self._learn()
        return batch

    def _learn(self) -> None:
        count = BATCHES * self.size
        single = (self.square - self.mean**2 / count) / (count - 1)
        batches = (self.squares - self.batch**2 / BATCHES) / (BATCHES - 1)
        # What is all but constant says nothing.
        able = single > 1e-12
        ratio = np.where(able, self.size * batches / np.where(able, single, 1.0), 1.0)
        self.rounds += 1
        limit = np.maximum(self.ratio, FIRST) * _JUMP
        self.ratio += (np.minimum(ratio, limit) - self.ratio) / min(self.rounds, _MEMORY)
        self.batches = 0
        for sums in (self.mean, self.square, self.batch, self.squares):
            sums[:] = 0.0

    def kept(self) -> LevelState:
        sums = (self.sum, self.mean, self.square, self.batch, self.squares, self.ratio)
        return LevelState(
            seen=self.seen,
            batches=self.batches,
            rounds=self.rounds,
            sums=tuple(tuple(row.tolist()) for row in sums),
        )
