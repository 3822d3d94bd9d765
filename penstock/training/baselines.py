"""The constant baseline, which ignores the features: fitted in training, or made again later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock import model as models
from penstock.data.task import as_label
from penstock.records.dataset import FILE_NAME, Dataset
from penstock.records.model import Model, Task
from penstock.training.saving import save_model


def constant_name(task: Task) -> str:
    """Return what the constant baseline of a task is called."""
    return "mean" if task == "regression" else "majority"


def constant_estimator(task: Task) -> Any:
    """Return the unfitted estimator: it predicts the class shares, or the mean."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return DummyRegressor() if task == "regression" else DummyClassifier(strategy="prior")


def constant_threshold(task: Task) -> float | None:
    """Return its threshold, at which the commoner class is predicted: there is none to choose."""
    return 0.5 if task == "binary" else None


def rebuild_constant(model: Path, *, output: Path) -> Path | None:
    """Write the baseline that training wrote beside a model, where that folder is not at hand.

    Its prediction is a constant: the shares of the classes in the training part, or the mean of the
    target. Both stand in the record of the training part that the model folder carries.

    Args:
        model: The model's folder.
        output: Folder to make: `majority` or `mean` in it, as `train` writes them.

    Returns:
        `output`. None if the folder lacks what it takes: an older release made it, without a record
        of its training part, or of more than ten classes.

    Raises:
        InputError: If the folder cannot be read.
        IntegrityError: If the model is not whole or not trusted.
    """
    loaded = models.load(model, run_code=True)
    record = loaded.record
    weights = _weights(model, record)
    if weights is None:
        return None
    import numpy as np

    values, counts = weights
    estimator = constant_estimator(record.task)
    estimator.fit(np.zeros((len(values), 1)), np.array(values), sample_weight=np.array(counts))
    name = constant_name(record.task)
    save_model(
        output / name,
        transformer=loaded.pipeline["features"],
        estimator=estimator,
        # Of a model without rows one that lacks every value: only the types count then.
        frame=loaded.frame(models.background(model) or {c.name: [None] for c in record.columns}),
        record=record.model_copy(
            update={
                "name": name,
                "parameters": {},
                "threshold": constant_threshold(record.task),
            }
        ),
    )
    return output


def _weights(model: Path, record: Model) -> tuple[list[Any], list[float]] | None:
    """Return values of the target and how many rows of the training part hold each."""
    if record.class_rows:
        return list(record.classes), [float(rows) for rows in record.class_rows]
    if not (model / FILE_NAME).is_file():
        return None
    dataset = Dataset.read(model / FILE_NAME)
    target = dataset.column(record.target)
    if target is None or dataset.content != record.dataset:
        return None
    if record.task == "regression":
        mean = target.profile.mean
        return None if mean is None else ([mean], [1.0])
    # An older release: the profile has the rows of ten classes.
    rows = {as_label(target, level.value): float(level.rows) for level in target.profile.top}
    counts = [rows.get(label, 0.0) for label in record.classes]
    return (list(record.classes), counts) if sum(counts) == dataset.rows else None
