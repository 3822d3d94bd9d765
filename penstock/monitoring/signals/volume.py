"""Whether too few or too many rows come: numbers of whole hours or days beside those before.

What is usual is the median of the same hour of the same day of the week, where three weeks are
known; else of the same hour of the day, where three days are; else of all. A period is outside
where it lies beyond `factor` times that, and beyond what earlier periods did by themselves: one in
twenty of them on that side, and the most extreme day of all, twice over. What was outside gives
no room, and makes what is usual only after two weeks: an alarm does not end by itself.

As a signal of the detector a period is 1 where it is outside, else 0, and up to a tenth of them are
no drift. What is usual is known before the period is counted, so the detector's bound holds as long
as no more than that are outside, given those before. A holiday that is unlike all earlier days is
not usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from penstock.monitoring.settings.volume import VolumeSpec
from penstock.monitoring.signals.definitions import Signal, bounded
from penstock.monitoring.signals.window import Blocks, Carry
from penstock.records.base import Value
from penstock.records.figures import Volume

Floats = NDArray[np.float64]

STREAM = "volume"
"""The stream of these signals."""

OUTSIDE = 0.1
"""Share of the periods that may be outside."""

_LENGTHS = {"1h": 3600, "1d": 86_400}
_DAY, _WEEK = 86_400, 7 * 86_400

_KEPT = 35 * _DAY
"""Seconds of which numbers are kept."""

_LATE = 300
"""Seconds after its end until a period is whole: rows may arrive late."""

_LEAST = 3
"""Weeks, or days, from which the hour is known."""

_USUAL = 0.05
"""Share of the earlier periods, on either side, beyond which lies what is unusual."""

_BEYOND = 2.0
"""How far the most extreme earlier day may be surpassed: there is always a new one."""

_DOUBTED = 14 * _DAY
"""Seconds after which a period that was outside counts as one of those that there are."""

_GAPS = 1 / 8
"""Where earlier periods had less than this part of what is usual, none has too few."""

_MANY = 50
"""Periods of which one more or less moves no median."""

_FEW = 10
"""Rows that are added to both before they are compared: of few rows chance alone halves many."""


class Memory(Value):
    """Numbers of rows by period; it does not grow."""

    length: int = Field(description="Seconds of a period")
    first: int = Field(description="Number of the first period since 1970")
    judged: int = Field(description="Number of the first one that is not judged yet")
    rows: tuple[int | None, ...] = Field(default=(), description="None: not known")
    outside: tuple[int, ...] = Field(default=(), description="Numbers of those that were outside")


@dataclass(frozen=True)
class Counted:
    """What the numbers of rows say at a look.

    Attributes:
        memory: To keep for the next look; None: no row ever came.
        blocks: Of the periods that became whole and are judged; None: there is none.
        figure: Of the newest whole period.
    """

    memory: Memory | None
    blocks: Blocks | None
    figure: Volume | None


def volume_signals(spec: VolumeSpec) -> list[Signal]:
    """Return the signals: shares of periods with too few, and with too many rows."""
    learned = int(spec.learn * _DAY / _LENGTHS[spec.period])
    return [
        bounded(
            f"rows: {what}",
            kind="volume",
            expected=0.0,
            tolerance=OUTSIDE,
            error=0.0,
            rows=learned,
            stream=STREAM,
        )
        for what in ("too few", "too many")
    ]


def count_rows(
    memory: Memory | None, times: Floats, *, now: datetime, spec: VolumeSpec, known: bool
) -> Counted:
    """Count the rows of a look, and judge the periods that became whole.

    Args:
        memory: What the look before kept; None: it begins.
        times: Of the rows, in seconds since 1970, shape (n,).
        now: The time of the look.
        spec: The section `monitoring.volume`.
        known: Whether all rows since the look before were read; otherwise these periods are not
            known.
    """
    length = _LENGTHS[spec.period]
    today = int(now.timestamp()) // length
    at = np.floor_divide(times, length).astype(np.int64)
    at = at[at <= today]
    # After a clock that jumped, or a long sleep, it is learned anew.
    near = memory is not None and 0 <= today + 1 - memory.judged <= _KEPT // length
    if memory is None or memory.length != length or not near:
        at = at[at >= today - _KEPT // length]
        if not len(at):
            return Counted(None, None, None)
        # The first period is not whole: what came before it is not known.
        begin = int(at.min()) + 1
        memory = Memory(length=length, first=begin, judged=begin)
    end = max(memory.judged, int(now.timestamp() - _LATE) // length)
    rows = _added(memory, at, size=max(end, today + 1) - memory.first, known=known)
    outside = list(memory.outside)
    begins, values = [], []
    for k in range(memory.judged - memory.first, end - memory.first):
        number = memory.first + k
        past = _past(rows[:k], outside, memory)
        found = _judged(past, rows[k], length, spec)
        if found is not None:
            begins.append(number * float(length))
            values.append([found.rows < found.low, found.rows > found.high])
            outside += [number] * any(values[-1])
    blocks = None
    if values:
        blocks = Blocks(STREAM, np.array(begins), np.array(values, dtype=np.float64), Carry())
    drop = max(0, end - memory.first - _KEPT // length)
    kept = Memory(
        length=length,
        first=memory.first + drop,
        judged=end,
        rows=tuple(None if np.isnan(one) else int(one) for one in rows[drop:]),
        outside=tuple(one for one in outside if one >= memory.first + drop),
    )
    newest, figure = end - memory.first - 1, None
    if newest >= 0 and np.isfinite(rows[newest]):
        past = _past(rows[:newest], outside, memory)
        figure = _figure(past, rows[newest], until=end * length, length=length, spec=spec)
    return Counted(kept, blocks, figure)


@dataclass(frozen=True)
class _Past:
    """Earlier periods, NaN where nothing is to be learned from one.

    Attributes:
        rows: Without those that were outside in the last two weeks.
        typical: Without any that were.
    """

    rows: Floats
    typical: Floats


def _past(rows: Floats, outside: Sequence[int], memory: Memory) -> _Past:
    places = np.array([one - memory.first for one in outside], dtype=np.int64)
    places = places[places < len(rows)]
    found = _Past(rows.copy(), rows.copy())
    found.rows[places[places > len(rows) - _DOUBTED // memory.length]] = np.nan
    found.typical[places] = np.nan
    return found


def _added(memory: Memory, at: NDArray[np.int64], *, size: int, known: bool) -> Floats:
    """Return the rows by period, NaN where they are not known."""
    rows = np.zeros(max(size, len(memory.rows)))
    rows[: len(memory.rows)] = [np.nan if one is None else one for one in memory.rows]
    rows += np.bincount(at[at >= memory.first] - memory.first, minlength=len(rows))
    if not known:
        rows[memory.judged - memory.first :] = np.nan
    return rows


@dataclass(frozen=True)
class _Judged:
    rows: float
    usual: float
    low: float
    high: float
    by: str


def _judged(past: _Past, rows: float, length: int, spec: VolumeSpec) -> _Judged | None:
    """Return a period beside what is usual; None where either is not known."""
    if not np.isfinite(rows) or _missing(past, length, spec) > 0:
        return None
    slots, by = _slots(past.rows, length=length)
    usual = float(_medians(slots)[0])
    low, high = _room(past.typical, slots, length=length)
    low, high = min(1 / spec.factor, low), max(spec.factor, high)
    return _Judged(
        rows=float(rows),
        usual=usual,
        low=max(0.0, low * (usual + _FEW) - _FEW) if low >= _GAPS else 0.0,
        high=high * (usual + _FEW) - _FEW,
        by=by,
    )


def _room(typical: Floats, slots: Floats, *, length: int) -> tuple[float, float]:
    """Return how far below and above what the others make usual earlier periods were."""
    others = _medians_of_others(slots) if len(slots) <= _MANY else _medians(slots)
    ratios = ((_table(typical, slots.shape[1]) + _FEW) / (others + _FEW)).ravel()
    if not np.isfinite(ratios).any():
        return 1.0, 1.0
    days = _medians(_table(ratios, _DAY // length).T)
    low, high = np.nanquantile(ratios, (_USUAL, 1 - _USUAL))
    return (
        min(float(low), float(np.nanmin(days)) / _BEYOND),
        max(float(high), float(np.nanmax(days)) * _BEYOND),
    )


def _missing(past: _Past, length: int, spec: VolumeSpec) -> float:
    """Return seconds of which the rows must be known before the next period is judged."""
    return spec.learn * _DAY - float(np.isfinite(past.rows).sum()) * length


def _slots(past: Floats, *, length: int) -> tuple[Floats, str]:
    """Return earlier periods as a table, and what its columns are: the first is like the next one.

    NaN stands before the first period.
    """
    hour = "at this hour of" if length < _DAY else "on"
    for season, by in ((_WEEK, f"{hour} this day of the week"), (_DAY, f"{hour} the day")):
        step = season // length
        table = _table(past, step)
        if step > 1 and np.isfinite(table[:, 0]).sum() >= _LEAST:
            return table, by
    return past[:, None], "in general"


def _table(values: Floats, step: int) -> Floats:
    return np.append(np.full(-len(values) % step, np.nan), values).reshape(-1, step)


def _medians(slots: Floats) -> Floats:
    """Return the median of what is known in each column, NaN where nothing is.

    As `np.nanmedian`, which takes thirty times as long on tables this small.
    """
    known = (~np.isnan(slots)).sum(axis=-2, keepdims=True)
    # NaN stand last.
    ordered = np.sort(slots, axis=-2)
    below, above = (
        np.take_along_axis(ordered, at, axis=-2)
        for at in (np.maximum(known - 1, 0) // 2, known // 2)
    )
    return np.asarray((below + above) / 2)[..., 0, :]


def _medians_of_others(slots: Floats) -> Floats:
    """Return for each cell the median of the other ones in its column."""
    others = np.repeat(slots[np.newaxis], len(slots), axis=0)
    each = np.arange(len(slots))
    others[each, each] = np.nan
    return _medians(others)


def _figure(past: _Past, rows: float, *, until: int, length: int, spec: VolumeSpec) -> Volume:
    """Return the newest whole period, for people."""
    found = _judged(past, rows, length, spec)
    missing = _missing(past, length, spec) - length
    return Volume(
        since=datetime.fromtimestamp(until - length, UTC),
        until=datetime.fromtimestamp(until, UTC),
        rows=int(rows),
        usual=found.usual if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        by=found.by if found else "",
        learned=datetime.fromtimestamp(until + max(missing, 0), UTC) if not found else None,
    )
