"""A model folder loaded for scoring, without MLflow: checked before anything in it is trusted."""

from __future__ import annotations

import functools
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from penstock.common import files
from penstock.errors import InputError, IntegrityError
from penstock.own_code.importing import is_own
from penstock.records import export, signatures
from penstock.records.model import FILE_NAME, Model

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from penstock.data.table.frames import Rows

TRUSTED_TYPES = frozenset(
    {
        "numpy.dtype",
        "sklearn.model_selection._classification_threshold.FixedThresholdClassifier",
        "penstock.features.transformers.CommonLevels",
        "penstock.features.transformers.DatetimeParts",
        "penstock.features.transformers.Doubles",
        "penstock.features.transformers.HashedWords",
        "penstock.features.transformers.MissingLevel",
        "penstock.features.transformers.RawColumns",
        "penstock.model.boosted.BoostedClassifier",
        "penstock.model.boosted.BoostedRegressor",
        "penstock.model.calibrated.CalibratedClassifier",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
    }
)
"""What a model file may hold besides skops' own defaults. Loading refuses anything else."""


STEPS = ("columns", "features", "estimator")
"""A pipeline's steps: values get their columns' types, become features, and are scored."""

BACKGROUND_NAME = "background.json"

_MADE_LATER = export.FILES | signatures.FILES


