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

import yaml

from penstock.model import load
from penstock.registry import versions

Rows = Sequence[dict[str, Any]]
Answers = dict[str, list[Any]]
"""`predictions`, and of a classification `probabilities`, in the order of the rows."""

SCORE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from scorer import Model
print(json.dumps(Model(sys.argv[1]).predict(json.load(sys.stdin))))
"""


def command(shell: Any, project: Path) -> Callable[..., str]:
    """Return the command line on a project's registry; its commands must end well."""

    def run(*arguments: str) -> str:
        done = shell(*arguments, "--project", str(project))
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    return run


def assert_same_bits(shell: Any, project: Path, *, url: str, rows: Rows) -> None:
    """Ask for the champion of a project on every path: all must say the same, alone and together.

    Args:
        shell: The command line.
        project: The project file, whose registry is beside it.
        url: Where the champion answers.
        rows: What is asked, 20 different answers at least.
    """
    name = yaml.safe_load(project.read_text())["name"]
    store = f"sqlite:///{project.parent / '.penstock' / 'mlflow.db'}"
    champion = versions.champion(name, tracking_uri=store)
    assert champion is not None
    folder = project.parent / f"asked-{champion.version}"
    folder.mkdir()
    served = by_server(url, name, rows)
    assert len({json.dumps(one) for one in served.get("probabilities", served["predictions"])}) > 20
    for at in (0, len(rows) // 2, len(rows) - 1):
        alone = by_server(url, name, rows[at : at + 1])
        assert alone == {kind: values[at : at + 1] for kind, values in served.items()}
    versions.fetch(champion.uri, tracking_uri=store, destination=folder / "model")
    record = load(folder / "model").record
    positive = None if record.positive is None else record.classes.index(record.positive)
    penstock = command(shell, project)
    found = {
        "batch": by_batch(penstock, champion.uri, rows, folder=folder),
        "bundle": by_bundle(penstock, champion.uri, rows, folder=folder),
        "mlflow": by_mlflow(store, champion.uri, rows, positive=positive),
    }
    for path, answers in found.items():
        assert answers == served, path


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
