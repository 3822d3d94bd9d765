"""A bare kserve server of a scikit-learn pipeline, as a user would write it.

Kserve's own `sklearnserver` is not on the package index, and for rows that are objects it makes a
data frame for each and joins them; this makes one. Run by the peer's own interpreter:

    python serving_kserve.py --model_name bench --http_port 8080 --enable_grpc false MODEL.joblib
"""

import argparse

import joblib
import pandas as pd
from kserve import Model, ModelServer, model_server


class SklearnModel(Model):
    """Probabilities for rows given as objects, by the v1 protocol."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        self._pipeline = joblib.load(path)
        self.ready = True

    def predict(self, payload, headers=None):  # noqa: ARG002
        """Answer one request."""
        frame = pd.DataFrame(payload["instances"])
        return {"predictions": self._pipeline.predict_proba(frame).tolist()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("path")
    options = parser.parse_args()
    ModelServer().start([SklearnModel(options.model_name, options.path)])
