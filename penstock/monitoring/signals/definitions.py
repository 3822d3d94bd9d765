"""What is watched: shares and means with what a reference expects of them, and their weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import accumulate
from statistics import NormalDist
from typing import Literal

from penstock.common import files
from penstock.errors import InputError
from penstock.monitoring.settings.tolerances import Tolerances
from penstock.records.reference import Reference, ReferenceColumn

Kind = Literal[
    "missing", "unseen", "decile", "level", "score", "volume", "loss", "gap", "attribution", "kpi",
    "errors", "latency",
]  # fmt: skip

ROWS = "rows"
"""The stream of the signals that every captured row has."""

BLOCK_ROWS = 40
"""Rows of a block. What the rows of a block have to do with each other does no harm."""

ERRORS = 2.5
"""Standard errors of the reference that are allowed beside the tolerance."""

TESTED_LEVELS = 15
"""The commonest levels of a column, each of which is a signal; the rest is one together."""

WEIGHTS = {
    "column": 2.0, "score": 1.0, "labels": 1.0, "gap": 0.5, "volume": 0.5, "attribution": 0.5,
}  # fmt: skip
"""What columns together, the scores, losses and values of labelled rows, gaps between groups, the
number of rows and attributions have of all weight; what a version lacks leaves its part to all."""

_DECILES = tuple(k / 10 for k in range(1, 10))
_TAILS = (0.01, 0.99)
_CERTAIN = 1e-9
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Signal:
    """One number a block, and the range in which its mean is no drift.

    Attributes:
        name: For people: "amount: missing".
        kind: What it is.
        column: The column, empty where it is of no column.
        expected: What the reference shows: a share or a mean, from 0 to 1.
        low: The least mean that is no drift: `expected`, less tolerance and allowance.
        high: The greatest.
        tolerance: How far from the reference it may lie.
        reference_rows: Rows from which `expected` was computed.
        place: Of a decile the edge, of a level its place among the reference's; -1 for the rest
            that the reference does not list, and -2 for the missing.
        weight: Share of all the evidence; they add up to 1.
        stream: Signals of one stream have a value for the same rows.
    """

    name: str
    kind: Kind
    column: str
    expected: float
    low: float
    high: float
    tolerance: float
    reference_rows: int
    place: int = -1
    weight: float = 0.0
    stream: str = ROWS


@dataclass(frozen=True)
class Signals:
    """All signals of a version, in fixed order with fixed weights.

    Attributes:
        signals: Those of one stream and of one column stand together.
        columns: Inputs that every row is to have, also those without a signal.
        block_rows: Rows of a block.
        limits: What is not watched, and why: sentences for people.
    """

    signals: tuple[Signal, ...]
    columns: tuple[str, ...]
    block_rows: int = BLOCK_ROWS
    limits: tuple[str, ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        said = [*(repr(signal) for signal in self.signals), *self.columns, str(self.block_rows)]
        object.__setattr__(self, "digest", files.digest_of_text("\n".join(said)))

    def of(self, stream: str) -> tuple[Signal, ...]:
        """Return the signals of a stream."""
        return tuple(signal for signal in self.signals if signal.stream == stream)

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams, in order: the rows first."""
        return tuple(dict.fromkeys([ROWS, *(signal.stream for signal in self.signals)]))


