"""What the default gate releases of simulated classifiers, by base rate: the figures of ADR 0024.

Scores are of two normal distributions, and calibrated. The threshold is chosen on training rows,
the gate judges the holdout: by the defaults, and by those before them (accuracy or, when the
positive class is below 10 %, F1 sets the threshold; nothing is asked of the labels).

    python benchmarks/gate_defaults.py [repeats]
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.special import expit, logit

from penstock.evaluation import _measurement
from penstock.evaluation._figures import Answers, figures
from penstock.policy.classes import ClassesRule
from penstock.training.threshold import Objective, best_threshold

TRAIN, HOLDOUT = 4000, 1000
RATES = (0.5, 0.2, 0.12, 0.05, 0.01)
QUALITY = {"none": 0.0, "weak": 0.5, "fair": 1.2, "good": 2.5}
"""Distance of the two distributions in standard deviations: ROC AUC 0.50, 0.64, 0.80 and 0.96."""

RULE = ClassesRule()


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
    losses = _measurement.losses("binary", truth, scores)
    answers = Answers("binary", truth, scores, called, 2, losses)
    exact = {
        name: value
        for name, value in _measurement.exact(answers).items()
        if name in ("roc_auc", "balanced_accuracy", "recall", "precision")
    }
    found = {name: one.estimate for name, one in figures(answers, exact, confidence=0.95).items()}
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


def main() -> None:
    """Print the table."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    columns = "released | recall | precision"
    print(f"| positive | model | old: {columns} | new: {columns} |")
    print("|---|---|---|---|---|---|---|---|")
    for rate in RATES:
        for name, apart in QUALITY.items():
            cells = [f"{rate:.0%}", name]
            before: Objective = "f1" if rate < 0.1 else "accuracy"
            for objective, verdict in ((before, "ranks"), ("f1_macro", "released")):
                random = np.random.default_rng(20)
                runs = [judge(random, rate, apart, objective) for _ in range(repeats)]
                cells += [
                    f"{np.mean([run[verdict] for run in runs]):.0%}",
                    *(
                        f"{np.mean([run[key] for run in runs]):.2f}"
                        for key in ("recall", "precision")
                    ),
                ]
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
