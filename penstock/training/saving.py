"""A fitted model as a folder: MLflow's form, skops inside, our record beside."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.common import files
from penstock.model import BACKGROUND_NAME, STEPS, TRUSTED_TYPES, skops_file
from penstock.model.folder import CODE_FOLDER, LOADER
from penstock.own_code.importing import adopted, is_own
from penstock.records.dataset import Column, ColumnType
from penstock.records.model import FILE_NAME, Level, Model, Task
from penstock.training import environment

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from mlflow.models import ModelSignature

    from penstock.training.inputs import Problem

EXAMPLE_ROWS = 3

BACKGROUND_ROWS = 50
"""Rows that the server sets an explained row against."""

BOOSTER_FOLDER = "booster"
"""Where the file of XGBoost or LightGBM is. It takes features, which the pipeline makes of rows."""

RARE_LEVELS = 1_000
"""Values of a category up to which those that are no features are listed too."""

_RARE_TEXT = 100_000
"""Characters of all these values together, likewise."""


@dataclass(frozen=True)
class CarriedRows:
    """What a model may carry of the rows that it learned from.

    Args:
        first: The first few, MLflow's example.
        spread: Some evenly spread ones, as the pipeline takes them.
        texts: The values of each text column that is a category.
    """

    first: pd.DataFrame
    spread: pd.DataFrame
    texts: Mapping[str, Collection[str]]

    @staticmethod
    def places(rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places, among so many rows, of the first ones and of the spread ones."""
        import numpy as np

        spread = np.linspace(0, rows - 1, min(BACKGROUND_ROWS, rows)).astype(int)
        return np.arange(min(EXAMPLE_ROWS, rows)), spread

    @classmethod
    def of(cls, frame: pd.DataFrame) -> CarriedRows:
        """Return them of rows that are at hand."""
        first, spread = cls.places(len(frame))
        return cls(
            frame.iloc[first],
            frame.iloc[spread],
            {
                str(name): set(values.dropna())
                for name, values in frame.items()
                if values.dtype.kind == "O"
            },
        )


def carried_rows(problem: Problem) -> CarriedRows:
    """Return the rows and values that a model may carry of its training part."""
    places = CarriedRows.places(len(problem.y))
    names = [column.name for column in problem.inputs]
    return CarriedRows(
        first=problem.read(places[0], names),
        spread=problem.read(places[1], names),
        texts=problem.columns.texts,
    )


def save_model(
    folder: Path,
    *,
    transformer: Any,
    estimator: Any,
    record: Model,
    frame: pd.DataFrame | None = None,
    carried: CarriedRows | None = None,
    booster: tuple[str, bytes] | None = None,
) -> Model:
    """Write a fitted model into a folder that does not exist or is empty.

    Args:
        folder: Where to write.
        transformer: The fitted features, the pipeline's first step.
        estimator: The fitted estimator, its second.
        record: What is known of the model; `trusted_types` is filled in here, and so is `levels`
            where it is None.
        frame: Raw rows as the pipeline takes them, in place of `carried`.
        carried: If the record says that the model carries rows, the first few become the input
            example, and some evenly spread ones `background.json`.
        booster: Of XGBoost and LightGBM, their own file: its name and content. It is put into
            `booster/`, for other servers; nothing here reads it.

    Returns:
        The record as it was written, as `penstock.json`.

    Raises:
        ValueError: If neither `frame` nor `carried` is given.
    """
    if carried is None:
        if frame is None:
            raise ValueError("Give rows: frame or carried.")
        carried = CarriedRows.of(frame)
    import mlflow.sklearn
    from skops.io import get_untrusted_types

    pipeline = pipeline_of(record, transformer, estimator)
    code = "" if record.code is None else record.code.digest
    with warnings.catch_warnings():
        # MLflow's warning about its own type hints, given when it imports its pyfunc flavour.
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
        mlflow.sklearn.save_model(
            pipeline,
            str(folder),
            serialization_format="skops",
            skops_trusted_types=sorted(TRUSTED_TYPES | _own_types(pipeline, code)),
            # Inferring them would import and run the model in another process: 9 seconds.
            pip_requirements=environment.requirements(
                () if record.code is None else record.code.libraries
            ),
            signature=_signature(record.columns, pipeline, task=record.task),
            input_example=carried.first if record.carries_rows else None,
        )
    if code:
        write_code(folder, code)
    skops_file.make_repeatable(folder / "model.skops")
    found = get_untrusted_types(file=folder / "model.skops")
    levels = record.levels
    if levels is None:
        levels = tuple(_levels(transformer, carried.texts, rare=record.carries_rows))
    written = record.model_copy(update={"trusted_types": tuple(sorted(found)), "levels": levels})
    written.write(folder / FILE_NAME)
    if record.carries_rows:
        rows = _background(carried.spread, record.columns)
        files.write_text(folder / BACKGROUND_NAME, files.canonical_json(rows) + "\n")
    if booster is not None:
        name, content = booster
        (folder / BOOSTER_FOLDER).mkdir()
        (folder / BOOSTER_FOLDER / name).write_bytes(content)
    return written