def signals_of(
    reference: Reference,
    *,
    columns: Sequence[str] | None = None,
    scores: ReferenceColumn | None = None,
    more: Sequence[Signal] = (),
    tolerances: Tolerances | None = None,
    block_rows: int = BLOCK_ROWS,
    together: float = 1.0,
    period: timedelta | None = None,
) -> Signals:
    """Return what is watched of a model.

    Args:
        reference: The distribution of the rows that it learned from.
        columns: The model's inputs; None: all columns of the reference, its target among them.
        scores: How its scores on the holdout are distributed; None: they are not watched.
        more: Signals of other streams: loss, gaps, KPI. Their weights are set here.
        tolerances: What is no drift; None: the defaults.
        block_rows: Rows of a block: rather more than belong together, as those of one user; the
            fewer, the sooner a change is found.
        together: Rows of the reference that are as good as one, for example how many each user has
            on average: its sampling error is that of so many rows fewer.
        period: Seasons of this length are expected.

    Raises:
        InputError: If the reference has no rows, or there are not 1 to 1,000,000 rows to a block.
    """
    if reference.rows < 1:
        raise InputError(
            "the reference has no rows to compare with",
            where="reference.json",
            remedy="Train the model on data that has rows.",
        )
    if not 1 <= block_rows <= 1_000_000:
        raise InputError(f"a block has 1 to 1,000,000 rows, not {block_rows}", where="monitoring")
    if not 1 <= together < math.inf:
        raise InputError(f"at least 1 row is together, not {together}", where="monitoring")
    tolerances = tolerances or Tolerances()
    names = [column.name for column in reference.columns] if columns is None else list(columns)
    limits: list[str] = []
    signals: list[Signal] = []
    for name in names:
        column = reference.column(name)
        if column is None:
            limits.append(f"The reference does not have the column {name!r}: it is not watched.")
        else:
            signals += _of_column(column, reference.rows, tolerances, limits, together=together)
    if scores is not None:
        found = _of_numbers(scores, tolerances, kind="score", together=together)
        signals += [_renamed(signal) for signal in found]
    if period is not None:
        limits.append(
            "The reference does not tell at what time its rows came: seasons of "
            f"{period} are not distinguished from drift."
        )
    return Signals(
        signals=_weighted([*signals, *more]),
        columns=tuple(names),
        block_rows=block_rows,
        limits=tuple(limits),
    )


def bounded(
    name: str,
    *,
    kind: Kind,
    expected: float,
    tolerance: float,
    error: float,
    rows: int,
    column: str = "",
    stream: str = "labels",
) -> Signal:
    """Return a signal whose values lie from 0 to 1: a loss, a gap or a KPI, brought there.

    Args:
        name: For people.
        kind: What it is.
        expected: Its mean where nothing has changed.
        tolerance: How far from that its mean may lie.
        error: The standard error of `expected`.
        rows: Rows from which `expected` was computed.
        column: The column that it is about.
        stream: Signals of one stream have a value for the same rows.
    """
    allowed = tolerance + ERRORS * error
    low, high = max(0.0, expected - allowed), min(1.0, expected + allowed)
    return Signal(name, kind, column, expected, low, high, tolerance, rows, stream=stream)


def known_rows(column: ReferenceColumn) -> int:
    """Return how many rows of a column are not missing."""
    return sum(column.counts) + sum(level.rows for level in column.levels) + column.others


def is_exact(column: ReferenceColumn) -> bool:
    """Return whether its edges are all the values that it had."""
    return column.exact or len(column.edges) == 1


def _of_column(
    column: ReferenceColumn,
    rows: int,
    tolerances: Tolerances,
    limits: list[str],
    *,
    together: float,
) -> Iterator[Signal]:
    name, known = column.name, known_rows(column)
    yield _share(
        f"{name}: missing", "missing", name, rows - known, rows, tolerances.missing,
        together=together, place=-2,
    )  # fmt: skip
    if not known:
        limits.append(f"{name!r} was always missing in the reference: only that is watched.")
    elif column.type == "datetime":
        limits.append(f"{name!r} is a time, which is always later: only missing ones are watched.")
    elif column.edges:
        yield from _of_numbers(column, tolerances, kind="decile", together=together)
    else:
        yield from _of_levels(column, known, tolerances, together=together)


def _of_numbers(
    column: ReferenceColumn, tolerances: Tolerances, *, kind: Kind, together: float
) -> Iterator[Signal]:
    name, total = column.name, sum(column.counts)
    reached = list(accumulate(column.counts))
    heavy = [k for k, count in enumerate(column.counts) if count >= total / 10]
    places = {_first(reached, share * total) for share in (*_DECILES, *_TAILS)}
    # What lies below a value that is frequent is not counted with it.
    places |= {*heavy, *(k - 1 for k in heavy if k)}
    for k in sorted(places):
        share = reached[k] / total
        if 0 < reached[k] < total:
            tolerance = tolerances.shift * _NORMAL.pdf(_NORMAL.inv_cdf(share))
            text = f"{name}: at most {column.edges[k]:.6g}"
            yield _share(text, kind, name, reached[k], total, tolerance, together=together, place=k)
    what = "values not seen" if is_exact(column) else "above the greatest"
    yield _share(f"{name}: {what}", "unseen", name, 0, total, tolerances.unseen, together=together)


