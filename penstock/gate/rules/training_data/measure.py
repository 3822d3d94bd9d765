"""What is known of the rows that the candidate learned from, and how far they have moved."""

from __future__ import annotations

from pathlib import Path

from penstock.gate.rules.training_data.spec import TrainingData, TrainingDataSpec
from penstock.records.health import FILE_NAME as HEALTH_NAME
from penstock.records.health import ColumnFigure, ColumnNote, TrainingHealth
from penstock.records.model import FILE_NAME as MODEL_NAME
from penstock.records.model import Model
from penstock.records.reference import FILE_NAME as REFERENCE_NAME
from penstock.records.reference import Reference


def measure_training_data(
    settings: TrainingDataSpec, *, model: Path, champion: Path | None
) -> TrainingData:
    """Read what the candidate carries of its rows, and hold it against what the champion carries.

    Args:
        settings: Of the rule.
        model: The candidate's folder.
        champion: The champion's folder; None while there is none.
    """
    health = TrainingHealth.read(model / HEALTH_NAME) if (model / HEALTH_NAME).is_file() else None
    if settings.drift_at_most is None:
        return TrainingData(health=health, drift_note="not asked")
    if champion is None:
        return TrainingData(health=health, drift_note="no champion was given to compare with")
    for name, folder in (("model", model), ("champion", champion)):
        if not (folder / REFERENCE_NAME).is_file():
            note = f"the {name} does not carry the distributions of its training data"
            return TrainingData(health=health, drift_note=note)
    return _drift(model, champion).model_copy(update={"health": health})


def _drift(model: Path, champion: Path) -> TrainingData:
    from penstock.data.profile.reference import drift

    records = [Model.read(folder / MODEL_NAME) for folder in (model, champion)]
    looked_at = {column.name for record in records for column in record.columns}
    looked_at |= {record.target for record in records}
    found = drift(Reference.read(champion / REFERENCE_NAME), Reference.read(model / REFERENCE_NAME))
    figures = [ColumnFigure(column=c, value=v) for c, v in found.index.items() if c in looked_at]
    return TrainingData(
        drift=tuple(sorted(figures, key=lambda figure: (-figure.value, figure.column))),
        incomparable=tuple(
            ColumnNote(column=column, note=why)
            for column, why in found.incomparable.items()
            if column in looked_at
        ),
        new_columns=tuple(column for column in found.new if column in looked_at),
    )
