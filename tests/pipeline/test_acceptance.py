"""Real tables, start to end, by `penstock init` and `penstock run` with nothing set by hand."""

from __future__ import annotations

import csv
import json
import urllib.request
from itertools import islice
from pathlib import Path

import every_path
import pytest
import yaml

from penstock.model import load

pytestmark = [pytest.mark.slow, pytest.mark.long]


def release(
    shell, table: Path, *, target: str, name: str, settings: tuple[str, ...] = ()
) -> tuple[Path, dict]:
    """Init and run a table's project and return its folder and the run's summary."""
    folder = shell.folder / name
    folder.mkdir()
    project = folder / "project.yaml"
    made = shell("init", str(table), "--target", target, "--name", name, "-o", str(project))
    assert made.returncode == 0, made.stderr
    text = project.read_text()
    assert text.count("#port: 8080") == 2  # in its head, as an example
    project.write_text(text.replace("\n  #port: 8080", "\n  port: 0"))
    changed = [word for setting in settings for word in ("--set", setting)]
    done = shell("run", str(project), *changed, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    run = sorted((folder / ".penstock" / "runs").iterdir())[-1]
    return folder, json.loads((run / "summary.json").read_text())


def ask(url: str, name: str, rows: list[dict]) -> list:
    request = urllib.request.Request(
        f"{url}/v1/models/{name}:predict",
        data=json.dumps({"instances": rows}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


def test_adult_is_below_the_published_error(shell, shared_data: Path) -> None:
    _, summary = release(shell, shared_data / "adult-train.csv", target="income", name="adult")
    with (shared_data / "adult-test.csv").open(newline="") as stream:
        rows = [
            {key: value.strip() for key, value in row.items()}
            for row in csv.DictReader(stream)
            if row["income"]
        ]
    labels = [row.pop("income").rstrip(".") for row in rows]
    numbers = [key for key, value in rows[0].items() if value.lstrip("-").isdigit()]
    for row in rows:
        for key, value in row.items():
            row[key] = None if value == "?" else float(value) if key in numbers else value
    answers = []
    for start in range(0, len(rows), 1000):
        answers += ask(summary["served"], "adult", rows[start : start + 1000])
    wrong = sum(answer != label for answer, label in zip(answers, labels, strict=True))
    assert len(labels) == 16_281
    assert wrong / len(labels) < 0.135


def test_wine_quality_is_a_regression(shell, shared_data: Path) -> None:
    folder, summary = release(
        shell, shared_data / "winequality-white.csv", target="quality", name="wine"
    )
    assert yaml.safe_load((folder / "project.yaml").read_text())["task"] == "regression"
    assert summary["registered"] == "models:/wine/1"


@pytest.mark.parametrize("family", ["xgboost", "lightgbm"])
@pytest.mark.parametrize(
    ("file", "target"), [("winequality-white", "quality"), ("adult-train", "income")]
)
def test_a_boosted_model_is_released_by_the_same_gate(
    shell, shared_data: Path, file: str, target: str, family: str
) -> None:
    table = shared_data / f"{file}.csv"
    folder, summary = release(
        shell,
        table,
        target=target,
        name=f"{target}-{family}",
        settings=(f"training.candidates=[{family}]", "training.trials=3", "training.folds=2"),
    )
    assert summary["registered"] == f"models:/{target}-{family}/1"
    with table.open(newline="") as stream:
        rows = list(islice(csv.DictReader(stream), 400))
    for row in rows:
        del row[target]
    url = summary["served"]
    every_path.assert_same_bits(shell, folder / "project.yaml", url=url, rows=rows)
    assert load(folder / "asked-1" / "model").record.name == family


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "digits"])
def test_the_tables_of_scikit_learn(shell, name: str) -> None:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    table = shell.folder / f"{name}.csv"
    bunch.frame.to_csv(table, index=False)
    expected = {"breast_cancer": "binary", "diabetes": "regression"}.get(name, "multiclass")
    folder, _ = release(shell, table, target="target", name=f"sk-{name.replace('_', '-')}")
    assert yaml.safe_load((folder / "project.yaml").read_text())["task"] == expected
