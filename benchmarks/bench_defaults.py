"""What the default gate releases of simulated classifiers, by base rate: the table of ADR 0024.

Scores are of two normal distributions, and calibrated. The threshold is chosen on training rows,
the gate judges the holdout: by the defaults, and by those before them (accuracy or, when the
positive class is below 10 %, F1 sets the threshold; nothing is asked of the labels), which stand
beside them. Target: of models that only guess, at whatever base rate, at most 5 % are released; the
upper end of the 95 % interval of their rate must keep to it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from gate_report import rate
from scipy.special import expit, logit
from targets import Target, report

from penstock.gate.rules.classes.spec import ClassesSpec
from penstock.metrics.intervals import estimate_metrics
from penstock.metrics.predictions import Predictions
from penstock.metrics.weighted import compute
from penstock.training.threshold import Objective, best_threshold

QUESTION = (
    "How often the default gate releases simulated classifiers without a champion, by base rate "
    "and quality, beside the defaults before ADR 0024, which asked nothing of the labels."
)
FALSE_RELEASE = 0.05
TRAIN, HOLDOUT = 4000, 1000
RATES = (0.5, 0.2, 0.12, 0.05, 0.01)
QUALITY = {"none": 0.0, "weak": 0.5, "fair": 1.2, "good": 2.5}
"""Distance of the two distributions in standard deviations: ROC AUC 0.50, 0.64, 0.80 and 0.96."""

RULE = ClassesSpec()


def draw(
    random: np.random.Generator, rows: int, rate: float, apart: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, as many positive as the rate says, and calibrated scores."""
    truth = (np.arange(rows) < round(rate * rows)).astype(np.int64)
    seen = random.normal(size=rows) + apart * truth
    known = apart or 1e-3
    return truth, expit(logit(rate) + known * seen - known**2 / 2)


def judge(
    random: np.random.Generator, rate: float, apart: float, objective: Objective
) -> dict[str, float]:
    """Train a threshold, judge the holdout, and return what was found of it."""
    cut, _ = best_threshold(*draw(random, TRAIN, rate, apart), objective=objective)
    truth, scores = draw(random, HOLDOUT, rate, apart)
    called = (scores >= cut).astype(np.int64)
    predictions = Predictions("binary", truth, scores, called, 2)
    values = {
        name: value
        for name, value in compute(predictions).items()
        if name in ("roc_auc", "balanced_accuracy", "recall", "precision")
    }
    measured = estimate_metrics(predictions, values, confidence=0.95)
    found = {name: one.estimate for name, one in measured.items()}
    recalls = [float((called == code)[truth == code].mean()) for code in (0, 1)]
    assert RULE.recall_at_least is not None
    ranks = found["roc_auc"].low > 0.5
    labels = found["balanced_accuracy"].low > 0.5 and min(recalls) >= RULE.recall_at_least
    return {
        "recall": found["recall"].value,
        "precision": found["precision"].value,
        "ranks": float(ranks),
        "released": float(ranks and labels),
    }


def main() -> int:
    """Print the table and the target; with --json, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeat", type=int, default=1000, help="models of each kind")
    options = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    guesses: dict[str, dict[str, float]] = {}
    print(f"{'positive, model':20}{'old: released  recall precision':>34}{'new: the same':>34}")
    for share in RATES:
        for name, apart in QUALITY.items():
            title = f"{share:.0%}, {name}"
            row, released = _row(share, apart, repeat=options.repeat)
            rows[title] = row
            if not apart:
                guesses[title] = released
            print(f"{title:20}" + "".join(f"{value:>11.2f}" for value in row.values()), flush=True)
    worst = max(guesses, key=lambda title: guesses[title]["high"])
    return report(
        "defaults",
        question=QUESTION,
        figures={"models_of_each_kind": options.repeat, "by_share_of_positives": rows},
        targets=[
            Target(
                f"models that guess, released: worst {worst} "
                f"({100 * guesses[worst]['share']:.1f} %), upper end of its 95 % interval",
                100 * guesses[worst]["high"],
                100 * FALSE_RELEASE,
                "%",
            )
        ],
        path=options.json,
    )


def _row(share: float, apart: float, *, repeat: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Return a row of the table, and how often the defaults of today release."""
    before: Objective = "f1" if share < 0.1 else "accuracy"
    row: dict[str, Any] = {}
    runs: list[dict[str, float]] = []
    for age, objective, verdict in (("old", before, "ranks"), ("new", "f1_macro", "released")):
        random = np.random.default_rng(20)
        runs = [judge(random, share, apart, objective) for _ in range(repeat)]  # type: ignore[arg-type]
        row[f"{age}: released, %"] = 100 * float(np.mean([run[verdict] for run in runs]))
        for key in ("recall", "precision"):
            row[f"{age}: {key}"] = float(np.mean([run[key] for run in runs]))
    return row, rate([bool(run["released"]) for run in runs])


if __name__ == "__main__":
    sys.exit(main())
