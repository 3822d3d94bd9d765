"""A scikit-learn model run without its `ColumnTransformer`, which costs ten times the estimator.

Nine tenths of what scikit-learn takes for a row go into cutting a data frame into groups of columns
and checking each of them again. The values of a request have been checked and typed, so that what
is left is a few lines of numpy for each of our own features. The estimator is called as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.common.times import times_of
from penstock.data.table.frames import check_rows

if TYPE_CHECKING:
    from penstock.model import LoadedModel
    from penstock.records.model import Model
    from penstock.serving.prediction import Scorer

Columns = Mapping[str, Any]
Block = Callable[[Columns, int], np.ndarray]
"""From columns, as `Scorer.scores_of` takes them, and their length to features, (rows, k)."""


@dataclass(frozen=True)
class DirectModel:
    """A model of scikit-learn whose features are computed here.

    Args:
        model: The model.
    """

    model: LoadedModel
    _blocks: tuple[Block, ...]

    @property
    def record(self) -> Model:
        """What is known of the model."""
        return self.model.record

    @property
    def digest(self) -> str:
        """Digest of the model's folder."""
        return self.model.digest

    @property
    def runtime(self) -> str:
        """What computes the scores."""
        return self.model.runtime

    def scores_of(self, columns: Columns) -> np.ndarray:
        """Return what `LoadedModel.scores_of` does, to the last bit.

        Raises:
            InputError: If a column is absent, or the columns have different lengths.
        """
        check_rows(columns, self.record.columns)
        rows = len(columns[self.record.columns[0].name])
        features = np.concatenate([block(columns, rows) for block in self._blocks], axis=1)
        return self.model.scores_of_features(features)

    def labels_of(self, scores: np.ndarray) -> np.ndarray:
        """Return the labels that the scores amount to."""
        return self.model.labels_of(scores)


def scorer(model: LoadedModel) -> Scorer:
    """Return what answers for a model: its features computed directly, if all of them are ours."""
    blocks = _blocks(model.typed.steps[0][1])
    return model if blocks is None else DirectModel(model, blocks)


def _blocks(features: Any) -> tuple[Block, ...] | None:
    from sklearn.compose import ColumnTransformer

    if type(features) is not ColumnTransformer or features.transformer_weights:
        return None
    blocks = []
    for _, fitted, names in features.transformers_:
        if isinstance(fitted, str):
            # Columns that are dropped.
            continue
        make = _maker(fitted)
        if make is None or not isinstance(names, list):
            return None
        blocks.append(make(names))
    return tuple(blocks)


def _maker(fitted: Any) -> Callable[[Sequence[str]], Block] | None:
    """Return what makes a block from the names of its columns; None: it is none of ours."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    from penstock.features.transformers import (
        CommonLevels,
        DatetimeParts,
        HashedWords,
        MissingLevel,
    )

    steps = [step for _, step in fitted.steps] if type(fitted) is Pipeline else [fitted]
    kinds = [type(step) for step in steps]
    if kinds == [FunctionTransformer] and steps[0].func is None:
        return _numbers
    if kinds == [MissingLevel, CommonLevels]:
        return lambda names: _levels(steps[1], names, missing=steps[0].level)
    if kinds == [CommonLevels]:
        return lambda names: _levels(steps[0], names, missing=None)
    if kinds == [DatetimeParts]:
        return lambda names: _times(steps[0].parts, names)
    if kinds == [HashedWords]:
        return lambda names: _words(steps[0], names)
    return None


def _numbers(names: Sequence[str]) -> Block:
    def block(columns: Columns, rows: int) -> np.ndarray:
        flat = np.concatenate([columns[name] for name in names], dtype=np.float64)
        return flat.reshape(len(names), rows).T

    return block


def _levels(encoder: Any, names: Sequence[str], *, missing: str | None) -> Block:
    """One column a level, for texts, or for numbers where `missing` is None.

    See `sklearn.preprocessing.OneHotEncoder`: levels that it calls infrequent share the last column
    of their feature, together with those that it does not know.
    """
    places: list[dict[Any, int]] = []
    others: list[int | None] = []
    width = 0
    for levels, rare in zip(encoder.categories_, encoder.infrequent_categories_, strict=True):
        merged = {_key(level) for level in (() if rare is None else rare.tolist())}
        common = [key for key in map(_key, levels.tolist()) if key not in merged]
        places.append({key: width + at for at, key in enumerate(common)})
        width += len(common)
        others.append(width if merged else None)
        width += bool(merged)

    def block(columns: Columns, rows: int) -> np.ndarray:
        found = np.zeros((rows, width))
        for name, place, other in zip(names, places, others, strict=True):
            values = columns[name]
            keys = (
                [_key(value) for value in np.asarray(values, dtype=np.float64).tolist()]
                if missing is None
                else [missing if text is None else text for text in values]
            )
            for row, key in enumerate(keys):
                at = place.get(key, other)
                if at is not None:
                    found[row, at] = 1.0
        return found

    return block


def _key(level: Any) -> Any:
    """Return a level as a dictionary finds it: not a number is equal to itself there."""
    return "nan" if level != level else level


def _times(parts: Sequence[Sequence[str]], names: Sequence[str]) -> Block:
    from penstock.features.transformers import datetime_part

    def block(columns: Columns, _rows: int) -> np.ndarray:
        return np.column_stack(
            [
                datetime_part(times_of(columns[name]), part)
                for name, its_parts in zip(names, parts, strict=True)
                for part in its_parts
            ]
        )

    return block


def _words(hashing: Any, names: Sequence[str]) -> Block:
    def block(columns: Columns, rows: int) -> np.ndarray:
        texts = [text for name in names for text in columns[name]]
        table = np.array(texts, dtype=object).reshape(len(names), rows).T
        return np.asarray(hashing.transform(table))

    return block
