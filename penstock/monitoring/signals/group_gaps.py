"""Gaps between groups of people, block by block: signals of bias drift.

A gap is a figure of one group minus that of all other rows. Unlike the widest spread over groups,
which chance alone makes wide in a small block, its mean over blocks is the true gap, whatever the
shares of the groups. What a rule on fairness bounded on the holdout is so watched in later rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from penstock.data.groups import code_of
from penstock.monitoring.estimates.performance import predicted, predictions_of
from penstock.records.baseline import Baseline, Group, GroupColumn, Groups

Floats = NDArray[np.float64]

Figure = Literal[
    "selection_rate",
    "mean_prediction",
    "error",
    "true_positive_rate",
    "false_positive_rate",
    "absolute_error",
]

LABELLED: frozenset[str] = frozenset(
    {"error", "true_positive_rate", "false_positive_rate", "absolute_error"}
)
"""Figures that need labels."""

LEAST = 3
"""Rows of either side below which a block says nothing of a gap."""


@dataclass(frozen=True)
class Gap:
    """A signal: a figure of one group minus that of all other rows.

    Attributes:
        name: In words, for example `selection_rate of sex = Female, against all others`.
        figure: What is compared.
        columns: How rows fall into groups.
        levels: Of the group.
        expected: The gap on the holdout.
        error: The standard error of `expected`.
        reference_rows: Rows of the smaller side that it rests on there.
    """

    name: str
    figure: Figure
    columns: tuple[GroupColumn, ...]
    levels: tuple[int, ...]
    expected: float
    error: float
    reference_rows: int

    @property
    def column(self) -> str:
        """The columns' names, for a report."""
        return ", ".join(column.name for column in self.columns)


def gaps_of(baseline: Baseline, *, inputs: Sequence[str], labelled: bool) -> tuple[Gap, ...]:
    """Return the gaps to watch, in a fixed order.

    Of two groups one gap is enough: the other is its negative.

    Args:
        baseline: Of the version that is served.
        inputs: Columns that captured rows have; groups by other columns cannot be watched, and the
            baseline's notes name them.
        labelled: Whether of figures that need labels, or of those that do not.
    """
    found: list[Gap] = []
    for groups in baseline.fairness:
        if {column.name for column in groups.columns} <= set(inputs):
            found += _gaps_of(baseline, groups, labelled=labelled)
    return tuple(found)


def _gaps_of(baseline: Baseline, groups: Groups, *, labelled: bool) -> Iterator[Gap]:
    # Groups too small to be kept stand among all others, so two kept may not be all rows.
    whole = sum(group.rows for group in groups.groups) == baseline.rows
    shown = groups.groups[:1] if whole and len(groups.groups) == 2 else groups.groups
    for group in shown:
        for figure, ours, others in _figures(baseline, group):
            smaller = min(ours.rows, others.rows)
            if (figure in LABELLED) == labelled and smaller >= 1:
                yield Gap(
                    name=f"{figure} of {group.name}, against all others",
                    figure=figure,
                    columns=groups.columns,
                    levels=group.levels,
                    expected=ours.mean - others.mean,
                    error=float(np.sqrt(ours.variance / ours.rows + others.variance / others.rows)),
                    reference_rows=int(smaller),
                )


@dataclass(frozen=True)
class _Side:
    rows: float
    mean: float
    variance: float


def _share(hits: float, rows: float) -> _Side:
    if rows < 1:
        return _Side(0.0, 0.0, 0.0)
    # As if half a row more of each kind had been seen: a share of none is not certain.
    smooth = (hits + 0.5) / (rows + 1)
    return _Side(rows, hits / rows, smooth * (1 - smooth))


def _figures(baseline: Baseline, group: Group) -> Iterator[tuple[Figure, _Side, _Side]]:
    if baseline.task == "binary":
        ours = np.array(group.confusion, dtype=np.float64)
        yield from _rates(ours, np.array(baseline.confusion, dtype=np.float64) - ours)
    elif baseline.task == "multiclass":
        yield "error", *_by_loss(baseline, group, "error")
    else:
        yield "mean_prediction", *_predictions(baseline, group)
        yield "absolute_error", *_by_loss(baseline, group, "absolute_error")