def pipeline_of(record: Model, transformer: Any, estimator: Any) -> Any:
    """Return the pipeline from a client's rows to a label or value, of two fitted steps."""
    import pandas as pd
    from sklearn.model_selection import FixedThresholdClassifier
    from sklearn.pipeline import Pipeline

    from penstock.features.transformers import RawColumns

    names = [column.name for column in record.columns]
    columns = RawColumns(
        [[column.name, column.type] for column in record.columns],
        None if record.reading is None else record.reading.model_dump(mode="json"),
    ).fit(pd.DataFrame(columns=names))
    if record.task == "binary":
        # Without it, MLflow's flavours would cut at 0.5 and give other labels than the server.
        decided = FixedThresholdClassifier(
            estimator,
            threshold=record.threshold,
            pos_label=record.positive,
            response_method="predict_proba",
        )
        # `fit` would fit the estimator again.
        decided.estimator_ = estimator
        estimator = decided
    return Pipeline(list(zip(STEPS, (columns, transformer, estimator), strict=True)))


def _own_types(pipeline: Any, code: str) -> set[str]:
    """Return the types of the project's own code that a pipeline holds."""
    from skops.io import dumps, get_untrusted_types

    if not code:
        return set()
    return {kind for kind in get_untrusted_types(data=dumps(pipeline)) if is_own(kind, code)}


def write_code(folder: Path, digest: str) -> None:
    """Put the project's own code, which this process runs, into a model folder.

    MLflow's flavour for Python then goes through our loader, which compares the digest: by MLflow's
    own way the code would be imported unseen, and its bytecode be left in the folder.
    """
    from mlflow.models import Model as Described

    adopted(digest).write(folder / CODE_FOLDER)
    described = Described.load(str(folder))
    described.flavors["python_function"]["loader_module"] = LOADER
    described.save(str(folder / "MLmodel"))


def _background(spread: pd.DataFrame, columns: Sequence[Column]) -> dict[str, list[Any]]:
    """Return rows as JSON values by column, null where missing."""
    return {
        column.name: [
            None if missing else _PLAIN[column.type](value)
            for value, missing in zip(spread[column.name], spread[column.name].isna(), strict=True)
        ]
        for column in columns
    }


_PLAIN: dict[ColumnType, Callable[[Any], Any]] = {
    "integer": int,
    "number": float,
    "boolean": bool,
    "string": str,
    "datetime": lambda time: time.isoformat() + "+00:00",
}


def _levels(
    transformer: Any, texts: Mapping[str, Collection[str]], *, rare: bool
) -> Iterator[Level]:
    """Yield the values of each text column that is a category, as served rows hold them."""
    from penstock.features.levels import MISSING

    for group, fitted, names in transformer.transformers_:
        if group != "categories":
            continue
        encoder = fitted["levels"]
        shared = encoder.infrequent_categories_
        for name, levels, few in zip(names, encoder.categories_, shared, strict=True):
            kept = set(levels.tolist()) - {MISSING} - set([] if few is None else few.tolist())
            every = set(texts[name])
            few_enough = len(every) <= RARE_LEVELS and sum(map(len, every)) <= _RARE_TEXT
            listed = every if rare and few_enough else kept
            yield Level(column=name, values=tuple(sorted(listed)), complete=every <= listed)


def _signature(columns: Sequence[Column], pipeline: Any, *, task: Task) -> ModelSignature:
    """Return the names of what the pipeline takes, and the type of what it gives.

    The inputs have no types: MLflow refuses whole numbers where doubles are declared and doubles
    where whole numbers are, while one missing value makes pandas turn the one into the other. The
    pipeline's first step checks every value itself.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    labels = {"b": DataType.boolean, "i": DataType.long, "U": DataType.string}
    output = DataType.double if task == "regression" else labels[pipeline.classes_.dtype.kind]
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), column.name) for column in columns]),
        outputs=Schema([ColSpec(output)]),
    )
