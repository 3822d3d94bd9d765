"""Simulated pairs of models for bench_gate.py whose true figures are known.

Binary: scores are binormal, N(mu, 1) of positives and N(0, 1) of negatives, correlated 0.9 between
the two models within a class; the stated probabilities are the true ones, each model's threshold
maximises its true accuracy (balanced) or its true F1 (1 % positive), as training does.
Regression: errors follow Student's t with 5 degrees of freedom, correlated 0.9.
True figures are integrals by a fine grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import sqrt

import numpy as np
from scipy import stats

from penstock.metrics.predictions import Predictions

CORRELATION = 0.9
AREA = 0.85
"""The champion's area under the ROC curve."""
MARGIN = 0.01
"""The default non-inferiority margin, in units of that area."""
SCALE_MARGIN = 0.02
"""Regression: a candidate at the margin has errors larger by this share."""
FREEDOM = 5


@dataclass(frozen=True)
class World:
    """Where pairs are drawn from.

    Attributes:
        name: What the table calls it.
        rows: Rows of each holdout.
        positives: Share of positives; None for a regression.
    """

    name: str
    rows: int
    positives: float | None

    def truths(self, worse: float) -> dict[str, float]:
        """Return the true metrics of a model that is worse by so many margins."""
        if self.positives is None:
            return regression_truths(1 + worse * SCALE_MARGIN)
        return binary_truths(shift_of(worse), self.positives)[0]

    def draw(self, worse: float, rng: np.random.Generator) -> tuple[Predictions, Predictions]:
        """Return a candidate that is worse by so many margins, and the champion, on new rows."""
        if self.positives is None:
            return self._regression(worse, rng)
        truth = (rng.random(self.rows) < self.positives).astype(np.int64)
        shared = rng.normal(size=self.rows)
        pair = []
        for shift in (shift_of(worse), shift_of(0)):
            own = rng.normal(size=self.rows)
            noise = sqrt(CORRELATION) * shared + sqrt(1 - CORRELATION) * own
            scores = probability(noise + shift * truth, shift, self.positives)
            threshold = binary_truths(shift, self.positives)[1]
            pair.append(
                Predictions(
                    task="binary",
                    truth=truth,
                    scores=scores,
                    predicted=(scores >= threshold).astype(np.int64),
                    classes=2,
                )
            )
        return pair[0], pair[1]

    def _regression(
        self, worse: float, rng: np.random.Generator
    ) -> tuple[Predictions, Predictions]:
        truth = rng.uniform(5, 15, self.rows)
        shared, heavy = rng.normal(size=self.rows), rng.chisquare(FREEDOM, self.rows) / FREEDOM
        pair = []
        for scale in (1 + worse * SCALE_MARGIN, 1.0):
            own = rng.normal(size=self.rows)
            noise = sqrt(CORRELATION) * shared + sqrt(1 - CORRELATION) * own
            given = truth + scale * noise / np.sqrt(heavy)
            pair.append(
                Predictions(
                    task="regression",
                    truth=truth,
                    scores=given,
                    predicted=given,
                    classes=0,
                )
            )
        return pair[0], pair[1]


def shift_of(worse: float) -> float:
    """Return the distance of the classes of a model that is worse by so many margins of area."""
    return float(sqrt(2) * stats.norm.ppf(AREA - worse * MARGIN))


def probability(scores: np.ndarray, shift: float, positives: float) -> np.ndarray:
    """Return the probability of the positive class by Bayes' rule."""
    odds = shift * scores - shift**2 / 2 + np.log(positives / (1 - positives))
    return np.asarray(1 / (1 + np.exp(-odds)))


@cache
def binary_truths(shift: float, positives: float) -> tuple[dict[str, float], float]:
    """Return the true metrics at the best threshold, and that threshold."""
    grid = np.linspace(-9, 11, 400_001)
    step = grid[1] - grid[0]
    of_positive, of_negative = stats.norm.pdf(grid, shift), stats.norm.pdf(grid)
    recall, false_positive_rate = stats.norm.sf(grid, shift), stats.norm.sf(grid)
    chance = probability(grid, shift, positives)
    hit, false = positives * recall, (1 - positives) * false_positive_rate
    flagged = np.maximum(hit + false, 1e-300)
    accuracy, f1 = hit + (1 - positives) - false, 2 * hit / (flagged + positives)
    best = int((accuracy if positives == 0.5 else f1).argmax())
    others = 2 * (1 - positives - false) / (1 - flagged + 1 - positives)
    density = positives * of_positive, (1 - positives) * of_negative
    loss = density[0] * -np.log(chance) + density[1] * -np.log1p(-chance)
    squares = density[0] * (1 - chance) ** 2 + density[1] * chance**2
    truths = {
        "roc_auc": float(stats.norm.cdf(shift / sqrt(2))),
        "average_precision": float((of_positive * hit / flagged).sum() * step),
        "accuracy": float(accuracy[best]),
        "balanced_accuracy": float((recall[best] + 1 - false_positive_rate[best]) / 2),
        "f1": float(f1[best]),
        "f1_macro": float((f1[best] + others[best]) / 2),
        "precision": float(hit[best] / flagged[best]),
        "recall": float(recall[best]),
        "log_loss": float(loss.sum() * step),
        "brier": float(squares.sum() * step),
    }
    return truths, float(chance[best])


def regression_truths(scale: float) -> dict[str, float]:
    """Return the true metrics of errors of that scale."""
    squared = scale**2 * FREEDOM / (FREEDOM - 2)
    mean = scale * float(stats.t(FREEDOM).expect(abs))
    return {
        "r2": 1 - squared / (100 / 12),
        "rmse": sqrt(squared),
        "mae": mean,
        "median_absolute_error": scale * float(stats.t.ppf(0.75, FREEDOM)),
        "mape": mean * float(np.log(3)) / 10,
    }
