"""The parts of a profile: sampled rows, moments, counts of values, and notes on them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.data.hashing.digest import Hashes, mix
from penstock.records.dataset import Level

if TYPE_CHECKING:
    import pyarrow as pa

MAX_LEVEL = 200
"""Characters of a level that go into the profile; a longer one is cut."""

_SAMPLE = 65_536
_TOP = 10
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RowSampler:
    """Draws the same random rows for every column of a table, the same ones in every run.

    A row is in the sample when the hash of its number is below a bound, which is halved whenever
    the sample outgrows its limit.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._bound = np.uint64(2**64 - 1)
        self._ranks = np.empty(0, dtype=np.uint64)

    def state(self) -> dict[str, Any]:
        """Return what `restored` makes an equal one of."""
        return {"rows": self._rows, "bound": int(self._bound), "ranks": self._ranks}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> RowSampler:
        """Return one that goes on from a state."""
        sampler = cls()
        sampler._rows, sampler._bound = state["rows"], np.uint64(state["bound"])
        sampler._ranks = state["ranks"]
        return sampler

    def draw(self, rows: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_] | None]:
        """Return which rows of the next batch to take, and which taken before stay; None: all."""
        ranks = mix(np.arange(self._rows, self._rows + rows, dtype=np.uint64))
        self._rows += rows
        taken = np.flatnonzero(ranks <= self._bound)
        if not len(taken):
            return taken, None
        earlier, before = self._ranks, self._bound
        self._ranks = np.concatenate([earlier, ranks[taken]])
        while len(self._ranks) > _SAMPLE:
            self._bound >>= np.uint64(1)
            self._ranks = self._ranks[self._ranks <= self._bound]
        if self._bound == before:
            return taken, None
        return taken[ranks[taken] <= self._bound], earlier <= self._bound


@dataclass
class Moments:
    """Count, mean, sum of squared deviations and bounds, merged by Chan's formula (1979)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, values: npt.NDArray[Any], counts: npt.NDArray[np.int64] | None = None) -> None:
        """Add finite numbers, each once or as often as `counts` says."""
        count = len(values) if counts is None else int(counts.sum())
        if not count:
            return
        numbers = values.astype(np.float64, copy=False)
        self.low = min(self.low, float(numbers.min()))
        self.high = max(self.high, float(numbers.max()))
        # The profile refuses, by its bounds, a column in which this overflows.
        with np.errstate(over="ignore", invalid="ignore"):
            # Sums, not dot products: those go to BLAS, whose threads cost more than they bring.
            mean = float((numbers if counts is None else numbers * counts).sum()) / count
            off = numbers - mean
            np.multiply(off, off, out=off)
            squares = float((off if counts is None else off * counts).sum())
            gap, total = mean - self.mean, self.count + count
            self.squares += squares + gap * gap * self.count * count / total
            self.mean += gap * count / total
        self.count = total


@dataclass
class Counter:
    """How often each value occurs, keyed by its hash."""

    keys: Hashes = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    values: Any = None

    def add(self, keys: Hashes, counts: npt.NDArray[np.int64], values: pa.Array) -> None:
        """Add how often each value occurs; several may share a key, as 0.0 and -0.0 do."""
        import pyarrow as pa

        if len(self.keys):
            place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            if np.array_equal(self.keys[place], keys):
                # Not `+=`, which takes one addend alone where a place occurs twice.
                np.add.at(self.counts, place, counts)
                return
        merged = pa.concat_arrays([self.values, values]) if self.values is not None else values
        self.keys, first, place = np.unique(
            np.concatenate([self.keys, keys]), return_index=True, return_inverse=True
        )
        weights = np.concatenate([self.counts, counts])
        self.counts = np.zeros(len(self.keys), dtype=np.int64)
        np.add.at(self.counts, place, weights)
        self.values = merged.take(arrow.integers(first))

    def begin(self, keys: Hashes, values: pa.Array) -> None:
        """Count the first values, one a row: as `add` does with the different ones among them.

        Cheaper where most differ, since they need not be distinct before they are sorted.
        """
        order = order_of(keys)
        ranked = keys[order]
        starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
        self.keys = ranked[starts]
        self.counts = np.diff(np.append(starts, len(ranked)))
        self.values = values.take(arrow.integers(order[starts]))


def order_of(hashes: Hashes) -> npt.NDArray[np.int64]:
    """Return the order in which hashes ascend, equal ones as they come.

    First by their leading 32 bits, 16 at a time, for which numpy has a radix sort; what is left to
    its stable sort is as good as in order then, since hashes are spread evenly up to the greatest.
    """
    used = int(hashes.max(initial=0)).bit_length()
    order = _by_word(hashes, max(used - 32, 0))
    order = order[_by_word(hashes[order], max(used - 16, 0))]
    return np.asarray(order[np.argsort(hashes[order], kind="stable")])


def _by_word(hashes: Hashes, bit: int) -> npt.NDArray[np.int64]:
    """Return the order by the 16 bits that begin at a bit."""
    return np.argsort(np.right_shift(hashes, np.uint64(bit)).astype(np.uint16), kind="stable")


def level_text(value: bool | int | float | str | datetime) -> str:
    """Return a value as the profile writes it: `true`, `5`, `0.25`, text, or ISO 8601 time."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return repr(value + 0.0)
    text = str(value)
    return text if len(text) <= MAX_LEVEL else text[:MAX_LEVEL] + "…"


def numbers_of(valid: pa.Array) -> npt.NDArray[Any]:
    """Return values without nulls as numbers; a datetime as microseconds since 1970."""
    import pyarrow as pa

    if pa.types.is_timestamp(valid.type):
        valid = valid.view(pa.int64())
    if pa.types.is_boolean(valid.type):
        valid = valid.cast(pa.uint8())
    return arrow.numbers(valid)


def quantiles(
    numbers: npt.NDArray[Any], counts: npt.NDArray[np.int64] | None = None
) -> tuple[float, ...]:
    """Return observed values at the five shares, over what is finite."""
    finite = np.isfinite(numbers)
    numbers = numbers[finite].astype(np.float64)
    if not len(numbers):
        return ()
    if counts is None:
        return tuple(float(q) for q in np.quantile(numbers, _QUANTILES, method="inverted_cdf"))
    order = np.argsort(numbers)
    reached = np.cumsum(counts[finite][order])
    places = np.searchsorted(reached, np.array(_QUANTILES) * reached[-1])
    return tuple(float(q) for q in numbers[order][np.minimum(places, len(order) - 1)])


def top_levels(counter: Counter) -> tuple[Level, ...]:
    """Return the commonest values, equally common ones in ascending order."""
    order = np.argsort(-counter.counts, kind="stable")
    # Only what ties with the tenth needs comparing by value.
    least = counter.counts[order[min(_TOP, len(order)) - 1]]
    likely = np.flatnonzero(counter.counts >= least)
    values = _as_python(counter.values.take(arrow.integers(likely)))
    pairs = zip(values, counter.counts[likely], strict=True)
    ranked = sorted((p for p in pairs if p[0] is not None), key=lambda p: (-p[1], p[0]))
    return tuple(Level(value=level_text(value), rows=int(rows)) for value, rows in ranked[:_TOP])


def _as_python(values: pa.Array) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(values.type):
        # Arrow's own way imports pandas.
        return [moment(int(at)) for at in arrow.numbers(values.view(pa.int64()))]
    return list(values.to_pylist())


def moment(microseconds: float) -> datetime | None:
    """Return a time, or None where Python's calendar (years 1 to 9999) does not reach."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return None
