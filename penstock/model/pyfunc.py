"""What MLflow loads a model by that carries code of its project, as MLmodel says."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class ServedModel:
    """A model as MLflow asks it.

    Args:
        pipeline: The fitted pipeline, from raw columns to labels or values.
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Return a label or a value for each row of a data frame."""
        del params
        return self._pipeline.predict(model_input)


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> ServedModel:
    """Return the model in a folder: MLflow calls this, and whoever asks it to runs the code."""
    from penstock.model.loading import load

    del model_config
    return ServedModel(load(Path(path), run_code=True).pipeline)
