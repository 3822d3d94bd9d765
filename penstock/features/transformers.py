"""What scikit-learn has no transformer for. Small, importable, and on the model's list of types.

Imported only where a transformer is built or a model is loaded.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.utils.validation import validate_data

from penstock.data.frames import to_frame
from penstock.records.dataset import Column, Reading

MISSING = "(missing)"

_DAY = 86_400_000_000
_HOUR = 3_600_000_000


class _Stateless(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What has nothing to learn but the names of its columns."""

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Note the columns' names."""
        validate_data(self, X, skip_check_array=True)
        return self

    def _names(self, given: Any) -> list[str]:
        known = getattr(self, "feature_names_in_", given)
        return [f"x{i}" for i in range(self.n_features_in_)] if known is None else list(known)


class RawColumns(_Stateless):
    """Rows as clients and files hold them, as the typed columns that the other steps take.

    What the reader of the training table took for missing, trimmed or read as a number means the
    same here, whoever calls the pipeline.

    Args:
        columns: Name and storage type of each column.
        reading: The fields of `penstock.records.dataset.Reading`; None: the table had types of its
            own, and a text is that text.

    Example:
        >>> import pandas as pd
        >>> reading = {"na_values": ["NA"], "strip": True, "formats": []}
        >>> step = RawColumns([["n", "number"]], reading).fit(pd.DataFrame({"n": [1.0]}))
        >>> step.transform(pd.DataFrame({"n": [" 2", "NA"]}))["n"].tolist()
        [2.0, nan]
    """

    def __init__(self, columns: list[list[str]], reading: dict[str, Any] | None = None) -> None:
        self.columns = columns
        self.reading = reading

    def transform(self, X: Any) -> pd.DataFrame:  # noqa: N803
        """Return the columns, in their order, of their types.

        Raises:
            InputError: See `penstock.data.frames.to_frame`.
        """
        columns = [Column.model_validate({"name": n, "type": kind}) for n, kind in self.columns]
        reading = None if self.reading is None else Reading.model_validate(self.reading)
        return to_frame(X, columns, reading)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the columns' own names."""
        return np.asarray(self._names(input_features), dtype=object)


class MissingLevel(_Stateless):
    """Text columns whose missing values (None, NaN or pandas' NA) become a level of their own.

    Args:
        level: The text that stands for a missing value.

    Example:
        >>> import pandas as pd
        >>> MissingLevel().fit_transform(pd.DataFrame({"a": ["x", None]})).tolist()
        [['x'], ['(missing)']]
    """

    def __init__(self, level: str = MISSING) -> None:
        self.level = level

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the columns as objects that are all text, shape (rows, columns)."""
        values = np.array(X, dtype=object)
        values[pd.isna(values)] = self.level
        return values

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the columns' own names."""
        return np.asarray(self._names(input_features), dtype=object)


class DatetimeParts(_Stateless):
    """Times as the parts of their calendar (UTC), NaN where the time is missing.

    There is no running time (days since …) among the parts: whatever comes after training lies
    outside the range a tree has seen, so all of it would fall into the last leaf.

    Args:
        parts: For each column, which of year, month (1-12), day (of the month), weekday
            (0 is Monday) and hour to give.

    Example:
        >>> import pandas as pd
        >>> times = pd.DataFrame({"t": pd.to_datetime(["2026-11-21 14:30"])})
        >>> DatetimeParts([["weekday", "hour"]]).fit_transform(times).tolist()
        [[5.0, 14.0]]
    """

    def __init__(self, parts: list[list[str]]) -> None:
        self.parts = parts

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the parts, column by column, as float64, shape (rows, parts)."""
        blocks = [
            datetime_part(np.asarray(X.iloc[:, i], dtype="datetime64[us]"), part)
            for i, parts in enumerate(self.parts)
            for part in parts
        ]
        return np.column_stack(blocks)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return `<column>_<part>` for every part."""
        names = self._names(input_features)
        pairs = zip(names, self.parts, strict=True)
        return np.asarray([f"{n}_{part}" for n, parts in pairs for part in parts], dtype=object)


PARTS = ("year", "month", "day", "weekday", "hour")


def datetime_part(times: np.ndarray, part: str) -> np.ndarray:
    """Return one calendar part of `times` (datetime64[us], UTC) as float64, NaN for NaT."""
    missing = np.isnat(times)
    filled = np.where(missing, np.datetime64(0, "us"), times)
    result: np.ndarray = _PART_OF[part](filled).astype(np.float64)
    result[missing] = np.nan
    return result


_PART_OF = {
    "year": lambda t: t.astype("datetime64[Y]").astype(np.int64) + 1970,
    "month": lambda t: t.astype("datetime64[M]").astype(np.int64) % 12 + 1,
    "day": lambda t: (t.astype("datetime64[D]") - t.astype("datetime64[M]")).astype(np.int64) + 1,
    # 1970-01-01 was a Thursday.
    "weekday": lambda t: (t.astype(np.int64) // _DAY + 3) % 7,
    "hour": lambda t: t.astype(np.int64) % _DAY // _HOUR,
}


class HashedWords(_Stateless):
    """The words of a text, each counted in the column that its hash points to.

    Rows have Euclidean length 1, or 0 where the text is missing or has no word. Nothing is
    learned, so a word that was never seen has its column too.

    Args:
        buckets: Number of columns that each text yields.

    Example:
        >>> import pandas as pd
        >>> HashedWords(16).fit_transform(pd.DataFrame({"t": ["a good day", None]})).shape
        (2, 16)
    """

    def __init__(self, buckets: int = 256) -> None:
        self.buckets = buckets

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return float64 of shape (rows, columns * buckets)."""
        hashing = HashingVectorizer(n_features=self.buckets, alternate_sign=False)
        values = np.array(X, dtype=object)
        values[pd.isna(values)] = ""
        return np.hstack([hashing.transform(column).toarray() for column in values.T])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return `<column>_<bucket>` for every bucket."""
        names = self._names(input_features)
        return np.asarray([f"{n}_{b}" for n in names for b in range(self.buckets)], dtype=object)
