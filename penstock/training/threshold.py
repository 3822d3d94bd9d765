"""From which score on the positive class is predicted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from penstock.metrics.business_value import PER

if TYPE_CHECKING:
    import numpy as np

Objective = Literal["f1_macro", "accuracy", "f1", "balanced_accuracy", "cost"]

Gains = tuple["np.ndarray", "np.ndarray"]
"""What each row is worth if it is predicted positive, and if it is not; shape (n,) each."""


def threshold_curve(
    truth: np.ndarray, scores: np.ndarray, *, objective: Objective, gains: Gains | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return every threshold that makes a difference, falling, and the value each one gives.

    Thresholds lie halfway between two neighbouring scores, above all of them (nothing is predicted
    positive) and at or below all of them (everything is); both arrays have shape (distinct + 1,).

    Args:
        truth: 1 for the positive class, 0 for the other; shape (n,), both present.
        scores: Probabilities of the positive class, shape (n,).
        objective: What is measured; of `cost` the worth of 1,000 decisions.
        gains: What `cost` adds up; rows of which it is NaN are left out.
    """
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], truth[order]
    last_of_ties = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    found = np.append(0, np.cumsum(hits)[last_of_ties])
    false = np.append(0, last_of_ties + 1) - found
    cuts = ordered[last_of_ties]
    above, below = np.nextafter(max(cuts[0], 1.0), 2.0), min(cuts[-1], 0.0)
    halfway = (cuts[:-1] + cuts[1:]) / 2
    # Between neighbouring doubles there is nothing: halfway is one of them.
    between = np.where(halfway > cuts[1:], halfway, cuts[:-1])
    thresholds = np.concatenate([[above], between, [below]])
    positives = int(truth.sum())
    if objective == "cost":
        assert gains is not None
        known = np.isfinite(gains[0])
        if_called, if_not = (np.where(known, values, 0.0)[order] for values in gains)
        change = np.append(0.0, np.cumsum(if_called - if_not)[last_of_ties])
        return thresholds, PER * (if_not.sum() + change) / max(1, known.sum())
    return thresholds, _VALUE[objective](found, false, positives, len(truth) - positives)


def best_threshold(
    truth: np.ndarray, scores: np.ndarray, *, objective: Objective, gains: Gains | None = None
) -> tuple[float, float]:
    """Return the threshold that maximises `objective`, and the value it reaches.

    Of equally good thresholds the one nearest to 0.5 wins. See `threshold_curve` for the arguments.
    """
    import numpy as np

    thresholds, values = threshold_curve(truth, scores, objective=objective, gains=gains)
    ties = np.flatnonzero(values >= values.max() - 1e-12 * max(1.0, np.abs(values).max()))
    chosen = ties[np.abs(thresholds[ties] - 0.5).argmin()]
    return float(thresholds[chosen]), float(values[chosen])


def _accuracy(found: Any, false: Any, positives: int, negatives: int) -> Any:
    return (found + negatives - false) / (positives + negatives)


def _f1(found: Any, false: Any, positives: int, negatives: int) -> Any:  # noqa: ARG001
    return 2 * found / (found + false + positives)


def _f1_macro(found: Any, false: Any, positives: int, negatives: int) -> Any:
    # The rows of the other class that are predicted so, and all rows predicted so.
    kept, rest = negatives - false, negatives - false + positives - found
    return (_f1(found, false, positives, negatives) + 2 * kept / (rest + negatives)) / 2


def _balanced_accuracy(found: Any, false: Any, positives: int, negatives: int) -> Any:
    return (found / positives + (negatives - false) / negatives) / 2


_VALUE: dict[str, Callable[[Any, Any, int, int], Any]] = {
    "f1_macro": _f1_macro,
    "accuracy": _accuracy,
    "f1": _f1,
    "balanced_accuracy": _balanced_accuracy,
}
