"""A bare kserve server of a model's ONNX form, as a user would write it.

The graph is the very one that Penstock serves. Run by the peer's own interpreter:

    python serving_kserve_onnx.py --model_name bench --http_port 8080 --enable_grpc false FOLDER

FOLDER holds `model.onnx` and `export.json`, which says which columns each input takes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from kserve import Model, ModelServer, model_server

MISSING = {"number": np.nan, "text": "(missing)", "time": "NaT"}


class OnnxModel(Model):
    """Probabilities for rows given as objects, by the v1 protocol."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        described = json.loads((folder / "export.json").read_text())["inputs"]
        self._inputs = {}
        for item in sorted(described, key=lambda item: item["index"]):
            self._inputs.setdefault((item["name"], item["kind"]), []).append(item["column"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self.ready = True

    def predict(self, payload, headers=None):  # noqa: ARG002
        """Answer one request."""
        rows = payload["instances"]
        given = {
            name: _array(rows, columns, kind=kind) for (name, kind), columns in self._inputs.items()
        }
        scores = self._session.run(["scores"], given)[0]
        return {"predictions": [[1 - score, score] for score in scores.tolist()]}


def _array(rows, columns, *, kind):
    missing = MISSING[kind]
    values = [[missing if (v := row[name]) is None else v for name in columns] for row in rows]
    if kind == "time":
        return np.array(values, dtype="datetime64[us]").view(np.int64)
    return np.array(values, dtype=object if kind == "text" else np.float64)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    ModelServer().start([OnnxModel(options.model_name, options.folder)])