@dataclass(frozen=True)
class LoadedModel:
    """A model that has passed its checks.

    Args:
        record: What is known of it, from `penstock.json`.
        digest: Digest of its folder.
        pipeline: The fitted scikit-learn pipeline, which starts at the raw columns.
    """

    runtime: ClassVar[str] = "sklearn"

    record: Model
    digest: str
    pipeline: Any

    def scores_of(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Return what `scores` does, of columns whose values have been checked already.

        Args:
            columns: By the record's names, all n > 0 long. integer, number, boolean: a float64
                array, NaN for missing; string: a list of text or None; datetime: a list of aware
                datetimes or None, or a datetime64[us] array in UTC, NaT for missing.

        Raises:
            InputError: If a column is absent, or the columns have different lengths.
        """
        from penstock.data.table.frames import typed_frame

        return self.scores(typed_frame(columns, self.record.columns))

    def frame(self, rows: Rows) -> pd.DataFrame:
        """Return the record's columns, in order, of their types.

        See `penstock.data.table.frames.to_frame` for the conversions and the errors.
        """
        from penstock.data.table.frames import to_frame

        return to_frame(rows, self.record.columns, self.record.reading)

    @functools.cached_property
    def typed(self) -> Any:
        """The pipeline's features and estimator, for frames of the columns' types."""
        return scoring_part(self.pipeline)

    def scores(self, frame: pd.DataFrame) -> np.ndarray:
        """Return what the model predicts of every row of `frame`, as `frame()` made it.

        Binary: the probability of the positive class, shape (n,). Multiclass: probabilities in
        the order of `record.classes`, shape (n, k). Regression: the value, shape (n,).
        """
        return self._scores(self.typed, frame)

    def scores_of_features(self, features: np.ndarray) -> np.ndarray:
        """Return what `scores` does, of rows that are features already.

        Args:
            features: What the pipeline's features step makes of the rows, float64, (n, k).
        """
        return self._scores(self.typed.steps[-1][1], features)

    def _scores(self, fitted: Any, rows: Any) -> np.ndarray:
        import numpy as np
        from sklearn import config_context

        record = self.record
        with (
            # `to_frame` has already looked for what these checks look for.
            config_context(assume_finite=True, skip_parameter_validation=True),
            _threads().limit(limits=1),
            nullcontext() if record.code is None else _of_own_code(record),
        ):
            asked = fitted.predict if record.task == "regression" else fitted.predict_proba
            scores = np.asarray(asked(rows), dtype=np.float64)
        expected = (len(rows), len(record.classes)) if record.classes else (len(rows),)
        if scores.shape != expected:
            # Whoever asked would give one row another one's answer.
            raise InputError(
                f"it answers {len(rows):,} rows with an array of shape {scores.shape}, not "
                f"{expected}",
                where=_where(record),
                remedy="Correct the project's code, and train again.",
            )
        return scores[:, positive_index(record)] if record.task == "binary" else scores

    def labels(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the predicted class of every row, or for a regression the value.

        Binary: the positive class where the score is at or above `record.threshold`.
        """
        return self.labels_of(self.scores(frame))

    def labels_of(self, scores: np.ndarray) -> np.ndarray:
        """Return the labels that `scores`, as `scores()` returned them, amount to."""
        return labels_of(self.record, scores)


@contextmanager
def _of_own_code(record: Model) -> Iterator[None]:
    """Put what the project's own code raises into a sentence."""
    try:
        yield
    except Exception as error:
        raise InputError(
            f"asked for a score it raises {type(error).__name__}: {error!s:.300}",
            where=_where(record),
            remedy="Leave out the rows that it cannot take, or correct the project's code and "
            "train again.",
        ) from error


def _where(record: Model) -> str:
    return f"{record.name} model of {record.target!r}"


def scoring_part(pipeline: Any) -> Any:
    """Return a pipeline without what reads values and what applies the threshold."""
    from sklearn.model_selection import FixedThresholdClassifier

    _, features, (name, last) = pipeline.steps
    estimator = last.estimator if isinstance(last, FixedThresholdClassifier) else last
    return type(pipeline)([features, (name, estimator)])


def digest_of(folder: Path) -> str:
    """Return the digest that identifies a model: of its folder without what was made of it later.

    That is what was exported from it, which has a digest of its own, and the signatures on it.

    Raises:
        InputError: See `penstock.common.files.digest_of_folder`.
    """
    return files.digest_of_folder(folder, without=_MADE_LATER)


def export_digest_of(folder: Path) -> str:
    """Return the digest of what was exported from a model into its folder; empty: nothing was.

    With `digest_of` it covers every file in the folder but the signatures.

    Raises:
        InputError: See `penstock.common.files.digest_of_folder`.
    """
    place = folder / export.FOLDER
    held = place.is_dir() and any(not path.is_dir() for path in place.rglob("*"))
    return files.digest_of_folder(place) if held else ""


def copy_without_export(folder: Path, to: Path) -> None:
    """Copy what `digest_of` covers: nobody has approved what an export made elsewhere holds."""

    def made_later(at: str, names: list[str]) -> list[str]:
        paths = {name: Path(at) / name for name in names}
        return [
            name
            for name, path in paths.items()
            if path.relative_to(folder).as_posix() in _MADE_LATER and path.is_file()
        ]

    shutil.copytree(folder, to, ignore=made_later)
    for place in (to / export.FOLDER, to / signatures.FOLDER):
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


def file_of(folder: Path) -> Path:
    """Return the skops file that a model folder's `MLmodel` names.

    Raises:
        InputError: If `MLmodel` or `penstock.json` is absent.
        IntegrityError: If the model is stored otherwise, or elsewhere.
    """
    from penstock.model.folder import model_file

    return model_file(folder)


def background(folder: Path) -> dict[str, list[Any]]:
    """Return rows of the training part that a model was saved with, to set other rows against.

    Returns:
        Up to 50 values by column, all of one length: JSON values, times as ISO 8601 text, None for
        missing. Empty if the model was saved without any.

    Raises:
        IntegrityError: If the file is there and does not hold that.
    """
    path = folder / BACKGROUND_NAME
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        lengths = {len(values) for values in rows.values() if isinstance(values, list)}
    except (ValueError, AttributeError) as error:
        raise IntegrityError("not lists of values by column", where=str(path)) from error
    if len(lengths) != 1 or not all(isinstance(values, list) for values in rows.values()):
        raise IntegrityError("not lists of one length by column", where=str(path))
    return dict(rows)


def positive_index(record: Model) -> int:
    """Return where a binary model's positive class stands among its classes."""
    return record.classes.index(record.positive)


def labels_of(record: Model, scores: np.ndarray) -> np.ndarray:
    """Return the labels that a model's scores amount to; for a regression, the scores.

    Binary: the positive class where the score is at or above `record.threshold`.
    """
    import numpy as np

    if record.task == "regression":
        return scores
    classes: np.ndarray = np.asarray(record.classes)
    if record.task == "multiclass":
        return np.asarray(classes[scores.argmax(axis=1)])
    positive = positive_index(record)
    return classes[np.where(scores >= record.threshold, positive, 1 - positive)]


@functools.cache
def _threads() -> Any:
    """Return the handle on OpenMP's threads.

    Trees answer a few rows faster on one thread than on many, and beside other work on the same
    cores a hundred times faster: the threads wait for one another after each of the trees.
    """
    import sklearn.ensemble  # noqa: F401 - brings in the OpenMP library that is looked for
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="openmp")


