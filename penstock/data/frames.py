"""Columns of a dataset as arrays, whether or not a model takes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.data.table import read_dataset, read_table
from penstock.errors import InputError, absent_column
from penstock.model import to_frame

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def read_frame(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """Return columns of a dataset as `penstock.model.to_frame` converts them.

    Raises:
        InputError: If a column is not in it.
    """
    dataset = read_dataset(folder)
    columns = [column for column in dataset.columns if column.name in names]
    return to_frame(read_table(folder, names), columns)


def read_arrays(folder: Path, names: Collection[str], *, where: str) -> dict[str, np.ndarray]:
    """Return columns by name: numbers as float64 (NaN for missing), texts as objects (None).

    Args:
        folder: The dataset.
        names: Which columns; none is allowed.
        where: Who asks for them, for the error.

    Raises:
        InputError: If a column is not in the dataset, or is a time.
    """
    columns = {column.name: column for column in read_dataset(folder).columns}
    for name in sorted(names):
        if name not in columns:
            raise absent_column(name, columns, where=where)
        if columns[name].type == "datetime":
            raise InputError(
                f"the column {name!r} holds times, with which nothing can be computed", where=where
            )
    if not names:
        return {}
    frame = read_frame(folder, sorted(names))
    return {str(name): values.to_numpy() for name, values in frame.items()}
