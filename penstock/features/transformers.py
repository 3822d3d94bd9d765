"""What scikit-learn has no transformer for. Small, importable, and on the model's list of types.

Imported only where a transformer is built or a model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.validation import validate_data

from penstock.data.table.frames import to_frame
from penstock.features.levels import MISSING, kept_levels, stand_in
from penstock.records.dataset import Column, Reading

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
            InputError: See `penstock.data.table.frames.to_frame`.
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


class CommonLevels(OneHotEncoder):  # type: ignore[misc]
    """One column for each common level, and one that rare and unseen levels share.

    What scikit-learn's `OneHotEncoder` gives with `min_frequency` and `max_categories`, except that
    rare levels are merged before it is fitted: it would store every one of them, such as the
    numbers of all customers. In `categories_` one level of its own stands for them.

    Args:
        rare_share: Levels in a smaller share of the rows are rare.
        max_levels: Levels that are kept at most, the commonest.
        levels: For each column the levels to keep, in ascending order, where rows were counted
            before; None: `fit` counts the rows that it is given.
        others: Then for each column whether its rows had other levels too.

    Example:
        >>> import numpy as np
        >>> rows = np.array([["x"], ["x"], ["y"], ["z"]], dtype=object)
        >>> CommonLevels(rare_share=0.4).fit(rows).transform([["x"], ["z"], ["new"]]).tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """

    # Transformers of older releases have none.
    levels: Sequence[Sequence[Any]] | None = None
    others: Sequence[bool] | None = None

    def __init__(
        self,
        rare_share: float = 0.0,
        max_levels: int = 100,
        levels: Sequence[Sequence[Any]] | None = None,
        others: Sequence[bool] | None = None,
    ) -> None:
        super().__init__(
            handle_unknown="infrequent_if_exist", min_frequency=_COMMON, sparse_output=False
        )
        self.rare_share = rare_share
        self.max_levels = max_levels
        self.levels = levels
        self.others = others

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Learn the levels of each column.

        Args:
            X: Columns of texts, or of numbers, NaN for missing; shape (rows, columns).
            y: Not used.
        """
        frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X))
        text = [kind.kind == "O" for kind in frame.dtypes]
        learned = [
            _rows_of(levels, others=others, text=is_text)
            for (levels, others), is_text in zip(self._kept(frame), text, strict=True)
        ]
        height = max(len(levels) for levels in learned)
        columns = {
            # What stands first is a common level, if there is any: it may be there more often.
            name: pd.Series(levels[:1] * (height - len(levels)) + levels, dtype=kind)
            for (name, kind), levels in zip(frame.dtypes.items(), learned, strict=True)
        }
        few = pd.DataFrame(columns)
        super().fit(few if isinstance(X, pd.DataFrame) else few.to_numpy(), y)
        return self

    def _kept(self, frame: pd.DataFrame) -> list[tuple[Sequence[Any], bool]]:
        """Return the levels to keep of each column, and whether there are others."""
        if self.levels is not None and self.others is not None:
            return list(zip(self.levels, self.others, strict=True))
        return [self._counted(frame.iloc[:, at]) for at in range(frame.shape[1])]

    def _counted(self, values: pd.Series) -> tuple[Sequence[Any], bool]:
        counts = values.value_counts(dropna=False, sort=False).to_dict()
        kept = kept_levels(
            counts, rows=len(values), rare_share=self.rare_share, max_levels=self.max_levels
        )
        return kept.levels, kept.other_rows > 0


_COMMON = 2


def _rows_of(levels: Sequence[Any], *, others: bool, text: bool) -> list[Any]:
    """Return each level as often as makes it a common one, and what stands for the others."""
    rows = [level for level in levels for _ in range(_COMMON)]
    if not others:
        return rows
    return [*rows, stand_in(levels, text=text)]


class Doubles(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Whatever the step before makes, as 64-bit floats.

    Example:
        >>> Doubles().fit_transform([[1, True]]).tolist()
        [[1.0, 1.0]]
    """

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Learn nothing."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return that there is nothing to learn."""
        return True

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the same numbers, dense, shape (rows, columns)."""
        dense = X.toarray() if hasattr(X, "toarray") else X
        return np.asarray(dense, dtype=np.float64)


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

CYCLES = {"month": 365, "day": 31, "weekday": 7, "hour": 1}
"""Days after which each part has had all its values, and comes again; a year never does."""


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
