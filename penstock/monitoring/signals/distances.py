"""How far a window lies from the reference, in statistics that people know. No alarm uses them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstock.data.profile.reference import drift
from penstock.monitoring.signals.definitions import is_exact, known_rows
from penstock.monitoring.signals.window import ColumnCounts, Counts
from penstock.records.base import Value
from penstock.records.dataset import Level
from penstock.records.reference import Reference, ReferenceColumn

Floats = npt.NDArray[np.float64]


class Distances(Value):
    """How far a column's values lie from the reference's; None where that is not defined.

    `psi` has missing values as a bin and sampling error taken off, as `drift` of
    `penstock.data.profile.reference` says; the others are of the values that are there.
    """

    column: str
    psi: float | None = None
    ks: float | None = None
    wasserstein: float | None = None
    jensen_shannon: float | None = None
    chi_squared: float | None = None
    degrees: int | None = None


def distances(counts: Counts, reference: Reference) -> tuple[Distances, ...]:
    """Return the distances of each column of a window that the reference has.

    Numbers are cut at the reference's edges, up to 100 quantiles: the Kolmogorov-Smirnov distance
    is the largest at an edge, at most 1 % (the share of a bin) below that of the rows.
    Wasserstein's takes rows as spread evenly between two edges, and leaves out what lies beyond the
    first and the last, so it is too small where tails are heavy. Jensen-Shannon's is a distance,
    the root of the divergence in nats. Chi-squared is of the two-sample table, with `degrees` of
    freedom.

    Args:
        counts: Of the window.
        reference: In whose edges they were counted.
    """
    columns = {column.name: column for column in counts.columns}
    index = stability_index(counts, reference)
    found = []
    for column in reference.columns:
        if column.name in columns:
            of = _of(column, columns[column.name])
            found.append(of.model_copy(update={"psi": index.get(column.name)}))
    return tuple(found)


def stability_index(counts: Counts, reference: Reference) -> dict[str, float]:
    """Return the population stability index of each column that can be compared, by name.

    Args:
        counts: Of the window.
        reference: In whose edges they were counted.
    """
    if not counts.rows:
        return {}
    columns = {column.name: column for column in counts.columns}
    now = Reference(
        dataset="",
        rows=counts.rows,
        columns=tuple(
            _as_reference(column, columns[column.name], rows=counts.rows)
            for column in reference.columns
            if column.name in columns
        ),
    )
    return drift(reference, now).index


def _of(column: ReferenceColumn, counts: ColumnCounts) -> Distances:
    if not counts.counts or not sum(counts.counts) or not known_rows(column):
        return Distances(column=column.name)
    old, new = _shares(column, counts)
    both = old[0] + new[0] > 0
    p, q = old[0] / old[1], new[0] / new[1]
    gap = np.cumsum(p - q)[:-1]
    return Distances(
        column=column.name,
        ks=float(np.abs(gap).max()) if column.edges else None,
        wasserstein=_wasserstein(column, gap) if column.edges else None,
        jensen_shannon=_jensen_shannon(p, q),
        chi_squared=_chi_squared(old[0][both], new[0][both]),
        degrees=int(both.sum()) - 1,
    )


def _shares(
    column: ReferenceColumn, counts: ColumnCounts
) -> tuple[tuple[Floats, float], tuple[Floats, float]]:
    """Return rows by part, and all of them, of the reference and of the window."""
    parts = column.counts or tuple(level.rows for level in column.levels)
    old = np.array([*parts, column.others], float)
    new = np.array(counts.counts, float)
    return (old, old.sum()), (new, new.sum())


def _wasserstein(column: ReferenceColumn, gap: Floats) -> float:
    """Return the area between the distribution functions, given their gap at each edge."""
    widths = np.diff(column.edges)
    left, right = np.abs(gap[:-1]), np.abs(gap[1:])
    if is_exact(column):
        return float((left * widths).sum())
    crosses = gap[:-1] * gap[1:] < 0
    total = np.where(left + right > 0, left + right, 1.0)
    area = np.where(crosses, (left**2 + right**2) / total, left + right) / 2
    return float((area * widths).sum())


def _jensen_shannon(p: Floats, q: Floats) -> float:
    middle = (p + q) / 2
    parts = [(one[one > 0] * np.log(one[one > 0] / middle[one > 0])).sum() for one in (p, q)]
    return float(np.sqrt(max(0.0, sum(parts) / 2)))


def _chi_squared(old: Floats, new: Floats) -> float:
    """Return Pearson's statistic of a table of two rows."""
    table = np.stack([old, new])
    expected = table.sum(axis=1)[:, None] * table.sum(axis=0) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


def _as_reference(column: ReferenceColumn, counts: ColumnCounts, *, rows: int) -> ReferenceColumn:
    """Return the window's counts in the form of a reference; what is beyond has an edge above."""
    described = {"name": column.name, "type": column.type, "nulls": counts.missing}
    if rows == counts.missing:
        return ReferenceColumn(**described)
    if not counts.counts:
        # Only how many there are counts.
        return ReferenceColumn(**described, edges=(0.0,), counts=(rows - counts.missing,))
    if column.edges:
        above = float(np.nextafter(column.edges[-1], np.inf))
        edges = (*column.edges, above)
        return ReferenceColumn(**described, edges=edges, counts=counts.counts, exact=column.exact)
    levels = tuple(
        Level(value=level.value, rows=rows)
        for level, rows in zip(column.levels, counts.counts, strict=False)
    )
    return ReferenceColumn(**described, levels=levels, others=counts.counts[-1])