def _rates(ours: Floats, others: Floats) -> Iterator[tuple[Figure, _Side, _Side]]:
    def pair(take: Any) -> tuple[_Side, _Side]:
        return _share(*take(ours)), _share(*take(others))

    yield "selection_rate", *pair(lambda t: (t[:, 1].sum(), t.sum()))
    yield "error", *pair(lambda t: (t.sum() - t[0, 0] - t[1, 1], t.sum()))
    yield "true_positive_rate", *pair(lambda t: (t[1, 1], t[1].sum()))
    # A class that the model does not know is not positive, as in the gate's rule.
    yield "false_positive_rate", *pair(lambda t: (t[0, 1] + t[2, 1], t[0].sum() + t[2].sum()))


def _by_loss(baseline: Baseline, group: Group, name: str) -> tuple[_Side, _Side]:
    all_, ours = baseline.losses[name], group.losses[name]
    rest = baseline.rows - group.rows
    if not rest:
        return _Side(group.rows, ours.mean, ours.deviation**2), _Side(0.0, 0.0, 0.0)
    mean = (all_.mean * baseline.rows - ours.mean * group.rows) / rest
    squares = baseline.rows * (all_.deviation**2 + all_.mean**2)
    squares -= group.rows * (ours.deviation**2 + ours.mean**2)
    variance = max(squares / rest - mean**2, 0.0)
    return _Side(group.rows, ours.mean, ours.deviation**2), _Side(rest, mean, variance)


def _predictions(baseline: Baseline, group: Group) -> tuple[_Side, _Side]:
    whole = baseline.scores[0]
    rest = baseline.rows - group.rows
    ours = sum(group.scores.sums)
    mean = (sum(whole.sums) - ours) / rest if rest else 0.0
    # The spread within bins is small beside the one between them.
    centres = np.array(whole.sums) / np.array(whole.rows)
    spread = float(np.average((centres - centres.mean()) ** 2, weights=whole.rows))
    return _Side(group.rows, ours / group.rows, spread), _Side(rest, mean, spread)


def gap_sums(
    gaps: Sequence[Gap],
    *,
    codes: Mapping[tuple[GroupColumn, ...], NDArray[np.int64]],
    scores: Floats,
    blocks: NDArray[np.int64],
    size: int,
    baseline: Baseline,
    labels: Sequence[Any] | None = None,
) -> Floats:
    """Return rows and sums of either side of every gap in every block: (size, gaps, 4).

    The last axis: rows of the group, their sum, rows of all others, their sum.

    Args:
        gaps: Of `gaps_of`.
        codes: By the columns of groups, the code of each row (`penstock.data.groups.group_codes`);
            -1 where it is not known, which is on neither side.
        scores: Shape (n,), of more than two classes (n, classes).
        blocks: Block of each row, from 0, rising, shape (n,).
        size: How many blocks there are.
        baseline: Of the version that scored the rows.
        labels: The true values, none missing; needed for gaps that need labels.

    Raises:
        InputError: If the labels are not those of a model like this, or not as many.
    """
    found = np.zeros((size, len(gaps), 4))
    truth = None if labels is None else predictions_of(scores, labels, baseline=baseline).truth
    values: dict[Figure, tuple[Floats, NDArray[np.bool_]]] = {}
    for at, gap in enumerate(gaps):
        if gap.figure not in values:
            values[gap.figure] = _values(gap.figure, scores, truth, baseline)
        code, (figure, taken) = codes[gap.columns], values[gap.figure]
        ours = code == code_of(gap.columns, gap.levels)
        for side, member in enumerate((ours & taken, ~ours & taken & (code >= 0))):
            here = blocks[member]
            found[:, at, 2 * side] = np.bincount(here, minlength=size)
            found[:, at, 2 * side + 1] = np.bincount(here, weights=figure[member], minlength=size)
    return found


def means_of(sums: Floats) -> Floats:
    """Return every gap in every block of `gap_sums`; NaN where either side has too few rows."""
    rows = sums[:, :, 0::2]
    means = np.where(rows >= LEAST, sums[:, :, 1::2] / np.maximum(rows, 1), np.nan)
    return np.asarray(means[:, :, 0] - means[:, :, 1])


def _values(
    figure: Figure, scores: Floats, truth: NDArray[Any] | None, baseline: Baseline
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return what a figure is the mean of, and over which rows."""
    given = predicted(scores, baseline=baseline)
    every = np.ones(len(scores), dtype=bool)
    if figure == "mean_prediction":
        return scores, every
    if figure == "selection_rate":
        return given.astype(np.float64), every
    if truth is None:
        raise ValueError(f"{figure} needs labels")
    if figure == "absolute_error":
        return np.abs(scores - truth), every
    if figure == "error":
        return (given != truth).astype(np.float64), every
    return given.astype(np.float64), (truth == 1) == (figure == "true_positive_rate")
