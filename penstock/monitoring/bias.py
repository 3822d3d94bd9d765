"""Gaps between groups of people as signals: whether what fairness bounded on the holdout holds.

Only gaps that need no labels: of late labels the inputs are gone. A gap of -1 to 1 is brought to 0
to 1, as the detector takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penstock.monitoring.group_gaps import Gap, gaps_of, measure_gaps
from penstock.monitoring.signals import Signal, bounded
from penstock.monitoring.window import INPUTS, Blocks, Carry
from penstock.records.baseline import Baseline

if TYPE_CHECKING:
    import pyarrow as pa

STREAM = "gaps"
"""The stream of these signals."""

ROWS = 200
"""Rows of a block: both sides of a gap must be in it."""

_FROM_0_TO_1 = ("selection_rate",)


@dataclass(frozen=True)
class Bias:
    """The gaps that are watched.

    Attributes:
        gaps: The gaps, in the order of their signals.
        limits: What is not watched, and why.
    """

    gaps: tuple[Gap, ...] = ()
    limits: tuple[str, ...] = ()

    @classmethod
    def of(cls, baseline: Baseline | None, *, inputs: Sequence[str]) -> Bias:
        """Return the gaps of a version."""
        if baseline is None:
            return cls()
        found = gaps_of(baseline, inputs=inputs, labelled=False)
        kept = tuple(gap for gap in found if gap.figure in _FROM_0_TO_1)
        left = [gap.name for gap in found if gap.figure not in _FROM_0_TO_1]
        limits = (f"Not watched, for it has no bound: {', '.join(left)}.",) if left else ()
        return cls(kept, limits)

    def signals(self, *, tolerance: float) -> list[Signal]:
        """Return their signals."""
        return [
            bounded(
                f"gap: {gap.name.replace('_', ' ')}",
                kind="gap",
                expected=(gap.expected + 1) / 2,
                tolerance=tolerance / 2,
                error=gap.error / 2,
                rows=gap.reference_rows,
                column=gap.column,
                stream=STREAM,
            )
            for gap in self.gaps
        ]

    def blocks(
        self, rows: pa.Table, scores: NDArray[np.float64], *, baseline: Baseline
    ) -> Blocks | None:
        """Return their means by block; rows at the end that fill none are left out.

        Args:
            rows: Captured rows in order of time.
            scores: Theirs.
            baseline: Of the version.
        """
        count = len(scores) // ROWS
        if not self.gaps or not count:
            return None
        taken = count * ROWS
        names = {column.name for gap in self.gaps for column in gap.columns}
        inputs = {
            name: rows.column(f"{INPUTS}{name}").slice(0, taken).combine_chunks() for name in names
        }
        means = measure_gaps(
            self.gaps,
            inputs=inputs,
            scores=scores[:taken],
            blocks=np.arange(taken) // ROWS,
            baseline=baseline,
        )
        moments = rows.column("time").slice(0, taken).to_numpy()
        begins = moments.astype("datetime64[us]").astype(np.int64)[::ROWS] / 1e6
        return Blocks(STREAM, begins, (means + 1) / 2, Carry())
