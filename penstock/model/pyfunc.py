"""What MLflow loads a model by that carries code of its project, as MLmodel says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.model.loading import LoadedModel


class ServedModel:
    """A model as MLflow asks it.

    Args:
        model: It.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Return a label or a value for each row of a data frame, from the scores.

        An estimator's own `predict` may give another label than its most probable class, and a
        score of 32 bits lie on the other side of the threshold.
        """
        del params
        _, columns = self._model.pipeline.steps[0]
        return self._model.labels(columns.transform(model_input))


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> ServedModel:
    """Return the model in a folder: MLflow calls this, and whoever asks it to runs the code."""
    from penstock.model.loading import load

    del model_config
    return ServedModel(load(Path(path), run_code=True))
