"""Gaps between groups of people as signals: whether what fairness bounded on the holdout holds.

Of labelled rows the captured inputs are gone; with the score the code of each row's groups was
kept. A gap of -1 to 1 is brought to 0 to 1, as the detector takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from penstock.data.groups import group_codes
from penstock.monitoring.signals.definitions import Signal, bounded
from penstock.monitoring.signals.group_gaps import LABELLED, Gap, gap_sums, gaps_of, means_of
from penstock.monitoring.signals.window import INPUTS, Blocks, Carry
from penstock.records.baseline import Baseline, GroupColumn

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

SIZES = (200, 1000, 5000)
"""Rows of a block: the smallest in which both sides of a gap are to be expected."""

_EXPECTED = 8
"""Rows of the smaller side that a block has on average, at least."""

_UNBOUNDED = ("mean_prediction", "absolute_error")


@dataclass(frozen=True)
class GroupRows:
    """Rows whose groups are known, in order of time.

    Attributes:
        scores: Shape (n,) or (n, classes).
        columns: How rows fall into groups.
        codes: Of each row, by `columns`; -1: not known; shape (n, columns).
        times: When they were answered, in seconds since 1970, shape (n,).
        labels: The true values; None: they have not come.
    """

    scores: Floats
    columns: tuple[tuple[GroupColumn, ...], ...]
    codes: Codes
    times: Floats
    labels: Sequence[Any] | None = None


@dataclass(frozen=True)
class Bias:
    """The gaps that are watched.

    Attributes:
        streams: Gaps by the stream of their signals, and how many rows a block of it has.
        columns: How rows fall into groups, in the order of their codes.
        limits: What is not watched, and why.
    """

    streams: dict[str, tuple[int, tuple[Gap, ...]]]
    columns: tuple[tuple[GroupColumn, ...], ...] = ()
    limits: tuple[str, ...] = ()

    @classmethod
    def of(cls, baseline: Baseline | None, *, inputs: Sequence[str]) -> Bias:
        """Return the gaps of a version."""
        if baseline is None:
            return cls({})
        gaps = [
            gap
            for labelled in (False, True)
            for gap in gaps_of(baseline, inputs=inputs, labelled=labelled)
        ]
        streams: dict[str, tuple[int, tuple[Gap, ...]]] = {}
        rare, unbounded = [], []
        for gap in gaps:
            size = _size(gap, baseline)
            if gap.figure in _UNBOUNDED:
                unbounded.append(gap.name)
            elif size is None:
                rare.append(gap.name)
            else:
                name = f"{'labelled ' if gap.figure in LABELLED else ''}gaps of {size:,} rows"
                streams[name] = size, (*streams.get(name, (size, ()))[1], gap)
        limits = [f"Not watched, for it has no bound: {', '.join(unbounded)}."] * bool(unbounded)
        if rare:
            limits.append(
                f"Not watched, for even {SIZES[-1]:,} rows have too few of one side: "
                f"{', '.join(rare)}."
            )
        columns = tuple(dict.fromkeys(gap.columns for gap in gaps))
        return cls(streams, columns, tuple(limits))

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
                stream=stream,
            )
            for stream, (_, gaps) in self.streams.items()
            for gap in gaps
        ]

    def codes(self, rows: pa.Table) -> Codes:
        """Return the code of each captured row by `columns`, shape (n, columns)."""
        names = {column.name for columns in self.columns for column in columns}
        inputs = {name: rows.column(f"{INPUTS}{name}").combine_chunks() for name in names}
        found = [group_codes(columns, inputs) for columns in self.columns]
        return np.stack(found, axis=1) if found else np.empty((rows.num_rows, 0), dtype=np.int64)

    def blocks(
        self, rows: GroupRows, *, baseline: Baseline, carry: Callable[[str], Carry]
    ) -> list[Blocks]:
        """Return the gaps by block, of those that need labels where there are labels, or of others.

        Args:
            rows: The rows.
            baseline: Of the version.
            carry: Returns the rows of a stream that have not filled a block yet, as sums.
        """
        codes = {columns: np.full(len(rows.times), -1) for columns in self.columns}
        codes |= {columns: rows.codes[:, at] for at, columns in enumerate(rows.columns)}
        labelled = rows.labels is not None
        return [
            _blocks(rows, gaps, size, stream, codes=codes, baseline=baseline, carry=carry(stream))
            for stream, (size, gaps) in self.streams.items()
            if (gaps[0].figure in LABELLED) == labelled
        ]


def _size(gap: Gap, baseline: Baseline) -> int | None:
    share = gap.reference_rows / max(1, baseline.rows)
    return next((size for size in SIZES if size * share >= _EXPECTED), None)


def _blocks(
    rows: GroupRows,
    gaps: Sequence[Gap],
    size: int,
    stream: str,
    *,
    codes: dict[tuple[GroupColumn, ...], Codes],
    baseline: Baseline,
    carry: Carry,
) -> Blocks:
    total = carry.rows + len(rows.times)
    full, rest = divmod(total, size)
    sums = gap_sums(
        gaps,
        codes=codes,
        scores=rows.scores,
        blocks=np.arange(carry.rows, total) // size,
        size=full + 1,
        baseline=baseline,
        labels=rows.labels,
    )
    firsts = np.maximum(np.arange(full + 1) * size - carry.rows, 0)
    begins = np.append(rows.times, 0.0)[np.minimum(firsts, len(rows.times))]
    if carry.rows:
        sums[0] += np.array(carry.sums, dtype=np.float64).reshape(len(gaps), 4)
        begins[0] = carry.begin
    left = Carry()
    if rest:
        kept = tuple(sums[full].ravel().tolist())
        left = Carry(rows=rest, begin=float(begins[full]), sums=kept)
    return Blocks(stream, begins[:full], (means_of(sums[:full]) + 1) / 2, left)
