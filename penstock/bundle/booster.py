"""The file of XGBoost or LightGBM that a version carries, and the features that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock import model
from penstock.errors import InputError

FOLDER, FEATURES = "booster", "features.json"


def of(folder: Path, *, digest: str, where: str) -> tuple[str, bytes, dict[str, Any]]:
    """Return a model's booster: file name, content, and what is known of its input and output.

    Args:
        folder: The model's folder.
        digest: Which it must have: code of the project's own is run for its features.
        where: The version, for errors.

    Raises:
        InputError: If what answers is no booster of one of the two libraries alone.
    """
    from penstock.model.boosted import BoostedTrees

    kept = sorted((folder / FOLDER).iterdir()) if (folder / FOLDER).is_dir() else []
    if len(kept) != 1:
        raise _none(where)
    loaded = model.load(folder, expected_digest=digest)
    transformer, estimator = (step for _, step in model.scoring_part(loaded.pipeline).steps)
    if not isinstance(estimator, BoostedTrees):
        raise _none(where)
    known = {
        "library": estimator.library,
        "features": [str(name) for name in transformer.get_feature_names_out()],
        "task": loaded.record.task,
        "classes": list(loaded.record.classes),
        "positive": loaded.record.positive,
        "threshold": loaded.record.threshold,
    }
    return kept[0].name, kept[0].read_bytes(), known


def _none(where: str) -> InputError:
    return InputError(
        "the version is no model of XGBoost or LightGBM alone",
        where=where,
        remedy="Its other forms are in docs/stock-formats.md.",
    )
