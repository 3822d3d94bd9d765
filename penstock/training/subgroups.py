"""The subgroups of a table, column by column. Imported only while training."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

RANGES = 10
LEVELS = 20


@dataclass(frozen=True)
class Subgroups:
    """The subgroups that one column cuts a table into.

    Args:
        codes: The subgroup of each row, shape (n,); `len(names)` for none.
        names: Each subgroup in words: `city = X`.
    """

    codes: npt.NDArray[np.int64]
    names: tuple[str, ...]


def subgroups_of(frame: pd.DataFrame) -> list[Subgroups]:
    """Return the subgroups of every column of a frame as `to_frame` makes it.

    A text has its 20 commonest levels, a number or time its values where there are at most ten,
    else ten ranges between quantiles; missing values are a subgroup too.
    """
    return [_subgroups(str(name), values) for name, values in frame.items()]


def _subgroups(name: str, values: pd.Series) -> Subgroups:
    missing = values.isna().to_numpy()
    if values.dtype == object:
        codes, names = _levels(name, values)
    else:
        codes, names = _ranges(name, values, missing)
    codes[missing] = len(names)
    return Subgroups(codes, (*names, f"{name} is missing"))


def _levels(name: str, values: pd.Series) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    common = values.value_counts().index[:LEVELS]
    codes = np.asarray(common.get_indexer(pd.Index(values)), dtype=np.int64)
    codes[codes < 0] = len(common) + 1
    return codes, tuple(f"{name} = {level}" for level in common)


def _ranges(
    name: str, values: pd.Series, missing: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    known = values.to_numpy()[~missing]
    codes = np.zeros(len(values), dtype=np.int64)
    different = np.unique(known)
    if len(different) <= RANGES:
        codes[~missing] = np.searchsorted(different, known)
        return codes, tuple(f"{name} = {_text(value)}" for value in different)
    places = (np.arange(1, RANGES) * len(known)) // RANGES
    cuts = np.unique(np.sort(known)[places])
    codes[~missing] = np.searchsorted(cuts, known, side="right")
    inner = [f"{name} from {_text(a)} to {_text(b)}" for a, b in pairwise(cuts)]
    return codes, (f"{name} below {_text(cuts[0])}", *inner, f"{name} from {_text(cuts[-1])} on")


def _text(value: object) -> str:
    if isinstance(value, np.datetime64):
        return str(value.astype("datetime64[s]")).replace("T", " ")
    return f"{value:.4g}"
