"""CPU of a whole release on Adult against one bare script that does the same work.

Both are run in pairs, as processes, on the same table with the same expectations, families and
number of folds; who is first changes from pair to pair. The bare script learns from the rows that
Penstock learned from, judges on the rows that Penstock judged on, and tries as many settings as
Penstock's search took until its winner was settled. The ratio is of CPU seconds (user and system,
of the process and its children), median of the pairs. Penstock's figure includes the server
processes that it leaves running, from their start until they are stopped; the bare script starts
none.

A script that is faster because its model is worse would be no alternative, so both must reach the
same score: the areas under the ROC curve on the same holdout may differ by 0.002. And the model
that Penstock released, fitted once more by the bare script's code with the same settings on the
same rows, may differ by 0.001: the columns of the matrix are in another order, which moves ties
of splits. Neither of these is in the time.

By design they differ in this: Penstock's search races settings by paired differences and goes on
by threads, the script's prunes by Optuna's percentiles. Penstock also writes digests, profiles,
records, eight HTML pages, figures of ten metrics with intervals, slices, label health, an ONNX
form and explanations, and serves. The script bootstraps one metric and serves one answer in its
own process.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from measuring import Cost, measured, medians, ratio, turns, versions
from targets import Target, report

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT.parent / "shared" / "data" / "adult-train.csv"
PENSTOCK = Path(sys.executable).parent / "penstock"
QUESTION = (
    "CPU of a whole release on Adult, beside one bare script that does the same work with the same "
    "libraries in one process and reaches the same score on the same holdout."
)
CPU_RATIO = 1.5
SAME_SCORE, SAME_MODEL = 0.002, 0.001
"""Differences of areas under the ROC curve: of both winners, and of one model fitted by both."""
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True)
class Released:
    """What a release of Penstock came to.

    Attributes:
        family: Of the model.
        parameters: Its settings.
        roc_auc: On the holdout.
        settings: How many the search tried.
        rows: Numbers of the table's rows in `train` and `holdout`.
    """

    family: str
    parameters: dict[str, Any]
    roc_auc: float
    settings: int
    rows: dict[str, np.ndarray] = field(repr=False)


def main() -> int:
    """Print a table and the targets; with --json, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeat", type=int, default=5, help="pairs")
    parser.add_argument("--table", type=Path, default=TABLE, help="adult-train.csv")
    options = parser.parse_args()
    if not options.table.exists():
        print(f"{options.table} is not here: give Adult's training table with --table")
        return 1
    costs: dict[str, list[Cost]] = {"penstock": [], "bare script": []}
    releases: list[Released] = []
    scripts: list[dict[str, Any]] = []
    for order in turns(list(costs), options.repeat):
        for name in order:
            with tempfile.TemporaryDirectory() as folder:
                project = _project(Path(folder), options.table)
                if name == "penstock":
                    costs[name].append(_penstock(project))
                    releases.append(_released(project, options.table))
                else:
                    cost, found = _script(Path(folder), options.table, project, releases[0])
                    costs[name].append(cost)
                    scripts.append(found)
            print(f"{name:<14}{costs[name][-1].cpu:>9.1f} CPU s", flush=True)
    once_more = _once_more(options.table, releases[0])
    return _conclude(costs, releases, scripts, once_more, path=options.json)


