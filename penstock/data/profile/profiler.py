"""The profile of a column, gathered in one pass over its batches with bounded memory.

Exact: nulls, minimum, maximum, mean, deviation, dates and lengths always; distinct values, the
commonest levels and the quantiles while a column has at most 10,000 different values. Beyond that,
distinct comes from a k-minimum-values sketch (k = 16,384: standard error 0.8 %; Bar-Yossef et al.
2002), quantiles from a random sample of rows (all rows up to 65,536, then about half of that or
more: standard error of a rank 0.3 %), and levels are the values that held at least 1 % of the rows
when counting was given up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.data.hashing.digest import CellHasher, Hashes, RowDigest, hash_rows
from penstock.data.profile.counting import (
    Counter,
    Moments,
    RowSampler,
    moment,
    numbers_of,
    order_of,
    quantiles,
    top_levels,
)
from penstock.errors import InputError
from penstock.records.dataset import Column, Level, Profile, ProfiledColumn

if TYPE_CHECKING:
    import pyarrow as pa

MAX_EXACT = 10_000
"""Different values up to which they are counted one by one."""

MAX_NUMBER = 1e150
"""Numbers up to which a sum of squares is finite, whatever the rows."""

_SKETCH = 16_384
_LOOK = 1_024
_HEAVY = 0.01


class ColumnProfiler:
    """Hashes and profiles one column, batch after batch.

    Args:
        column: Name and storage type.
    """

    def __init__(self, column: Column) -> None:
        self.column = column
        self.hasher = CellHasher(column)
        self.infinite = 0
        self._rows = 0
        self._nulls = 0
        self._counter: Counter | None = Counter()
        self._heavy: list[list[int]] = []
        self._heavy_values: Any = None
        self._sketch: Hashes = np.empty(0, dtype=np.uint64)
        self._waiting: list[Hashes] = []
        self._bound = np.uint64(2**64 - 1)
        self._moments = Moments()
        self._lengths: tuple[int, int] | None = None
        self._sample: list[npt.NDArray[np.float64]] = []

    def add(
        self,
        array: pa.Array,
        taken: npt.NDArray[np.int64],
        kept: npt.NDArray[np.bool_] | None,
        *,
        hashed: bool = True,
    ) -> Hashes:
        """Take in a batch.

        Args:
            array: The column's values in its storage type.
            taken: Rows of this batch for the sample.
            kept: Which of the rows sampled before stay in it; None: all.
            hashed: Whether the hashes are computed.

        Returns:
            One hash a row, or arbitrary values where they are not computed.
        """
        self._rows += len(array)
        self._nulls += array.null_count
        if self.column.type in ("integer", "number"):
            self._add_sample(array, taken, kept)
        if self._counter is None:
            return self._add_to_estimate(array)
        return self._count(array, self._counter, hashed=hashed)

    def profile(self) -> Profile:
        """Return the column's profile over all batches.

        Raises:
            InputError: If it holds a number that is infinite or beyond 1e150, whose square is: no
                record or model can take it.
        """
        if self._counter is not None:
            figures = self._exact(self._counter)
        else:
            figures = {"distinct": self._distinct(), "top": self._heavy_levels()}
            if self.column.type in ("integer", "number"):
                figures["quantiles"] = quantiles(np.concatenate([np.empty(0), *self._sample]))
        if self.infinite:
            raise InputError(
                f"{self.infinite:,} infinite value{'s' if self.infinite > 1 else ''}",
                where=f"column {self.column.name!r}",
                remedy='Replace them in the source, or add their text (such as "inf") to '
                "na_values to read them as missing.",
            )
        self._refuse_huge()
        return self._finish(figures)

    def _refuse_huge(self) -> None:
        moments = self._moments
        if self.column.type != "number" or not moments.count:
            return
        furthest = max(moments.low, moments.high, key=abs)
        if abs(furthest) > MAX_NUMBER:
            raise InputError(
                f"a number is as large as {furthest:.3g}: nothing can be computed with numbers "
                f"beyond {MAX_NUMBER:g}",
                where=f"column {self.column.name!r}",
                remedy="Correct it in the source or give it in a larger unit; or add its text to "
                "na_values to read it as missing.",
            )

    def state(self) -> dict[str, Any]:
        """Return what `restored` makes an equal one of: numbers, arrays of numpy and of Arrow."""
        shared = {
            "rows": self._rows,
            "nulls": self._nulls,
            "sample": np.concatenate([np.empty(0), *self._sample]),
        }
        if self._counter is not None:
            counter = self._counter
            return shared | {
                "keys": counter.keys,
                "counts": counter.counts,
                "values": counter.values,
            }
        self._merge_sketch()
        return shared | {
            "heavy": self._heavy,
            "heavy_values": self._heavy_values,
            "sketch": self._sketch,
            "bound": int(self._bound),
            "moments": astuple(self._moments),
            "lengths": self._lengths,
            "infinite": self.infinite,
        }

    @classmethod
    def restored(cls, column: Column, state: Mapping[str, Any]) -> ColumnProfiler:
        """Return one that goes on from a state."""
        profiler = cls(column)
        profiler._rows, profiler._nulls = state["rows"], state["nulls"]
        profiler._sample = [state["sample"]]
        if "keys" in state:
            profiler._counter = Counter(state["keys"], state["counts"], state.get("values"))
            return profiler
        profiler._counter = None
        profiler._heavy, profiler._heavy_values = state["heavy"], state.get("heavy_values")
        profiler._sketch, profiler._bound = state["sketch"], np.uint64(state["bound"])
        profiler._moments = Moments(*state["moments"])
        if state["lengths"]:
            shortest, longest = state["lengths"]
            profiler._lengths = shortest, longest
        profiler.infinite = state["infinite"]
        return profiler

    def is_counting(self) -> bool:
        """Whether there were at most 10,000 different values so far."""
        return self._counter is not None

    def _count(self, array: pa.Array, counter: Counter, *, hashed: bool) -> Hashes:
        """Count each value of a batch, or give up where there are too many different ones."""
        if counter.values is None and _mostly_different(array):
            hashes = self.hasher.hashes(array)
            known = hashes[arrow.flags(array.is_valid())] if array.null_count else hashes
            counter.begin(known, array.drop_null())
        else:
            encoded = array.dictionary_encode()
            values, size = encoded.dictionary, len(encoded.dictionary)
            keys = self.hasher.hashes(values)
            places = arrow.numbers(encoded.indices, null=size)
            counter.add(keys, np.bincount(places, minlength=size + 1)[:size], values)
            hashes = np.append(keys, self.hasher.missing)[places] if hashed else keys
        if len(counter.keys) > MAX_EXACT:
            self._give_up_counting(counter)
        return hashes

    def _add_to_estimate(self, array: pa.Array) -> Hashes:
        hashes = self.hasher.hashes(array)
        self._add_to_sketch(hashes)
        for entry in self._heavy:
            entry[1] += int(np.count_nonzero(hashes == np.uint64(entry[0])))
        self._measure(array.drop_null() if array.null_count else array)
        return hashes

    def _measure(self, valid: pa.Array, counts: npt.NDArray[np.int64] | None = None) -> None:
        """Add non-null values, each once or `counts` times, to moments, bounds and lengths."""
        import pyarrow.compute as pc

        if not len(valid):
            return
        if self.column.type == "string":
            bounds = pc.min_max(pc.utf8_length(valid))
            low, high = bounds["min"].as_py(), bounds["max"].as_py()
            before = self._lengths or (low, high)
            self._lengths = (min(before[0], low), max(before[1], high))
            return
        numbers = numbers_of(valid)
        if self.column.type == "number":
            finite = np.isfinite(numbers)
            if not finite.all():
                lost = ~finite if counts is None else counts[~finite]
                self.infinite += int(lost.sum())
                numbers = numbers[finite]
                counts = None if counts is None else counts[finite]
        self._moments.add(numbers, counts)

    def _give_up_counting(self, counter: Counter) -> None:
        """Go from exact counts to the sketch, and follow only the heavy values from here."""
        self._counter = None
        if counter.values is None:
            return
        self._measure(counter.values, counter.counts)
        # The keys are different ones, and sorted.
        self._sketch = counter.keys[:_SKETCH].copy()
        if len(self._sketch) == _SKETCH:
            self._bound = self._sketch[-1]
        heavy = np.flatnonzero(counter.counts >= _HEAVY * self._rows)
        self._heavy = [[int(counter.keys[at]), int(counter.counts[at])] for at in heavy]
        self._heavy_values = counter.values.take(arrow.integers(heavy))

    def _add_to_sketch(self, hashes: Hashes) -> None:
        self._waiting.append(hashes[hashes <= self._bound])
        if sum(map(len, self._waiting)) > _SKETCH:
            self._merge_sketch()

    def _merge_sketch(self) -> None:
        waiting = np.concatenate([np.empty(0, dtype=np.uint64), *self._waiting])
        # Two runs in order: a stable sort merges them.
        both = np.concatenate([self._sketch, waiting[order_of(waiting)]])
        ranked = np.sort(both, kind="stable")
        different = np.append(True, ranked[1:] != ranked[:-1])
        self._sketch, self._waiting = ranked[different][:_SKETCH], []
        if len(self._sketch) == _SKETCH:
            self._bound = self._sketch[-1]

    def _distinct(self) -> int:
        self._merge_sketch()
        found = len(self._sketch)
        if found < _SKETCH:
            # A null's hash is in the sketch as well.
            return found - int(self._nulls > 0 and self.hasher.missing in self._sketch)
        return min(round((_SKETCH - 1) * 2.0**64 / float(self._bound)), self._rows)

    def _add_sample(
        self, array: pa.Array, taken: npt.NDArray[np.int64], kept: npt.NDArray[np.bool_] | None
    ) -> None:
        """Add the sampled rows, a null as NaN."""
        if kept is not None:
            self._sample = [np.concatenate([np.empty(0), *self._sample])[kept]]
        if len(taken):
            numbers = arrow.numbers(array)[taken].astype(np.float64, copy=False)
            if array.null_count:
                numbers[~arrow.flags(array.is_valid())[taken]] = np.nan
            self._sample.append(numbers)

    def _exact(self, counter: Counter) -> dict[str, Any]:
        figures: dict[str, Any] = {"distinct": len(counter.keys)}
        if counter.values is not None and len(counter.values):
            self._moments, self._lengths, self.infinite = Moments(), None, 0
            self._measure(counter.values, counter.counts)
            figures["top"] = top_levels(counter)
            if self.column.type in ("integer", "number", "boolean"):
                figures["quantiles"] = quantiles(numbers_of(counter.values), counter.counts)
        return figures

    def _heavy_levels(self) -> tuple[Level, ...]:
        if not self._heavy:
            return ()
        counts = np.array([entry[1] for entry in self._heavy], dtype=np.int64)
        return top_levels(Counter(counts=counts, values=self._heavy_values))

    def _finish(self, figures: dict[str, Any]) -> Profile:
        moments = self._moments
        if self._lengths is not None:
            figures["shortest"], figures["longest"] = self._lengths
        elif moments.count and self.column.type == "datetime":
            figures["earliest"], figures["latest"] = moment(moments.low), moment(moments.high)
        elif moments.count:
            spread = math.sqrt(moments.squares / (moments.count - 1)) if moments.count > 1 else 0.0
            figures |= {"minimum": moments.low, "maximum": moments.high, "mean": moments.mean}
            figures["deviation"] = spread
        return Profile(nulls=self._nulls, **figures)


class TableProfiler:
    """Profiles all columns of a table and digests its rows, batch after batch.

    Args:
        columns: Names and storage types.
        digest: The digest of all rows that will come, where their hashes are known; None: it is
            taken from what comes.
    """

    def __init__(self, columns: Sequence[Column], *, digest: RowDigest | None = None) -> None:
        self.digest = digest or RowDigest(columns)
        self._hashed = digest is None
        self._profilers = [ColumnProfiler(column) for column in columns]
        self._sampler = RowSampler()

    def add(self, arrays: Sequence[pa.Array]) -> None:
        """Take in a batch, one array a column."""
        taken, kept = self._sampler.draw(len(arrays[0]))
        profiled = zip(self._profilers, arrays, strict=True)
        if self._hashed:
            cells = ((p.hasher, p.add(array, taken, kept)) for p, array in profiled)
            self.digest.add(hash_rows(cells, rows=len(arrays[0])))
            return
        for profiler, array in profiled:
            profiler.add(array, taken, kept, hashed=False)

    def state(self) -> dict[str, Any]:
        """Return what `restored` makes an equal one of, which goes on with more rows."""
        return {
            "digest": {"rows": self.digest.rows, "sums": self.digest.sums},
            "sampler": self._sampler.state(),
            "columns": [profiler.state() for profiler in self._profilers],
        }

    @classmethod
    def restored(cls, columns: Sequence[Column], state: Mapping[str, Any]) -> TableProfiler:
        """Return one that goes on from a state.

        Args:
            columns: The columns that it was of.
            state: What `state` returned.
        """
        table = cls(columns)
        table.digest.rows = state["digest"]["rows"]
        first, second = state["digest"]["sums"]
        table.digest.sums = first, second
        table._sampler = RowSampler.restored(state["sampler"])
        table._profilers = [
            ColumnProfiler.restored(column, one)
            for column, one in zip(columns, state["columns"], strict=True)
        ]
        return table

    def repetitive(self) -> list[str]:
        """Return the columns whose values are still few enough to be counted one by one."""
        return [p.column.name for p in self._profilers if p.is_counting()]

    def columns(self) -> tuple[ProfiledColumn, ...]:
        """Return the profiled columns.

        Raises:
            InputError: If a column holds a number that is infinite or too large.
        """
        return tuple(
            ProfiledColumn(
                name=profiler.column.name, type=profiler.column.type, profile=profiler.profile()
            )
            for profiler in self._profilers
        )


def _mostly_different(array: pa.Array) -> bool:
    """Whether the first values look as if there were more than can be counted one by one.

    Of 1,024 drawn from 10,000 equally common ones about 50 are equal to an earlier one.
    """
    first = array.slice(0, _LOOK)
    return len(array) > MAX_EXACT and len(first.unique()) > _LOOK - _LOOK**2 // (2 * MAX_EXACT)
