"""The features that the project's own transformer makes, where a model is fitted on them.

The rows are held as they are, for a transformer can do anything with them: in each fold it is
fitted anew, on that fold's rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.data.table.frames import read_rows
from penstock.errors import InputError
from penstock.features.own_transformer import features_of
from penstock.own_code.making import reported
from penstock.records.dataset import Column
from penstock.training.feature_columns import (
    PIECE,
    FeatureColumns,
    FittedFeatures,
    Matrix,
    Rows,
)

if TYPE_CHECKING:
    import pandas as pd

FIELD = "features.transformer"


@dataclass(frozen=True)
class OwnFeatures(FittedFeatures):
    """Features as a fitted transformer of the project's own makes them.

    Args:
        learned: Nothing.
        frame: All raw rows.
        transformer: Fitted on some of them.
    """

    frame: pd.DataFrame
    transformer: Any

    @cached_property
    def width(self) -> int:
        """How many features there are."""
        return int(features_of(self.transformer, self.frame.iloc[:1], where=FIELD).shape[1])

    def matrix(self, rows: Rows, *, dtype: Any = np.float64) -> Matrix:
        """Return the features of some rows, shape (rows, features); see `FittedFeatures`.

        Raises:
            InputError: See `features_of`; or if rows have different numbers of features.
        """
        out: Matrix = np.empty((len(rows), self.width), dtype=dtype)
        for start in range(0, len(rows), PIECE):
            asked = self.frame.iloc[rows[start : start + PIECE]]
            piece = features_of(self.transformer, asked, where=FIELD)
            if piece.shape[1] != self.width:
                raise InputError(
                    f"it makes {self.width} features of one row, and {piece.shape[1]} of "
                    f"{len(asked):,}",
                    where=FIELD,
                    remedy="Let fit learn which features there are.",
                )
            out[start : start + len(piece)] = piece
        return out

    def columns(self, rows: Rows) -> Iterator[Matrix]:
        """Yield the features of some rows one after another, shape (rows,) each."""
        yield from self.matrix(rows).T


@dataclass(frozen=True)
class OwnColumns(FeatureColumns):
    """The raw rows of a training part, and the transformer that makes features of them.

    Args:
        columns: Nothing.
        rows: How many rows there are.
        fitted: The features as the transformer makes them that was fitted on all rows of the part.
        texts: Nothing.
    """

    def learn(self, rows: Rows) -> FittedFeatures:
        """Return the features as the transformer makes them that is fitted on some rows."""
        from sklearn.base import clone

        whole = self.fitted
        assert isinstance(whole, OwnFeatures)
        with reported(FIELD, f"fitting it on {len(rows):,} rows of a fold"):
            fitted = clone(whole.transformer).fit(whole.frame.iloc[rows])
        return OwnFeatures((), whole.frame, fitted)


def read_own(
    folder: Path,
    transformer: Any,
    inputs: Sequence[Column],
    *,
    rows: int,
    chosen: Rows | None = None,
) -> OwnColumns:
    """Read the rows of a training part.

    Args:
        folder: The part.
        transformer: What `penstock.features.own_transformer` fitted.
        inputs: The raw columns that it takes.
        rows: How many rows the part has.
        chosen: Places of the rows to take, ascending; None takes all.
    """
    places = np.arange(rows) if chosen is None else chosen
    frame = read_rows(folder, [column.name for column in inputs], places)
    return OwnColumns((), len(frame), OwnFeatures((), frame, transformer), {})
