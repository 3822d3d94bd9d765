"""A model folder loaded for scoring, without MLflow: checked before anything in it is trusted."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock import files
from penstock.errors import InputError, IntegrityError
from penstock.records.dataset import Column
from penstock.records.model import FILE_NAME, Model

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    # Arrow has no types that mypy could see.
    Rows: TypeAlias = Any | pa.Table | pa.RecordBatch | pd.DataFrame | Mapping[str, Sequence[Any]]

TRUSTED_TYPES = frozenset(
    {
        "numpy.dtype",
        "penstock.features.transformers.DatetimeParts",
        "penstock.features.transformers.HashedWords",
        "penstock.features.transformers.MissingLevel",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
    }
)
"""What a model file may hold besides skops' own defaults. Loading refuses anything else."""

STEPS = ("features", "estimator")


@dataclass(frozen=True)
class LoadedModel:
    """A model that has passed its checks.

    Args:
        record: What is known of it, from `penstock.json`.
        digest: Digest of its folder.
        pipeline: The fitted scikit-learn pipeline, which starts at the raw columns.
    """

    record: Model
    digest: str
    pipeline: Any

    def frame(self, rows: Rows) -> pd.DataFrame:
        """Return the pipeline's input: the record's columns, in order, converted.

        See `to_frame` for the conversions and the errors.
        """
        return to_frame(rows, self.record.columns)

    def scores(self, frame: pd.DataFrame) -> np.ndarray:
        """Return what the model says of every row of `frame`, as `frame()` made it.

        Binary: the probability of the positive class, shape (n,). Multiclass: probabilities in
        the order of `record.classes`, shape (n, k). Regression: the value, shape (n,).
        """
        import numpy as np
        from sklearn import config_context

        with (
            # `to_frame` has already looked for what these checks look for.
            config_context(assume_finite=True, skip_parameter_validation=True),
            _threads().limit(limits=1),
        ):
            if self.record.task == "regression":
                return np.asarray(self.pipeline.predict(frame), dtype=np.float64)
            scores = np.asarray(self.pipeline.predict_proba(frame), dtype=np.float64)
        if self.record.task == "multiclass":
            return scores
        return scores[:, self._positive_index()]

    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the predicted class of every row, or for a regression the value.

        Binary: the positive class where the score is at or above `record.threshold`.
        """
        return self.labels_of(self.scores(frame))

    def labels_of(self, scores: np.ndarray) -> np.ndarray:
        """Return the labels that `scores`, as `scores()` returned them, amount to."""
        import numpy as np

        if self.record.task == "regression":
            return scores
        classes: np.ndarray = np.asarray(self.pipeline.classes_)
        if self.record.task == "multiclass":
            return np.asarray(classes[scores.argmax(axis=1)])
        positive = self._positive_index()
        return classes[np.where(scores >= self.record.threshold, positive, 1 - positive)]

    def _positive_index(self) -> int:
        return self.record.classes.index(self.record.positive)


@functools.cache
def _threads() -> Any:
    """Return the handle on OpenMP's threads.

    Trees answer a few rows faster on one thread than on many, and beside other work on the same
    cores a hundred times faster: the threads wait for one another after each of the trees.
    """
    import sklearn.ensemble  # noqa: F401 - brings in the OpenMP library that is looked for
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="openmp")


def load(folder: Path, *, expected_digest: str = "") -> LoadedModel:
    """Load a model folder after checking that it is whole, known and safe to load.

    Args:
        folder: An MLflow model folder with `penstock.json` in it.
        expected_digest: Digest that the folder must have, as a decision or a registry names it.
            It is compared before anything in the folder is loaded. Empty: not compared.

    Raises:
        InputError: If the folder, its `MLmodel` or its `penstock.json` is absent or unreadable.
        IntegrityError: If the digest differs, the model holds a type that is not on the list, the
            record does not fit the fitted pipeline, or it was trained with another minor release
            of scikit-learn.
    """
    path = _model_file(folder)
    digest = files.digest_of_folder(folder)
    if expected_digest and digest != expected_digest:
        raise IntegrityError(
            f"the model's digest is {digest}, expected {expected_digest}",
            where=str(folder),
            remedy="The folder was altered or replaced: train and evaluate again.",
        )
    record = Model.read(folder / FILE_NAME)
    _check_listed(record.trusted_types, where=str(folder / FILE_NAME))
    _check_release(record, where=str(folder / FILE_NAME))
    pipeline = load_trusted(path)
    _check_fits(record, pipeline, where=str(folder))
    return LoadedModel(record=record, digest=digest, pipeline=pipeline)


def load_trusted(path: Path) -> Any:
    """Return the object in a skops file, if every type in it is on the list.

    Raises:
        InputError: If the file is absent.
        IntegrityError: If it is not a skops file or holds a type that is not on the list.
    """
    from sklearn.exceptions import InconsistentVersionWarning
    from skops.io import get_untrusted_types
    from skops.io import load as load_skops

    if not path.is_file():
        raise InputError("the file does not exist", where=str(path))
    try:
        foreign = get_untrusted_types(file=path)
    except Exception as error:
        raise IntegrityError(
            f"not a readable skops file: {type(error).__name__}: {error!s:.200}", where=str(path)
        ) from error
    _check_listed(foreign, where=str(path))
    with warnings.catch_warnings():
        # Patch releases differ without harm; `_check_release` has refused the others.
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        try:
            return load_skops(path, trusted=foreign)
        except Exception as error:
            raise IntegrityError(
                f"the skops file does not load: {type(error).__name__}: {error!s:.200}",
                where=str(path),
            ) from error


def to_frame(rows: Rows, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the named columns of `rows`, in that order, as training and serving both see them.

    integer, number and boolean become float64 with NaN for a missing value (a boolean is 1 or 0);
    string becomes objects that are text or None; datetime becomes datetime64[us] in UTC without a
    zone, NaT for missing. None, NaN and pandas' NA all count as missing. A datetime may also be
    ISO 8601 text. Columns that are not named are left out.

    Args:
        rows: An Arrow table or batch, a pandas frame, or lists of values by column name.
        columns: What to take.

    Raises:
        InputError: If a column is absent, there is no row, or a value cannot be converted or is
            infinite; the message names the column, the row (counted from 1) and the value.
    """
    import pandas as pd

    from penstock._convert import convert

    names = _names(rows)
    absent = [column.name for column in columns if column.name not in names]
    if absent:
        raise InputError(
            f"missing columns: {', '.join(map(repr, absent))}",
            where="input rows",
            remedy="Give every column that the model was trained with; a value may be null.",
        )
    taken = {column.name: convert(rows[column.name], column) for column in columns}
    lengths = {name: len(values) for name, values in taken.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"columns of different lengths: {lengths}", where="input rows")
    if not all(lengths.values()):
        raise InputError("there is no row", where="input rows")
    return pd.DataFrame(taken, copy=False)