def _of_levels(
    column: ReferenceColumn, known: int, tolerances: Tolerances, *, together: float
) -> Iterator[Signal]:
    name, levels = column.name, column.levels
    both = len(levels) == 2 and not column.others
    for k, level in enumerate(levels[: 1 if both else TESTED_LEVELS]):
        text = f"{name}: {level.value!r}"
        yield _share(
            text, "level", name, level.rows, known, tolerances.levels, together=together, place=k
        )
    # Where rare levels are many their share moves as that of a level does.
    rare = max(tolerances.unseen, min(tolerances.levels, column.others / known))
    others = _share(
        f"{name}: other levels", "unseen", name, column.others, known, rare, together=together
    )
    yield replace(others, high=min(1.0, others.high + _flattered(column, together) / known))


def _flattered(column: ReferenceColumn, together: float) -> float:
    """Return by how many rows the listed levels may look commoner than they are.

    Where levels are left out, those about as rare as the rarest that is listed were listed for
    being frequent in these very rows; among the others they would be as many less.
    """
    if not column.others or not column.levels:
        return 0.0
    least = min(level.rows for level in column.levels)
    near = least + 3 * math.sqrt(least * together)
    return sum(
        ERRORS * math.sqrt(level.rows * together) for level in column.levels if level.rows <= near
    )


def _first(reached: Sequence[int], least: float) -> int:
    return next(k for k, rows in enumerate(reached) if rows >= least or k == len(reached) - 1)


def _share(
    name: str,
    kind: Kind,
    column: str,
    hits: int,
    rows: int,
    tolerance: float,
    *,
    together: float,
    place: int = -1,
) -> Signal:
    """Return a share with what Wilson's interval (1927) allows for the reference's own error."""
    share, part = hits / rows, ERRORS**2 * together / rows
    middle = (share + part / 2) / (1 + part)
    half = math.sqrt(part * share * (1 - share) + part**2 / 4) / (1 + part)
    low = max(0.0, min(share, middle - half) - tolerance)
    high = min(1.0, max(share, middle + half) + tolerance)
    return Signal(name, kind, column, share, low, high, tolerance, rows, place=place)


def _renamed(signal: Signal) -> Signal:
    name = f"score: {signal.name.partition(': ')[2]}"
    return replace(signal, name=name, kind="score", column="")


def _weighted(signals: Sequence[Signal]) -> tuple[Signal, ...]:
    """Return the signals that can be tested with their weights.

    Parts share all weight as `WEIGHTS` says; then each column, or stream, has the same, then each
    kind of its signals, then each signal. One whose range is all from 0 to 1 can show nothing.
    """
    tested = [one for one in signals if one.low > _CERTAIN or one.high < 1 - _CERTAIN]
    paths = [_path(one) for one in tested]
    depth = len(paths[0]) if paths else 0
    # How many branches each branch has.
    below = Counter(one[:-1] for at in range(depth) for one in {path[: at + 1] for path in paths})
    total = sum(WEIGHTS[part] for part in {path[0] for path in paths})
    shares = [
        WEIGHTS[path[0]] / total / math.prod(below[path[:at]] for at in range(1, depth))
        for path in paths
    ]
    return tuple(replace(one, weight=share) for one, share in zip(tested, shares, strict=True))


def _path(signal: Signal) -> tuple[str, ...]:
    if signal.stream != ROWS:
        own = signal.kind if signal.kind in WEIGHTS else "labels"
        return own, signal.stream, signal.kind, signal.name
    part = "score" if signal.kind == "score" else "column"
    return part, signal.column, "" if part == "score" else signal.kind, signal.name
