"""The records that a version's evidence holds, read into one object."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from penstock.gate.evaluation import Evaluation
from penstock.records.base import Record
from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.explanation import Explanation
from penstock.records.model import Model
from penstock.records.operations import Operations
from penstock.records.quality import Validation
from penstock.registry.spec import CardSpec

OWNER = "card.json"
"""File of the pack that holds what the owner says of the model."""

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class PackRecords:
    """What the files of a pack say. What it does not hold is None.

    Attributes:
        model: The model's record.
        decision: The gate's decision.
        stated: What its owner says of it; None: the pack was made without a card.
        train: Record of the training part.
        holdout: Record of the rows it was judged on.
        split: How the two were divided.
        validation: What the expectations found in the data.
        evaluation: What was measured on the holdout.
        explanation: Which columns its predictions depend on.
        operations: How it serves.
    """

    model: Model
    decision: Decision
    stated: CardSpec | None
    train: Dataset | None
    holdout: Dataset | None
    split: Split | None
    validation: Validation | None
    evaluation: Evaluation | None
    explanation: Explanation | None
    operations: Operations | None


def read_pack(pack: Path) -> PackRecords:
    """Return the records of a pack, as they are: nothing is verified here.

    Args:
        pack: The folder of the evidence, with model.json and decision.json.

    Raises:
        InputError: If a file is not the record that its name says.
    """
    owner = pack / OWNER
    stated = json.loads(owner.read_text(encoding="utf-8")) if owner.exists() else None
    return PackRecords(
        model=Model.read(pack / "model.json"),
        decision=Decision.read(pack / "decision.json"),
        stated=None if stated is None else CardSpec.parse(stated, where=OWNER),
        train=_record(pack, "train", Dataset),
        holdout=_record(pack, "holdout", Dataset),
        split=_record(pack, "split", Split),
        validation=_record(pack, "validation", Validation),
        evaluation=_record(pack, "evaluation", Evaluation),
        explanation=_record(pack, "explanation", Explanation),
        operations=_record(pack, "operations", Operations),
    )


def _record(pack: Path, title: str, kind: type[R]) -> R | None:
    path = pack / f"{title}.json"
    return kind.read(path) if path.exists() else None
