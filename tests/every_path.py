"""One version, asked by every way that there is: server, batch, bundle and MLflow."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Rows = Sequence[dict[str, Any]]
Answers = dict[str, list[Any]]
"""`predictions`, and of a classification `probabilities`, in the order of the rows."""

SCORE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from scorer import Model
print(json.dumps(Model(sys.argv[1]).predict(json.load(sys.stdin))))
"""


def by_server(url: str, name: str, rows: Rows) -> Answers:
    """Ask a server for all rows in one request of the v1 protocol."""
    request = urllib.request.Request(
        f"{url}/v1/models/{name}:predict",
        data=json.dumps({"instances": list(rows)}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return _answers(json.load(answer))


def by_batch(penstock: Callable[..., Any], version: str, rows: Rows, *, folder: Path) -> Answers:
    """Score a file of the rows; `penstock` runs a command line."""
    from pyarrow import parquet

    table = folder / "asked.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    penstock("score", version, "--data", str(table), "--out", str(folder / "scores"))
    found = parquet.read_table(folder / "scores" / "rows").to_pydict()
    columns = [values for name, values in found.items() if name.startswith("probability_")]
    answers = {"predictions": found["prediction"]}
    if columns:
        answers["probabilities"] = [list(row) for row in zip(*columns, strict=True)]
    return answers


def by_bundle(penstock: Callable[..., Any], version: str, rows: Rows, *, folder: Path) -> Answers:
    """Ask the scorer of a bundle, in a process of its own."""
    penstock("bundle", version, "--out", str(folder / "bundle"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCORE, str(folder / "bundle")],
        input=json.dumps(list(rows)),
        capture_output=True,
        text=True,
        check=True,
    )
    return _answers(json.loads(done.stdout))


def by_mlflow(store: str, version: str, rows: Rows, *, positive: int | None) -> Answers:
    """Ask MLflow's pyfunc, and its scikit-learn flavour for the probabilities, which pyfunc lacks.

    Of two classes the other one's is 1 less that of the positive one, by its place, as servers say.
    """
    import pandas as pd

    with warnings.catch_warnings():
        # MLflow's warning about its own type hints, given when it is imported.
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
        import mlflow.pyfunc
        import mlflow.sklearn

    frame = pd.DataFrame(list(rows), dtype=object)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store)
    try:
        answers = {"predictions": mlflow.pyfunc.load_model(version).predict(frame).tolist()}
        fitted = mlflow.sklearn.load_model(version)
    finally:
        mlflow.set_tracking_uri(before)
    if hasattr(fitted, "predict_proba"):
        answers["probabilities"] = fitted.predict_proba(frame).tolist()
    if positive is not None:
        scores = [row[positive] for row in answers["probabilities"]]
        answers["probabilities"] = [[1 - p, p] if positive else [p, 1 - p] for p in scores]
    return answers


def _answers(found: dict[str, Any]) -> Answers:
    return {name: found[name] for name in ("predictions", "probabilities") if name in found}
