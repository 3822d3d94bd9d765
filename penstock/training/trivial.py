"""The baseline that looks at nothing, made again from what a model folder says of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock import model as models
from penstock.records.dataset import FILE_NAME, Dataset
from penstock.records.model import Label, Model
from penstock.training.estimators import baseline
from penstock.training.saving import save_model


def trivial_baseline(model: Path, *, output: Path) -> Path | None:
    """Write the baseline that training wrote beside a model, where that folder is not at hand.

    Its answer is a constant: the shares of the classes in the training part, or the mean of the
    target. Both stand in the record of the training part that the model folder carries.

    Args:
        model: The model's folder.
        output: Folder to make: `majority` or `mean` in it, as `train` writes them.

    Returns:
        `output`. None if the folder does not tell: it has no record of its training part, or the
        target has more classes than the record counts.

    Raises:
        InputError: If the folder cannot be read.
        IntegrityError: If the model is not whole or not trusted.
    """
    loaded = models.load(model)
    record = loaded.record
    weights = _weights(model, record)
    rows = models.background(model)
    if weights is None or not rows:
        return None
    import numpy as np

    values, counts = weights
    estimator = baseline(record.task)
    estimator.fit(np.zeros((len(values), 1)), np.array(values), sample_weight=np.array(counts))
    name = "mean" if record.task == "regression" else "majority"
    save_model(
        output / name,
        transformer=loaded.pipeline["features"],
        estimator=estimator,
        frame=loaded.frame(rows),
        record=record.model_copy(
            update={
                "name": name,
                "parameters": {},
                # A constant score has no threshold to choose: the commoner class is predicted.
                "threshold": 0.5 if record.task == "binary" else None,
            }
        ),
    )
    return output


def _weights(model: Path, record: Model) -> tuple[list[Any], list[float]] | None:
    """Return values of the target and how many rows of the training part hold each."""
    if not (model / FILE_NAME).is_file():
        return None
    dataset = Dataset.read(model / FILE_NAME)
    target = dataset.column(record.target)
    if target is None or dataset.content != record.dataset:
        return None
    if record.task == "regression":
        mean = target.profile.mean
        return None if mean is None else ([mean], [1.0])
    rows = {level.value: float(level.rows) for level in target.profile.top}
    counts = [rows.get(_written(label), 0.0) for label in record.classes]
    return (list(record.classes), counts) if sum(counts) == dataset.rows else None


def _written(label: Label) -> str:
    """Return a label as a dataset's record writes it."""
    return str(label).lower() if isinstance(label, bool) else str(label)
