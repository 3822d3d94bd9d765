"""One look's rows as counts in the reference's own edges, and as means of blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from penstock.data import arrow
from penstock.data.profile.counting import moment
from penstock.data.types.storage import storage_type
from penstock.errors import InputError
from penstock.monitoring.signals.definitions import ROWS, Signal, Signals, known_rows
from penstock.monitoring.signals.parts import Coder, Codes
from penstock.records.base import Value
from penstock.records.reference import Reference, ReferenceColumn

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]

INPUTS = "inputs."
"""What stands before an input's name in a table of captured rows."""

_CHUNK = 131_072
_UNIT = 2.0**-32
"""Values are multiples of this, so that their sums are exact in whatever order they come."""

_NUMBERS = ("integer", "number")


class ColumnCounts(Value):
    """How often each part of a column's values occurs in a window, cut as the reference is.

    `counts` of numbers: at or below each edge and above the one before it, then those above the
    last (of an `exact` column: each value, then all others). Of levels: each, then all others.
    """

    name: str
    missing: int = Field(description="Rows without a value; NaN is none")
    counts: tuple[int, ...] = ()
    infinite: int = Field(default=0, description="Rows with an infinite number, counted above too")

    def __add__(self, other: ColumnCounts) -> ColumnCounts:
        """Return the counts of the rows of both."""
        pairs = zip(self.counts, other.counts, strict=True)
        return ColumnCounts(
            name=self.name,
            missing=self.missing + other.missing,
            counts=tuple(a + b for a, b in pairs),
            infinite=self.infinite + other.infinite,
        )


class Fault(Value):
    """What is wrong with a column itself: no statistic can say it."""

    column: str
    kind: Literal["absent", "new", "type"]
    message: str


class Counts(Value):
    """A window as it is kept: counts that add up, and no value of any row."""

    rows: int
    begin: datetime | None = Field(default=None, description="Time of the first row")
    end: datetime | None = Field(default=None, description="Time of the last row")
    columns: tuple[ColumnCounts, ...] = Field(default=(), description="Those that can be counted")
    faults: tuple[Fault, ...] = ()

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of the rows of both; a column that one lacks is left out."""
        theirs = {column.name: column for column in other.columns}
        faults = {(fault.column, fault.kind): fault for fault in (*self.faults, *other.faults)}
        begins = [at for at in (self.begin, other.begin) if at]
        ends = [at for at in (self.end, other.end) if at]
        return Counts(
            rows=self.rows + other.rows,
            begin=min(begins, default=None),
            end=max(ends, default=None),
            columns=tuple(
                column + theirs[column.name] for column in self.columns if column.name in theirs
            ),
            faults=tuple(faults.values()),
        )


class Carry(Value):
    """The rows at a window's end that do not fill a block, as sums: the next look goes on there."""

    rows: int = 0
    begin: float = Field(default=0.0, description="Time of the first, in seconds since 1970")
    sums: tuple[float | None, ...] = Field(
        default=(), description="By signal of the stream; null: not seen in each of these rows"
    )


@dataclass(frozen=True)
class Blocks:
    """The means of consecutive rows of one stream.

    Attributes:
        stream: Which.
        begins: Time of each block's first row, in seconds since 1970.
        means: Blocks x signals of the stream; NaN where a signal has no value in each row.
        carry: The rows that are left.
    """

    stream: str
    begins: Floats
    means: Floats
    carry: Carry


