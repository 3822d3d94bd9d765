"""Loads what computes scores: the ONNX form of a model, or its scikit-learn pipeline."""

from __future__ import annotations

from pathlib import Path

from penstock.serving.prediction import Scorer


def load_scorer(folder: Path, *, digest: str, export: str) -> Scorer:
    """Load a version's folder in the form in which it answers users.

    Args:
        folder: The model folder.
        digest: Digest that it must have.
        export: Digest that the ONNX form in it must have; empty: scikit-learn answers.

    Raises:
        InputError: If a file is absent or unreadable.
        IntegrityError: If a digest differs, or the model is not one that may be loaded.
    """
    if export:
        from penstock.model import onnx as onnx_model

        return onnx_model.load(folder, expected_digest=digest, export_digest=export)
    from penstock import model
    from penstock.serving import sklearn_scorer

    return sklearn_scorer.scorer(model.load(folder, expected_digest=digest))
