"""Permutation importance of raw columns. Imported only while explaining.

What the primary metric loses when one column's values are shuffled over the rows, so that they say
nothing any more (Breiman, 2001, "Random forests"; Fisher, Rudin & Dominici, 2019, "All models are
wrong, but many are useful"). Columns that say the same stand in for one another: each then seems to
matter little.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from penstock.explanation._sample import Sample
from penstock.metrics import METRICS, Metric
from penstock.records.estimate import Estimate

REPEATS = 10
LEAST_REPEATS = 3

BUDGET = 2_000_000
"""Rows that may be scored for all columns together, unless that is under three repeats."""

_CELLS = 2**20
"""Rows times columns that are scored at once, unless one repeat alone has more."""

_T = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""97.5 % quantile of Student's t by the number of repeats, with one degree of freedom less."""


MOST_COLUMNS = 50
"""Columns that are shuffled at most: each costs scores of all rows, and those of all columns."""


def permutation(
    sample: Sample, strength: Mapping[str, float], *, seed: int
) -> tuple[dict[str, Estimate], list[str]]:
    """Return what the primary metric loses without each column, and what to know of it.

    The value is the mean over the repeats. Each repeat shuffles anew and also measures on another
    draw of the rows with replacement; the 95 % interval is Student's, of the spread of these, so
    that it holds the chance of the rows and that of the shuffle.

    Args:
        sample: The rows.
        strength: By column a cheaper measure of how much it moves the answers. The strongest
            columns are shuffled, `MOST_COLUMNS` at most; one of strength 0 moves no answer.
        seed: Of the draws.

    Returns:
        By column; empty if the rows do not define the metric.
    """
    record = sample.model.record
    metric = METRICS[record.metric]
    known = np.flatnonzero(
        np.isfinite(sample.truth) if record.task == "regression" else sample.truth >= 0
    )
    whole = _measured(sample, metric, sample.scores, known)
    if whole is None:
        return {}, [f"The rows do not define {metric.name}: there is no permutation importance."]
    columns, notes = _shuffled(strength)
    cost = max(1, len(columns) * len(sample.frame))
    repeats = min(REPEATS, max(LEAST_REPEATS, BUDGET // cost))
    chance = np.random.default_rng(seed)
    found: dict[str, Estimate] = {}
    for column in columns:
        estimate = _column(sample, metric, column, known, whole, repeats, chance)
        if estimate is not None:
            found[column] = estimate
    if len(known) < len(sample.truth):
        notes.append(_left_out(len(sample.truth) - len(known)))
    if len(found) < len(columns):
        notes.append(f"Too few resamples of the rows define {metric.name} for some columns.")
    return found, notes


def _shuffled(strength: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return which columns are shuffled, in their order, and what to know of the others."""
    if len(strength) <= MOST_COLUMNS:
        return list(strength), []
    ranked = sorted(strength, key=lambda column: -strength[column])[:MOST_COLUMNS]
    taken = {column for column in ranked if strength[column] > 0}
    note = (
        f"Permutation importance is measured for {len(taken):,} of {len(strength):,} columns: "
        f"those whose SHAP values are largest, {MOST_COLUMNS} at most."
    )
    return [column for column in strength if column in taken], [note]


def _left_out(rows: int) -> str:
    return f"{rows:,} rows without a target that the model knows count for no importance."


def _column(
    sample: Sample,
    metric: Metric,
    column: str,
    known: np.ndarray,
    whole: float,
    repeats: int,
    chance: np.random.Generator,
) -> Estimate | None:
    orders, draws = [], []
    for _ in range(repeats):
        orders.append(chance.permutation(len(sample.frame)))
        draws.append(chance.choice(known, size=len(known)))
    losses, spread = [], []
    for scores, drawn in zip(_shuffled_answers(sample, column, orders), draws, strict=True):
        without = _measured(sample, metric, scores, known)
        again = _measured(sample, metric, sample.scores, drawn)
        again_without = _measured(sample, metric, scores, drawn)
        if without is not None and again is not None and again_without is not None:
            losses.append(whole - without)
            spread.append(again - again_without)
    if len(losses) < LEAST_REPEATS:
        return None
    value = float(np.mean(losses))
    half = _T[len(losses)] * float(np.std(spread, ddof=1))
    return Estimate(value=value, low=value - half, high=value + half)


def _shuffled_answers(
    sample: Sample, column: str, orders: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """Yield the scores with the column in each order: a call costs as much as thousands of rows."""
    rows, values = len(sample.frame), sample.frame[column].to_numpy()
    together = max(1, _CELLS // max(1, rows * len(sample.columns)))
    for start in range(0, len(orders), together):
        some = orders[start : start + together]
        tall = pd.concat([sample.frame] * len(some), ignore_index=True)
        tall[column] = np.concatenate([values[order] for order in some])
        yield from np.split(sample.answers(tall), len(some))


def _measured(sample: Sample, metric: Metric, scores: np.ndarray, rows: np.ndarray) -> float | None:
    """Return the metric over some rows, turned so that more is better; None if not defined."""
    truth, given = sample.truth[rows], scores[rows]
    if len(truth) == 0 or (sample.model.record.task != "regression" and np.ptp(truth) == 0):
        return None
    if metric.needs == "labels":
        given = _codes(sample, given)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            value = metric.of(truth, given)
        except ValueError:
            return None
    return metric.oriented(value) if np.isfinite(value) else None


def _codes(sample: Sample, scores: np.ndarray) -> np.ndarray:
    if scores.ndim == 2:
        return np.asarray(scores.argmax(axis=1))
    return np.asarray(scores >= sample.model.record.threshold, dtype=np.int64)