def _names(rows: Rows) -> set[str]:
    if hasattr(rows, "column_names"):
        return set(rows.column_names)
    return set(rows.keys())


def _model_file(folder: Path) -> Path:
    import yaml

    for name in ("MLmodel", FILE_NAME):
        if not (folder / name).is_file():
            raise InputError(
                f"no {name} in the model folder",
                where=str(folder),
                remedy="Give the folder that the train step wrote.",
            )
    try:
        described = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        flavor = described["flavors"]["sklearn"]
        kind, name = flavor["serialization_format"], flavor["pickled_model"]
    except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise IntegrityError(
            "MLmodel does not describe a scikit-learn model", where=str(folder / "MLmodel")
        ) from error
    if kind != "skops" or Path(name).name != name:
        raise IntegrityError(
            f"the model is stored as {kind} in {name!r}; only skops beside MLmodel is loaded",
            where=str(folder / "MLmodel"),
            remedy="A pickle can run any code when it is loaded: save the model as skops.",
        )
    return folder / str(name)


def _check_listed(types: Sequence[str], *, where: str) -> None:
    foreign = sorted(set(types) - TRUSTED_TYPES)
    if foreign:
        raise IntegrityError(
            f"the model holds types that are not trusted: {', '.join(foreign)}",
            where=where,
            remedy="Only types listed in penstock.model.TRUSTED_TYPES are loaded.",
        )


def _check_release(record: Model, *, where: str) -> None:
    """Refuse another minor release of scikit-learn.

    A fitted tree is scikit-learn's internal state, whose meaning may change between minor releases
    without an error: a model that loads and answers differently is worse than one that does not
    load. Patch releases keep it.
    """
    import sklearn

    trained = record.libraries.get("scikit-learn", "unknown")
    if trained.split(".")[:2] != sklearn.__version__.split(".")[:2]:
        raise IntegrityError(
            f"trained with scikit-learn {trained}, but {sklearn.__version__} is installed",
            where=where,
            remedy="Serve the model from the image or lock file that trained it, or train again.",
        )


def _check_fits(record: Model, pipeline: Any, *, where: str) -> None:
    from sklearn.pipeline import Pipeline

    if not isinstance(pipeline, Pipeline) or tuple(n for n, _ in pipeline.steps) != STEPS:
        raise IntegrityError(
            f"the model is not a pipeline of the steps {' and '.join(STEPS)}", where=where
        )
    fitted = [str(name) for name in getattr(pipeline.steps[0][1], "feature_names_in_", ())]
    recorded = [column.name for column in record.columns]
    if fitted != recorded:
        raise IntegrityError(
            f"the record names the columns {recorded}, the pipeline was fitted on {fitted}",
            where=where,
        )
    classes = tuple(getattr(pipeline, "classes_", ()))
    if classes != record.classes:
        raise IntegrityError(
            f"the record names the classes {record.classes}, the pipeline has {classes}",
            where=where,
        )
    if record.task == "binary" and (
        record.threshold is None or record.positive not in record.classes
    ):
        raise IntegrityError(
            "a binary model's record needs a threshold and a positive class that it knows",
            where=where,
        )