def load(folder: Path, *, expected_digest: str = "", run_code: bool = False) -> LoadedModel:
    """Load a model folder after checking that it is whole, known and safe to load.

    Args:
        folder: An MLflow model folder with `penstock.json` in it.
        expected_digest: Digest that the folder must have, as a decision or a registry names it.
            It is compared before anything in the folder is loaded. Empty: not compared.
        run_code: Whether a folder of which no digest is expected may bring code of the project's
            own, which is run: True where a step of the same run made the folder.

    Raises:
        InputError: If the folder, its `MLmodel` or its `penstock.json` is absent or unreadable.
        IntegrityError: If the digest differs, the model holds a type that is not on the list, the
            record does not fit the fitted pipeline, it was trained with another minor release
            of scikit-learn, or its own code is not the one that trained it, needs a library that
            is not here, or may not be run.
    """
    from penstock.model.folder import check_fits, check_release, model_file, take_code

    path = model_file(folder)
    digest = digest_of(folder)
    if expected_digest and digest != expected_digest:
        raise IntegrityError(
            f"the model's digest is {digest}, expected {expected_digest}",
            where=str(folder),
            remedy="The folder was altered or replaced: train and evaluate again.",
        )
    record = Model.read(folder / FILE_NAME)
    code = "" if record.code is None else record.code.digest
    _check_listed(record.trusted_types, where=str(folder / FILE_NAME), code=code)
    check_release(record, where=str(folder / FILE_NAME))
    if record.code is not None:
        take_code(folder, record.code, allowed=bool(expected_digest) or run_code)
    pipeline = load_trusted(path, code=code)
    check_fits(record, pipeline, steps=STEPS, where=str(folder))
    return LoadedModel(record=record, digest=digest, pipeline=pipeline)


def load_trusted(path: Path, *, code: str = "") -> Any:
    """Return the object in a skops file, if every type in it is on the list.

    Args:
        path: The file.
        code: Digest of code of the project's own, which was adopted: its types are trusted too.
            Their names hold the digest, so no other code can stand in for them.

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
    _check_listed(foreign, where=str(path), code=code)
    with warnings.catch_warnings():
        # Patch releases differ without harm; `check_release` has refused the others.
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        try:
            return load_skops(path, trusted=foreign)
        except Exception as error:
            raise IntegrityError(
                f"the skops file does not load: {type(error).__name__}: {error!s:.200}",
                where=str(path),
            ) from error


def _check_listed(types: Sequence[str], *, where: str, code: str) -> None:
    foreign = sorted(kind for kind in types if not is_trusted(kind, code=code))
    if foreign:
        raise IntegrityError(
            f"the model holds types that are not trusted: {', '.join(foreign)}",
            where=where,
            remedy="Only types listed in penstock.model.TRUSTED_TYPES are loaded, and those of the "
            "code that the model carries.",
        )


def is_trusted(kind: str, *, code: str) -> bool:
    """Return whether a type may be loaded.

    Args:
        kind: Its name, with its module.
        code: Digest of the project's own code that was adopted; empty: there is none.
    """
    return kind in TRUSTED_TYPES or is_own(kind, code)
