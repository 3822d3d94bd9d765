"""The features of a training part, column by column, each as small as it can be held exactly.

A matrix of all features is made where a model is fitted, of the rows that it is fitted on, and
dropped after. What is held between is a tenth of it: numbers that a 32-bit float holds exactly
take four bytes, a category takes the number of its level, a text its words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from penstock.data.table import iter_batches
from penstock.data.table.frames import to_frame
from penstock.features.levels import MISSING, kept_levels
from penstock.records.dataset import Column

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = npt.NDArray[np.integer[Any]]
Matrix: TypeAlias = npt.NDArray[np.floating[Any]]

PIECE = 1 << 15
"""Rows that are turned into features at once."""


@dataclass
class Numbers:
    """One feature that is a number.

    Args:
        values: Float32 where each value is one, else float64; shape (n,).
    """

    values: Matrix

    def learn(self, rows: Rows) -> Learned:
        """Return what a fit on some rows gives: a number that none of them has is left constant."""
        return Learned(self, known=not np.isnan(self.values[rows]).all())

    def fill(self, out: Matrix, rows: Rows, learned: Learned) -> None:
        """Write the feature of some rows into a matrix of one column."""
        # A feature known in other rows only is constant here, and scikit-learn 1.9's histograms
        # stumble over a column that is all NaN.
        out[:, 0] = self.values[rows] if learned.known else 0.0


@dataclass
class Category:
    """A column of which each level that is kept becomes a feature.

    Args:
        codes: The place of each row's level among `levels`; shape (n,).
        levels: Texts, or numbers with NaN; missing is a level.
        rare_share: See `penstock.features.levels.kept_levels`, like the next one.
        max_levels: Likewise.
    """

    codes: npt.NDArray[np.unsignedinteger[Any]]
    levels: tuple[Any, ...]
    rare_share: float
    max_levels: int

    def learn(self, rows: Rows) -> Learned:
        """Return which levels a fit on some rows keeps."""
        counts = np.bincount(self.codes[rows], minlength=len(self.levels)).tolist()
        kept = kept_levels(
            {level: count for level, count in zip(self.levels, counts, strict=True) if count},
            rows=len(rows),
            rare_share=self.rare_share,
            max_levels=self.max_levels,
        )
        return self.keep(kept.levels, others=kept.other_rows > 0)

    def keep(self, levels: Sequence[Any], *, others: bool) -> Learned:
        """Return that some levels are kept, and whether one feature stands for all others."""
        places = {_key(level): place for place, level in enumerate(levels)}
        last = len(levels)
        feature = [places.get(_key(level), last) for level in self.levels]
        return Learned(self, np.array(feature, dtype=np.int64), width=last + others)

    def fill(self, out: Matrix, rows: Rows, learned: Learned) -> None:
        """Write the features of some rows into a matrix of as many columns."""
        out[:] = 0.0
        features = learned.features[self.codes[rows]]
        there = np.flatnonzero(features < learned.width)
        out[there, features[there]] = 1.0


@dataclass
class Words:
    """A text of which each bucket of words becomes a feature.

    Args:
        counts: Sparse, shape (n, buckets).
    """

    counts: Any

    def learn(self, rows: Rows) -> Learned:  # noqa: ARG002
        """Return that there is nothing to learn."""
        return Learned(self, width=self.counts.shape[1])

    def fill(self, out: Matrix, rows: Rows, learned: Learned) -> None:  # noqa: ARG002
        """Write the features of some rows into a matrix of as many columns."""
        out[:] = self.counts[rows].toarray()


@dataclass(frozen=True)
class Learned:
    """What was learned of a column, which is what `Category` and `Numbers` say of it."""

    column: Numbers | Category | Words
    features: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    width: int = 1
    known: bool = True


@dataclass(frozen=True)
class FittedFeatures:
    """Features as a fit on some rows makes them of any rows.

    Args:
        learned: Of each column.
    """

    learned: tuple[Learned, ...]

    @cached_property
    def width(self) -> int:
        """How many features there are."""
        return sum(one.width for one in self.learned)

    def matrix(self, rows: Rows, *, dtype: Any = np.float64) -> Matrix:
        """Return the features of some rows, shape (rows, features), NaN where a number is missing.

        Args:
            rows: Their places.
            dtype: float64; float32 for what would round to it anyway.
        """
        out: Matrix = np.empty((len(rows), self.width), dtype=dtype)
        for start in range(0, len(rows), PIECE):
            piece, at = rows[start : start + PIECE], 0
            for one in self.learned:
                into = out[start : start + len(piece), at : at + one.width]
                one.column.fill(into, piece, one)
                at += one.width
        return out

    def pieces(self, rows: Rows) -> Iterator[Matrix]:
        """Yield the features of some rows, so many at a time that memory stays bounded."""
        for start in range(0, len(rows), PIECE):
            yield self.matrix(rows[start : start + PIECE])

    def columns(self, rows: Rows) -> Iterator[Matrix]:
        """Yield the features of some rows one after another, shape (rows,) each."""
        for one in self.learned:
            block = np.empty((len(rows), one.width))
            one.column.fill(block, rows, one)
            yield from block.T


@dataclass(frozen=True)
class FeatureColumns:
    """The features of a training part.

    Args:
        columns: In the order of the transformer's output.
        rows: How many rows there are.
        fitted: The features as the fitted transformer makes them.
        texts: The values of each text column that is a category, those of all rows of the part.
    """

    columns: tuple[Numbers | Category | Words, ...]
    rows: int
    fitted: FittedFeatures
    texts: Mapping[str, frozenset[str]]

    def learn(self, rows: Rows) -> FittedFeatures:
        """Return the features as a transformer makes them that is fitted on some rows."""
        return FittedFeatures(tuple(column.learn(rows) for column in self.columns))


def read_columns(
    folder: Path, transformer: Any, inputs: Sequence[Column], chosen: Rows | None = None
) -> FeatureColumns:
    """Read the features of a training part, batch by batch.

    Args:
        folder: The part.
        transformer: What `penstock.features.fit` fitted.
        inputs: The raw columns that it takes.
        chosen: Places of the rows to take, ascending; None takes all.
    """
    gathering = [
        made
        for _, fitted, names in transformer.transformers_
        for made in _gatherers(fitted, list(names))
    ]
    start = count = 0
    for batch in iter_batches(folder, [column.name for column in inputs]):
        frame = to_frame(batch, inputs)
        rows = None
        if chosen is not None:
            first, last = np.searchsorted(chosen, [start, start + len(frame)])
            rows = chosen[first:last] - start
        for one in gathering:
            one.add(frame, rows)
        start += len(frame)
        count += len(frame) if rows is None else len(rows)
    learned = tuple(part for one in gathering for part in one.finish())
    texts = {
        one.name: frozenset(level for level in one.codes if isinstance(level, str)) - {MISSING}
        for one in gathering
        if isinstance(one, _Categories) and one.missing is not None
    }
    return FeatureColumns(
        tuple(part.column for part in learned), count, FittedFeatures(learned), texts
    )


class _Values:
    """Gathers features that are numbers, of several columns of a frame."""

    def __init__(self, names: list[str], fitted: Any = None) -> None:
        self._names, self._fitted = names, fitted
        self._parts: list[list[Matrix]] = []

    def add(self, frame: pd.DataFrame, rows: Rows | None) -> None:
        """Take in a batch, or some rows of it."""
        given = frame[self._names] if rows is None else frame[self._names].iloc[rows]
        block = given.to_numpy() if self._fitted is None else self._fitted.transform(given)
        self._parts = self._parts or [[] for _ in range(block.shape[1])]
        for part, values in zip(self._parts, block.T, strict=True):
            part.append(_small(values))

    def finish(self) -> Iterator[Learned]:
        """Yield each feature."""
        for part in self._parts:
            # Where one part is of doubles, all are.
            numbers = Numbers(np.concatenate(part))
            # Of a column that few rows know, a sample may have none.
            yield Learned(numbers, known=not np.isnan(numbers.values).all())
            part.clear()


class _Categories:
    """Gathers one column that is a category."""

    def __init__(self, name: str, encoder: Any, at: int, missing: str | None) -> None:
        self.name, self.missing = name, missing
        self._encoder, self._at = encoder, at
        self.codes: dict[Any, int] = {}
        self._parts: list[npt.NDArray[np.unsignedinteger[Any]]] = []

    def add(self, frame: pd.DataFrame, rows: Rows | None) -> None:
        """Take in a batch, or some rows of it; every level of it becomes known."""
        import pandas as pd

        places, levels = pd.factorize(frame[self.name], use_na_sentinel=False)
        codes = [self.codes.setdefault(self._level(level), len(self.codes)) for level in levels]
        found = np.array(codes)[places if rows is None else places[rows]]
        self._parts.append(found.astype(np.min_scalar_type(len(self.codes))))

    def _level(self, level: Any) -> Any:
        if isinstance(level, str):
            return level
        missing = level is None or level != level
        if self.missing is not None and missing:
            return self.missing
        # One object stands for every NaN, which is not equal to another.
        return math.nan if missing else float(level) + 0.0

    def finish(self) -> Iterator[Learned]:
        """Yield the column."""
        encoder, at = self._encoder, self._at
        column = Category(
            np.concatenate(self._parts), tuple(self.codes), encoder.rare_share, encoder.max_levels
        )
        rare = encoder.infrequent_categories_[at]
        few = set() if rare is None else {_key(level) for level in rare.tolist()}
        kept = [level for level in encoder.categories_[at].tolist() if _key(level) not in few]
        yield column.keep(kept, others=bool(few))


class _Texts:
    """Gathers one column of texts."""

    def __init__(self, name: str, buckets: int) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        self._name = name
        self._hashing = HashingVectorizer(n_features=buckets, alternate_sign=False)
        self._parts: list[Any] = []

    def add(self, frame: pd.DataFrame, rows: Rows | None) -> None:
        """Take in a batch, or some rows of it."""
        values = frame[self._name] if rows is None else frame[self._name].iloc[rows]
        self._parts.append(self._hashing.transform(values.fillna("")))

    def finish(self) -> Iterator[Learned]:
        """Yield the column."""
        from scipy.sparse import vstack

        counts = vstack(self._parts, format="csr")
        yield Learned(Words(counts), width=counts.shape[1])


def _gatherers(fitted: Any, names: list[str]) -> list[_Values | _Categories | _Texts]:
    """Return what gathers the features of a part of the transformer, in their order."""
    from sklearn.pipeline import Pipeline

    from penstock.features.transformers import CommonLevels, DatetimeParts, HashedWords

    if isinstance(fitted, DatetimeParts):
        return [_Values(names, fitted)]
    if isinstance(fitted, HashedWords):
        return [_Texts(name, fitted.buckets) for name in names]
    if isinstance(fitted, CommonLevels):
        return [_Categories(name, fitted, at, None) for at, name in enumerate(names)]
    if isinstance(fitted, Pipeline):
        missing = fitted["missing"].level
        return [_Categories(name, fitted["levels"], at, missing) for at, name in enumerate(names)]
    return [_Values(names)]


def _small(values: Matrix) -> Matrix:
    """Return numbers as 32-bit floats if each of them is one."""
    small = values.astype(np.float32)
    return small if np.array_equal(small, values, equal_nan=True) else values.copy()


def _key(level: Any) -> Any:
    """Return what a level is found by: NaN is not equal to itself."""
    return None if level != level else level
