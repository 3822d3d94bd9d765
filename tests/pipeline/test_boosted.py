"""XGBoost and LightGBM from a table to the end of a version's life, by the command line."""

from __future__ import annotations

import json
import re
from typing import Any

import every_path
import numpy as np
import pytest
import yaml

from penstock.model import load
from penstock.monitoring.store.state import MonitorFolder
from penstock.registry import versions

pytestmark = pytest.mark.slow

NAME = "simulated-transactions"
FAMILIES = ("xgboost", "lightgbm")


def table(task: str, rows: int = 3_000) -> dict[str, Any]:
    """A table with holes, levels, times and weights, whose target is not linear."""
    chance = np.random.default_rng(8)
    age, hours = chance.integers(18, 80, rows).astype(float), chance.normal(40, 9, rows).round(1)
    job = chance.choice(["clerk", "nurse", "pilot", "cook"], rows)
    signal = np.where(age < 50, age, 75) / 10 + np.abs(hours - 40) / 3 + 2 * (job == "pilot")
    signal += chance.normal(size=rows) / 2
    days = np.datetime64("2024-01-01") + chance.integers(0, 700, rows)
    target: Any = np.where(signal > 8, "yes", "no")
    if task == "multiclass":
        target = np.array(["low", "mid", "high"])[np.digitize(signal, [6, 9])]
    elif task == "regression":
        target = (signal * 1000).round(2)
    return {
        "age": np.where(chance.random(rows) < 0.05, None, age),
        "hours": hours,
        "job": np.where(chance.random(rows) < 0.05, None, job),
        "since": [f"{day}T00:00:00Z" for day in days],
        "member": np.where(chance.random(rows) < 0.5, "true", "false"),
        "weight": chance.choice([0.0, 1.0, 2.5], rows),
        "target": target,
    }


def plain(value: Any) -> Any:
    """A value of a table as JSON has it."""
    if value is None or value != value:
        return None
    return value.item() if hasattr(value, "item") else value


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_path_gives_the_released_version_s_bits(shell: Any, task: str, family: str) -> None:
    import pandas as pd

    folder = shell.folder / f"{task}-{family}"
    folder.mkdir()
    made = pd.DataFrame(table(task))
    made.to_csv(folder / "t.csv", index=False)
    project = folder / "project.yaml"
    named = ("--target", "target", "--name", f"{task}-{family}", "-o", str(project))
    done = shell("init", str(folder / "t.csv"), *named)
    assert done.returncode == 0, done.stderr
    text = project.read_text().replace("\n  #port: 8080", "\n  port: 0")
    raw = yaml.safe_load(text)
    training: dict[str, Any] = {
        "trials": 3,
        "folds": 2,
        "candidates": [family],
        "weights": "weight",
    }
    if task != "multiclass":
        training["monotonic"] = {"age": "increasing"}
    project.write_text(yaml.safe_dump(raw | {"training": training}))
    done = shell("run", str(project), timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    url = re.search(r"Served at +(\S+)", done.stdout)[1]
    rows = [
        {name: plain(value) for name, value in row.items()}
        for row in made.drop(columns=["target", "weight"]).head(300).to_dict("records")
    ]
    gone: dict[str, Any] = dict.fromkeys(rows[0])
    odd = [{"job": "never seen"}, gone, {"age": -1e15}, {"hours": 1e300}, {"hours": "NA"},
           {"member": "F"}, {"since": "1900-01-01"}]  # fmt: skip
    rows += [rows[0] | change for change in odd]
    (model,) = folder.glob(".penstock/runs/*/kfp/*/train/model")
    assert load(model).record.name == family
    every_path.assert_same_bits(shell, project, url=url, rows=rows)


@pytest.mark.exhaustive
@pytest.mark.parametrize("family", FAMILIES)
def test_the_loop_of_a_boosted_model(shell: Any, family: str) -> None:
    """Canary, monitor with attributions, retraining, recall; then explained, verified, asked."""
    from penstock.examples import transactions

    assert shell("example", family, "--rows", "6000").returncode == 0
    project = shell.folder / family / "project.yaml"
    raw = yaml.safe_load(project.read_text()) | {
        "training": {
            "trials": 2,
            "folds": 2,
            "candidates": [family],
            # So the linear model, which the simulated rows suit best, cannot win.
            "monotonic": {"amount": "increasing"},
            # Of 24 frauds the threshold of the best F1 finds one.
            "threshold": 0.05,
        },
        "deployment": {"port": 0},
        "gate": {"baseline": {"margin": 0.0}, "classes": {"recall_at_least": None}},
    }
    project.write_text(yaml.safe_dump(raw))
    done = shell("example", family, "--loop", timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    home = project.parent / ".penstock"
    state = MonitorFolder(home).read(service=NAME)[0]
    assert [one.kind for one in state.actions if one.kind != "suggested"] == [
        "retrained",
        "recalled",
    ]
    assert state.version == 3
    assert state.last.attributions
    store = f"sqlite:///{home / 'mlflow.db'}"
    penstock = every_path.command(shell, project)
    for number in (1, 2, 3):
        version = versions.registered(f"models:/{NAME}/{number}", tracking_uri=store)
        versions.fetch(version.uri, tracking_uri=store, destination=project.parent / str(number))
        assert load(project.parent / str(number)).record.name == family
        assert "FAIL" not in penstock("verify", version.uri)
    frame = transactions.transactions(rows=100, seed=5, drift=0.0, drifted=False)
    rows = json.loads(
        frame.drop(columns=transactions.TARGET).to_json(orient="records", date_format="iso")
    )
    status = shell("status", str(project)).stdout
    url = re.search(r"http://127\.0\.0\.1:\d+", status)[0]
    every_path.assert_same_bits(shell, project, url=url, rows=rows)
    asked = project.parent / "asked-3" / "asked.jsonl"
    out = project.parent / "explained"
    penstock("score", f"models:/{NAME}/3", "--data", str(asked), "--out", str(out), "--explain")
    from pyarrow import parquet

    found = parquet.read_table(out / "rows").to_pydict()
    sums = np.sum([v for name, v in found.items() if name.startswith("shap_")], axis=0)
    assert np.abs(sums - np.array(found["probability_true"])).max() < 1e-9
