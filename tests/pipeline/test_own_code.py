"""A project with an estimator, a transformer and a metric of its own, as a stranger runs it."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import every_path
import pytest
import yaml
from own_project import CODE, ring, written
from running_process import until
from test_boosted import plain

from penstock import project
from penstock.bundle.make import bundle
from penstock.captures.reader import read_window
from penstock.errors import InputError
from penstock.monitoring.store.state import MonitorFolder
from penstock.pipelines.compile import compile_release
from penstock.pipelines.parameters import for_run
from penstock.records.monitoring import MonitorState

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("own code")]

PROJECT = {
    "name": "bells",
    "target": "y",
    "positive": "out",
    "source": {"uri": "rows.csv"},
    "features": {"transformer": "churn.features:Centred"},
    "training": {
        "candidates": ["own"],
        "estimator": "churn.models:make",
        "search": {"own": {"model__sharpness": [0.5, 1.0]}},
        "own_metric": {
            "function": "churn.metrics:cost", "greater_is_better": False, "given": "labels",
        },
        "trials": 2,
        "folds": 2,
    },
    "deployment": {"port": 0},
    "monitoring": {"min_rows": 200},
}  # fmt: skip

MLFLOW = """
import json, sys
import mlflow, pandas
store, version = sys.argv[1:]
mlflow.set_tracking_uri(store)
frame = pandas.DataFrame(json.load(sys.stdin), dtype=object)
answers = {"predictions": mlflow.pyfunc.load_model(version).predict(frame).tolist()}
fitted = mlflow.sklearn.load_model(version)
answers["positive"] = fitted.predict_proba(frame)[:, list(fitted.classes_).index("out")].tolist()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def released(shell) -> tuple[Path, str]:
    folder = written(shell.folder / "own", CODE)
    rows = ring(3_000)
    with (folder / "rows.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(rows)
        table.writerows(zip(*rows.values(), strict=True))
    file = folder / "project.yaml"
    file.write_text(yaml.safe_dump(PROJECT))
    done = shell("run", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    return file, done.stdout


def test_it_is_judged_and_served_by_its_own_code(released: tuple[Path, str]) -> None:
    file, text = released
    assert re.search(r"Train +\d+\.\d s  own: cost ", text)
    assert re.search(r"pass +block +baseline: On cost the candidate's advantage over", text)
    line = re.search(r"curl -s .*", text)
    assert line is not None
    asked = subprocess.run(["/bin/sh", "-c", line[0]], capture_output=True, text=True, check=True)
    answer = json.loads(asked.stdout)
    assert answer["model_version"] == "1"
    store = f"sqlite:///{file.parent / '.penstock' / 'mlflow.db'}"
    with pytest.raises(InputError, match="the project's own code has no ONNX form"):
        bundle("models:/bells@champion", output=file.parent / "bundle", tracking_uri=store)
    # The card names the code; the version's tag has its digest.
    from mlflow import MlflowClient

    tags = MlflowClient(tracking_uri=store, registry_uri=store).get_model_version("bells", "1").tags
    card = next(file.parent.glob(".penstock/runs/*/reports/card.html")).read_text()
    assert tags["penstock.code"] in card
    assert "churn.models:make, churn.features:Centred, churn.metrics:cost" in card


def test_server_batch_and_mlflow_give_the_same_bits(shell, released: tuple[Path, str]) -> None:
    file, text = released
    url = re.search(r"Served at +(\S+)", text)[1]
    rows = asked(200)
    served = every_path.by_server(url, "bells", rows)
    folder = file.parent / "asked"
    folder.mkdir()
    penstock = every_path.command(shell, file)
    assert every_path.by_batch(penstock, "models:/bells/1", rows, folder=folder) == served
    store = f"sqlite:///{file.parent / '.penstock' / 'mlflow.db'}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", MLFLOW, store, "models:/bells/1"],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["predictions"] == served["predictions"]
    # Of two classes a server computes the other one's from the positive one's.
    assert found["positive"] == [pair[1] for pair in served["probabilities"]]
    assert len(set(found["positive"])) > 100


def test_the_monitor_finds_no_fault_where_there_is_none(shell, released: tuple[Path, str]) -> None:
    file, text = released
    url = re.search(r"Served at +(\S+)", text)[1]
    captures = str(file.parent / ".penstock" / "serving" / "bells" / "captures")

    def captured() -> int:
        return read_window(captures, after=None).table.num_rows

    def look(rows: list[dict[str, Any]], *, ends: int) -> MonitorState:
        before = captured()
        every_path.by_server(url, "bells", rows)
        until(lambda: captured() >= before + len(rows), every=0.2)
        done = shell("monitor", str(file), "--once")
        assert done.returncode == ends, done.stdout + done.stderr
        return MonitorFolder(file.parent / ".penstock").read(service="bells")[0]

    seen = look(asked(2_000, seed=6), ends=0)
    assert seen.last.rows >= 2_000
    assert (seen.last.lost, seen.last.problem, seen.last.missing) == (0, "", ())
    assert {one.column for one in seen.last.distances} == {"a", "b", "kind"}
    assert seen.verdict.kind == "healthy", seen.verdict
    changed = look([row | {"b": row["b"] * 5} for row in asked(2_000, seed=7)], ends=5)
    assert changed.verdict.kind == "drifted", changed.verdict


def asked(rows: int, **how: int) -> list[dict[str, Any]]:
    """Rows without their target, as requests have them."""
    table = ring(rows, **how)
    table.pop("y")
    return [
        dict(zip(table, map(plain, row), strict=True)) for row in zip(*table.values(), strict=True)
    ]


def test_what_is_compiled_has_the_digest_and_no_source(released: tuple[Path, str]) -> None:
    file, _ = released
    path = file.parent / "release.yaml"
    compile_release(project.load(file), output=path, folder=file.parent)
    text = path.read_text()
    assert len(text) <= 60_000
    inputs = next(yaml.safe_load_all(text))["root"]["inputDefinitions"]["parameters"]
    of_features, of_training = (
        inputs[name]["defaultValue"]["code"] for name in ("features", "training")
    )
    assert of_features == of_training
    assert of_training["digest"].startswith("sha256:")
    assert "folder" not in of_training
    assert "closeness" not in text


def test_a_run_of_code_that_is_no_python_does_not_begin(released: tuple[Path, str]) -> None:
    file, _ = released
    (file.parent / "churn" / "models.py").write_text("def make(:\n")
    with pytest.raises(InputError, match=r"churn/models\.py, line 1: not Python"):
        for_run(project.load(file), folder=file.parent)