def _project(folder: Path, table: Path) -> Path:
    project = folder / "project.yaml"
    subprocess.run(
        [str(PENSTOCK), "init", str(table), "--target", "income", "-o", str(project)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    text = project.read_text().replace("\n  #port: 8080", "\n  port: 0")
    project.write_text(text)
    return project


def _penstock(project: Path) -> Cost:
    run, _ = measured([PENSTOCK, "run", project], environment=PASSIVE)
    serving = 0.0
    for path in project.parent.glob(".penstock/serving/*/state.json"):
        state = json.loads(path.read_text())
        for part in (state["proxy"], state["stable"]):
            times = psutil.Process(part["process"]["pid"]).cpu_times()
            serving += times.user + times.system
    subprocess.run([str(PENSTOCK), "stop", str(project)], check=True, stdout=subprocess.DEVNULL)
    return run._replace(cpu=run.cpu + serving)


def _released(project: Path, table: Path) -> Released:
    """Read what the release wrote."""
    from penstock.gate.evaluation import Evaluation
    from penstock.records.model import FILE_NAME, Model

    (run,) = (project.parent / ".penstock" / "runs").iterdir()
    found = re.search(r"best of (\d+) setting", (run / "kfp.log").read_text())
    (steps,) = (run / "kfp").iterdir()
    assert found
    model = Model.read(steps / "train" / "model" / FILE_NAME)
    (candidate,) = (
        scores
        for scores in Evaluation.read(steps / "evaluate" / "evaluation").scores
        if scores.name == "candidate"
    )
    return Released(
        family=model.name,
        parameters=dict(model.parameters),
        roc_auc=candidate.metrics["roc_auc"].value,
        settings=int(found[1]),
        rows={part: _rows(table, steps / "split" / part) for part in ("train", "holdout")},
    )


def _rows(table: Path, part: Path) -> np.ndarray:
    """Return the numbers of the table's rows that are in a part, in the part's order.

    Which of several equal rows it was cannot be told, and makes no difference.
    """
    import bare_release

    from penstock.data.table import read_table

    whole, some = bare_release.read(table), read_table(part).to_pandas()
    columns = list(whole.columns)
    keys = []
    for frame in (whole, some):
        plain = frame[columns].astype(object).where(frame[columns].notna(), None)
        key = plain.astype(str).agg("\x1f".join, axis=1)
        keys.append(pd.DataFrame({"key": key, "again": key.groupby(key).cumcount()}))
    numbered = keys[0].assign(number=np.arange(len(whole)))
    numbers = keys[1].merge(numbered, on=["key", "again"], how="left")["number"]
    if numbers.isna().any():
        raise SystemExit(f"{int(numbers.isna().sum())} rows of {part.name} are not in {table}")
    return numbers.to_numpy(dtype=np.int64)


def _script(
    folder: Path, table: Path, project: Path, released: Released
) -> tuple[Cost, dict[str, Any]]:
    rows = folder / "rows.npz"
    np.savez(rows, **released.rows)
    script = ROOT / "benchmarks" / "bare_release.py"
    arguments: list[str | Path] = [table, project, folder / "bare", str(released.settings), rows]
    cost, said = measured([sys.executable, script, *arguments], environment=PASSIVE)
    return cost, json.loads(said.splitlines()[-1])


def _once_more(table: Path, released: Released) -> float:
    """Fit the model that was released by the bare script's code; return its score."""
    import bare_release
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    frame = bare_release.filled(bare_release.read(table))
    truth = (frame.pop("income") == ">50K").to_numpy()
    seed = bare_release.SEED
    kinds: dict[str, Any] = {
        "linear": lambda C: bare_release.linear_model(C),  # noqa: N803
        "hist_gradient_boosting": lambda **of: HistGradientBoostingClassifier(
            **of, early_stopping=False, random_state=seed
        ),
        "random_forest": lambda **of: RandomForestClassifier(
            **of, n_estimators=100, random_state=seed
        ),
    }
    train, holdout = (frame.iloc[released.rows[part]] for part in ("train", "holdout"))
    encoder = bare_release.encoder_of(train).fit(train)
    model = kinds[released.family](**released.parameters)
    model.fit(encoder.transform(train), truth[released.rows["train"]])
    scores = model.predict_proba(encoder.transform(holdout))[:, 1]
    return float(roc_auc_score(truth[released.rows["holdout"]], scores))


def _conclude(
    costs: dict[str, list[Cost]],
    releases: list[Released],
    scripts: list[dict[str, Any]],
    once_more: float,
    *,
    path: Path | None,
) -> int:
    first = releases[0]
    sizes = {part: len(rows) for part, rows in first.rows.items()}
    for script in scripts:
        assert (script["train_rows"], script["holdout_rows"]) == tuple(sizes.values())
    ours, theirs = costs["penstock"], costs["bare script"]
    apart = max(
        abs(released.roc_auc - script["roc_auc"])
        for released, script in zip(releases, scripts, strict=True)
    )
    figures = {
        "programs": {
            "penstock": medians(ours) | {"roc_auc": statistics.median(r.roc_auc for r in releases)},
            "bare script": medians(theirs)
            | {"roc_auc": statistics.median(s["roc_auc"] for s in scripts)},
        },
        "cpu_ratio": ratio(ours, theirs),
        "wall_ratio": ratio(ours, theirs, "wall"),
        "cpu_ratio_of_each_pair": [a.cpu / b.cpu for a, b in zip(ours, theirs, strict=True)],
        "settings_tried": first.settings,
        "rows_learned_from": sizes["train"],
        "rows_judged_on": sizes["holdout"],
        "penstock_winner": f"{first.family} {first.parameters}",
        "script_winner": str(scripts[0]["winner"]),
        "penstock_winner_fitted_by_the_script_roc_auc": once_more,
        "versions": versions("scikit-learn", "great-expectations", "mlflow", "optuna", "kserve"),
    }
    print(f"{'':<14}{'CPU s':>9}{'wall s':>9}{'peak MB':>9}{'ROC AUC':>9}   of {len(ours)} pairs")
    for name, row in figures["programs"].items():  # type: ignore[attr-defined]
        print(
            f"{name:<14}{row['cpu_seconds']:>9.1f}{row['wall_seconds']:>9.1f}"
            f"{row['peak_mb']:>9.0f}{row['roc_auc']:>9.4f}"
        )
    targets = [
        Target("CPU of a release, beside the bare script", ratio(ours, theirs), CPU_RATIO),
        Target("ROC AUC of both winners, largest difference", apart, SAME_SCORE, ""),
        Target(
            "ROC AUC of the released model, beside the same settings fitted by the script",
            abs(first.roc_auc - once_more),
            SAME_MODEL,
            "",
        ),
        Target(
            "releases whose model or score differs from the first's",
            sum((r.parameters, r.roc_auc) != (first.parameters, first.roc_auc) for r in releases),
            0,
            "releases",
        ),
    ]
    return report("release", question=QUESTION, figures=figures, targets=targets, path=path)


if __name__ == "__main__":
    sys.exit(main())
