"""A calibrated model from a table to its labels, by the command line: the same bits everywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import every_path
import pytest
import yaml
from test_boosted import plain, table

from penstock.captures.reader import read_window
from penstock.model import load
from penstock.monitoring.store.state import MonitorFolder

pytestmark = pytest.mark.slow

CASES = [("xgboost", "binary", "sigmoid"), ("lightgbm", "multiclass", "isotonic"),
         ("lightgbm", "multiclass", "sigmoid"), ("xgboost", "binary", "isotonic")]  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.parametrize(("family", "task", "method"), CASES)
def test_every_path_gives_the_calibrated_bits_and_the_monitor_reads_them(
    shell: Any, family: str, task: str, method: str
) -> None:
    import pandas as pd

    folder = shell.folder / f"calibrated-{task}-{method}"
    folder.mkdir()
    made = pd.DataFrame(table(task)).drop(columns="weight")
    made.to_csv(folder / "t.csv", index=False)
    project = folder / "project.yaml"
    named = ("--target", "target", "--name", f"{task}-{method}", "-o", str(project))
    done = shell("init", str(folder / "t.csv"), *named)
    assert done.returncode == 0, done.stderr
    raw = yaml.safe_load(project.read_text().replace("\n  #port: 8080", "\n  port: 0"))
    captures = str(folder / "captured")
    raw |= {
        "training": {"trials": 2, "folds": 2, "candidates": [family], "calibration": method},
        "monitoring": {"source": "batch", "captures": captures, "min_rows": 100},
    }
    project.write_text(yaml.safe_dump(raw))
    done = shell("run", str(project), timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    url = re.search(r"Served at +(\S+)", done.stdout)[1]
    given = made.drop(columns="target")
    rows = [
        {name: plain(value) for name, value in row.items()}
        for row in given.head(300).to_dict("records")
    ]
    (model,) = folder.glob(".penstock/runs/*/kfp/*/train/model")
    assert load(model).record.calibration.method == method
    every_path.assert_same_bits(shell, project, url=url, rows=rows)
    served = every_path.by_server(url, f"{task}-{method}", rows)
    captured(shell, project, rows, served, captures=captures)
    labelled(shell, project, made["target"].head(300).tolist(), captures=captures)


def captured(
    shell: Any, project: Path, rows: every_path.Rows, served: every_path.Answers, *, captures: str
) -> None:
    """Score rows for the monitor: what is captured are the server's bits."""
    table = project.parent / "batch.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    name = yaml.safe_load(project.read_text())["name"]
    penstock = every_path.command(shell, project)
    penstock(
        "score", f"models:/{name}@champion", "--data", str(table), "--run", "r", "--request-ids",
        "--out", str(project.parent / "batch"), "--capture", captures, "--part-rows", "70",
    )  # fmt: skip
    found = read_window(captures, after=None).table.to_pylist()
    by_row = {int(one["request_id"].rpartition("-")[2]): one["scores"] for one in found}
    assert [by_row[at] for at in range(1, len(rows) + 1)] == served["probabilities"]


def labelled(shell: Any, project: Path, truths: list[Any], *, captures: str) -> None:
    """Give the rows their labels: the monitor measures what they say."""
    labels = project.parent / "labels.csv"
    lines = [f"r-{at},{label}\n" for at, label in enumerate(truths, start=1)]
    labels.write_text("request_id,target\n" + "".join(lines))
    done = shell("captures", "labels", str(labels), str(project))
    assert done.returncode == 0, done.stderr
    assert f"Wrote {len(truths)} labels." in done.stdout
    done = shell("monitor", str(project), "--once")
    assert "Traceback" not in done.stderr, done.stderr
    name = yaml.safe_load(project.read_text())["name"]
    state, _ = MonitorFolder(project.parent / ".penstock").read(service=name)
    seen = state.last.performance
    assert seen.labels == len(truths)
    assert seen.realized.low <= seen.realized.value <= seen.realized.high