@dataclass(frozen=True)
class Window:
    """What one look saw.

    Attributes:
        counts: What is kept.
        blocks: What the detector reads.
    """

    counts: Counts
    blocks: Blocks

    @property
    def rows(self) -> int:
        """How many rows there were."""
        return self.counts.rows

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Columns that are absent, new or of another type."""
        return self.counts.faults


def measure(
    table: pa.Table,
    *,
    signals: Signals,
    reference: Reference,
    scores: ReferenceColumn | None = None,
    carry: Carry | None = None,
    prefix: str = INPUTS,
) -> Window:
    """Count the rows of a window; columns are read one by one, and no value is kept.

    Args:
        table: Rows in order of time: `time` (timestamp), `score` where scores are watched, and
            one column for each input.
        signals: What is watched.
        reference: By whose edges it is counted.
        scores: By whose edges scores are.
        carry: What the look before left over: `state.carry("rows")`.
        prefix: What stands before an input's name.

    Raises:
        InputError: If the table has no column `time`, or `carry` belongs to other signals.
    """
    begins = row_times(table)
    tested = signals.of(ROWS)
    sums = _Sums(len(tested), rows=table.num_rows, size=signals.block_rows, carry=carry)
    counted, faults = [], []
    watched = _by_column(tested)
    for name in signals.columns:
        column = reference.column(name)
        places = watched.get(name, [])
        if prefix + name not in table.column_names:
            faults.append(Fault(column=name, kind="absent", message=f"{name!r} is absent."))
            sums.blank(places)
            continue
        values = table.column(prefix + name)
        if column is None:
            continue
        if fault := _type_fault(column, values.type):
            faults.append(fault)
            sums.blank(places)
            continue
        counted.append(_count(column, values, [(p, tested[p]) for p in places], sums))
    faults += _new(table, signals, prefix)
    if scores is not None and (places := watched.get("", [])):
        if "score" in table.column_names:
            column = scores.model_copy(update={"name": "score"})
            kept = [(place, tested[place]) for place in places]
            counted.append(_count(column, table.column("score"), kept, sums))
        else:
            message = "The scores are absent."
            faults.append(Fault(column="score", kind="absent", message=message))
            sums.blank(places)
    ends = [moment(at * 1e6) for at in (begins.min(), begins.max())] if len(begins) else [None] * 2
    return Window(
        counts=Counts(
            rows=table.num_rows,
            begin=ends[0],
            end=ends[1],
            columns=tuple(counted),
            faults=tuple(faults),
        ),
        blocks=sums.blocks(ROWS, begins),
    )


def measure_values(
    values: Floats, times: Floats, *, signals: Signals, stream: str, carry: Carry | None = None
) -> Blocks:
    """Return the blocks of a stream whose values are at hand: losses, gaps, a KPI.

    Args:
        values: Rows x signals of the stream, each from 0 to 1; NaN where there is none.
        times: Of the rows, in seconds since 1970, in order.
        signals: What is watched.
        stream: Which.
        carry: What the look before left over: `state.carry(stream)`.

    Raises:
        InputError: If a value is not from 0 to 1, or the shapes do not fit.
    """
    width = len(signals.of(stream))
    if values.ndim != 2 or values.shape != (len(times), width):
        raise InputError(
            f"values of shape {values.shape} are not {len(times)} rows of {width} signals",
            where=f"stream {stream!r}",
        )
    if np.any((values < 0) | (values > 1)):
        raise InputError("a value is not from 0 to 1", where=f"stream {stream!r}")
    sums = _Sums(width, rows=len(times), size=signals.block_rows, carry=carry)
    np.add.at(sums.sums, sums.block, np.round(values / _UNIT) * _UNIT)
    return sums.blocks(stream, times)


class _Sums:
    """Sums by block and signal; the first block goes on with what was carried over."""

    def __init__(self, width: int, *, rows: int, size: int, carry: Carry | None) -> None:
        self.carry = carry or Carry()
        if self.carry.rows and len(self.carry.sums) != width:
            raise InputError(
                f"{len(self.carry.sums)} sums were carried over, of {width} signals",
                where="the state of the monitor",
                remedy="Start the detector again: it belongs to other signals.",
            )
        self.size, self.rows = size, self.carry.rows + rows
        self.block: Codes = (np.arange(self.carry.rows, self.rows) // size).astype(np.intp)
        self.sums = np.zeros((-(-self.rows // size), width))
        if self.carry.rows:
            self.sums[0] = [np.nan if one is None else one for one in self.carry.sums]

    def blank(self, places: list[int]) -> None:
        """Leave signals without a value in every block that has a row of this window."""
        if len(self.block):
            self.sums[:, places] = np.nan

    def blocks(self, stream: str, times: Floats) -> Blocks:
        full, rest = divmod(self.rows, self.size)
        firsts = np.arange(len(self.sums)) * self.size - self.carry.rows
        begins = np.append(times, 0.0)[np.maximum(firsts, 0)]
        if self.carry.rows:
            begins[0] = self.carry.begin
        left = Carry()
        if rest:
            sums = tuple(None if np.isnan(one) else float(one) for one in self.sums[full])
            left = Carry(rows=rest, begin=float(begins[full]), sums=sums)
        means = self.sums[:full]
        means /= self.size
        return Blocks(stream, begins[:full], means, left)


def _by_column(signals: tuple[Signal, ...]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, signal in enumerate(signals):
        places.setdefault(signal.column, []).append(place)
    return places


def _count(
    column: ReferenceColumn,
    values: pa.ChunkedArray,
    signals: list[tuple[int, Signal]],
    sums: _Sums,
) -> ColumnCounts:
    """Count a column, and add to the sums of its signals."""
    coder = Coder(column)
    width = coder.missing + 1
    total, infinite = np.zeros(width, np.int64), 0
    places = [place for place, _ in signals]
    # Most parts add the same to every signal: they are summed by block as one.
    adds, group = np.unique(
        _matrix(coder, [signal for _, signal in signals]), axis=0, return_inverse=True
    )
    at = 0
    for chunk in _chunks(values):
        codes, beyond = coder.codes(chunk)
        total += np.bincount(codes, minlength=width)
        infinite += beyond
        block = sums.block[at : at + len(codes)]
        first, blocks = block[0], block[-1] - block[0] + 1
        flat = (block - first) * len(adds) + group[codes]
        counts = np.bincount(flat, minlength=blocks * len(adds)).reshape(blocks, -1)
        if places:
            # Not a product of matrices, for which BLAS would wake its threads.
            sums.sums[first : first + blocks, places] += np.einsum("bg,gs->bs", counts, adds)
        at += len(codes)
    parts = total[:-1].tolist() if coder.counted else []
    return ColumnCounts(
        name=column.name, missing=int(total[-1]), counts=tuple(parts), infinite=infinite
    )


def _matrix(coder: Coder, signals: list[Signal]) -> Floats:
    """Return what a row of each code adds to each signal: codes x signals.

    A missing value says nothing of the others, so that it adds what is expected.
    """
    matrix = np.zeros((coder.missing + 1, len(signals)))
    for k, signal in enumerate(signals):
        if signal.kind == "missing":
            matrix[coder.missing, k] = 1
            continue
        matrix[coder.missing, k] = np.round(signal.expected / _UNIT) * _UNIT
        if signal.place < 0:
            matrix[coder.missing - 1, k] = 1
        elif signal.kind == "level":
            matrix[signal.place, k] = 1
        else:
            matrix[: signal.place + 1, k] = 1
    return matrix


def _chunks(values: pa.ChunkedArray) -> Iterator[pa.Array]:
    for chunk in values.chunks:
        for at in range(0, len(chunk), _CHUNK):
            yield chunk.slice(at, _CHUNK)


def _type_fault(column: ReferenceColumn, now: pa.DataType) -> Fault | None:
    import pyarrow as pa

    stored = storage_type(now)
    same = stored == column.type or {stored, column.type} <= set(_NUMBERS)
    if same or pa.types.is_null(now) or (stored and not known_rows(column)):
        return None
    message = f"{column.name!r} was of type {column.type} and is {stored or now}."
    return Fault(column=column.name, kind="type", message=message)


def _new(table: pa.Table, signals: Signals, prefix: str) -> Iterator[Fault]:
    known = set(signals.columns)
    for name in table.column_names:
        column = name.removeprefix(prefix)
        if name.startswith(prefix) and prefix and column not in known:
            message = f"{column!r} is new: the model does not know it."
            yield Fault(column=column, kind="new", message=message)


def row_times(table: pa.Table) -> Floats:
    """Return when rows were answered, in seconds since 1970.

    Raises:
        InputError: If the table has no column `time`.
    """
    import pyarrow as pa

    if "time" not in table.column_names:
        raise InputError("captured rows have no column 'time'", where="the captured rows")
    times = table.column("time").cast(pa.timestamp("us", tz="UTC"))
    parts = [arrow.numbers(chunk.view(pa.int64())) for chunk in times.chunks]
    return np.concatenate([np.empty(0), *parts]) / 1e6
