"""The model card of a version that was released: with its number, and what people said of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from penstock.gate.evaluation import Evaluation
from penstock.records.base import Record
from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.explanation import Explanation
from penstock.records.model import Model
from penstock.records.operations import Operations
from penstock.registry import approvals, audit
from penstock.registry.card import Card, model_card
from penstock.registry.spec import CardSpec
from penstock.registry.versions import Version

OWNER = "card.json"
"""File of the pack that holds what the owner says of the model."""

R = TypeVar("R", bound=Record)


def final_card(pack: Path, *, version: Version, model_tags: Mapping[str, str]) -> Card | None:
    """Return the card of a released version; None where the pack was made without one.

    The card in the pack was written before the version had its number and before people had said
    anything. It stays as it was.

    Args:
        pack: The version's evidence.
        version: The version, whose tags hold what people said.
        model_tags: Tags of its registered model, which hold the trail.

    Raises:
        NotApprovedError: If what people said was tampered with.
        IntegrityError: If a record of the pack is of another model.
    """
    model, owner = _record(pack, "model", Model), pack / OWNER
    if model is None or not owner.exists():
        return None
    return model_card(
        model,
        digest=version.model,
        name=version.name,
        uri=version.uri,
        spec=CardSpec.parse(json.loads(owner.read_text(encoding="utf-8")), where=OWNER),
        training=_record(pack, "train", Dataset),
        holdout=_record(pack, "holdout", Dataset),
        split=_record(pack, "split", Split),
        evaluation=_record(pack, "evaluation", Evaluation),
        decision=_record(pack, "decision", Decision),
        explanation=_record(pack, "explanation", Explanation),
        operations=_record(pack, "operations", Operations),
        approvals=approvals.read(version.tags, trail=audit.read(model_tags)),
    )


def _record(pack: Path, title: str, kind: type[R]) -> R | None:
    path = pack / f"{title}.json"
    return kind.read(path) if path.exists() else None
