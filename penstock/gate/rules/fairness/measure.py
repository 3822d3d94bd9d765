"""How far a model's figures lie apart between groups of people, by fairlearn's metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.errors import InputError
from penstock.gate.holdout import CANDIDATE, Holdout
from penstock.gate.levels import Levels, crossed, levels_of
from penstock.gate.rules.fairness.spec import Fairness, FairnessSpec, Group
from penstock.metrics.bootstrap import inverted_interval
from penstock.records.estimate import Estimate

WHERE = "gate.fairness"

_METRICS: dict[str, dict[str, tuple[str, ...]]] = {
    "binary": {
        "selection_rate": ("selection_rate",),
        "true_positive_rate": ("true_positive_rate",),
        "false_positive_rate": ("false_positive_rate",),
        "equalized_odds": ("true_positive_rate", "false_positive_rate"),
        "accuracy": ("accuracy",),
    },
    "multiclass": {"accuracy": ("accuracy",)},
    "regression": {
        "mean_error": ("mean_error",),
        "mean_absolute_error": ("mean_absolute_error",),
    },
}
"""What a rule's metric is measured by, by task."""

_LEVELS = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Means:
    """A figure of each group; arrays of shape (groups,).

    Args:
        rows: Rows of the group that it is a mean over.
        mean: The figure; NaN without rows.
        error: Its standard error; NaN without rows.
    """

    rows: NDArray[np.int64]
    mean: Floats
    error: Floats


def measure_fairness(
    holdout: Holdout, settings: FairnessSpec, *, confidence: float, resamples: int, seed: int
) -> Fairness:
    """Measure one rule's figure in every group, and how far the groups lie apart.

    A missing value is a group. The figures are fairlearn's (Bird et al. 2020). Their spread leaves
    out groups in which fewer than `min_rows` rows bear on the figure: of a true positive rate these
    are the positives. Several groups lie apart by chance alone, so the interval of the spread holds
    what makes the observed one no surprise (see `inverted_interval`), and reaches to 0 where chance
    does.

    Args:
        holdout: The rows and what the models say of them.
        settings: Columns, metric, smallest group.
        confidence: Of the intervals.
        resamples: How many draws.
        seed: Of the draws.

    Raises:
        InputError: If a column is not in the holdout, or the metric is not one of the model's task.
    """
    parts = _parts_of(holdout, settings)
    levels = crossed(list(levels_of(holdout, settings.columns, levels=_LEVELS, where=WHERE)))
    means = {part: _means(holdout, levels, part) for part in parts}
    figures = _by_group(holdout, levels, means)
    enough = np.all([means[part].rows >= settings.min_rows for part in parts], axis=0)
    rows = np.bincount(levels.codes, minlength=len(levels.names))
    groups = [
        Group(
            name=levels.names[at],
            rows=int(rows[at]),
            small=not enough[at],
            figures={part: _or_none(figures[part][at]) for part in parts},
        )
        for at in range(len(rows))
    ]
    groups.sort(key=lambda group: (group.small, *_order(group), group.name))
    difference = ratio = None
    if enough.sum() >= 2:
        difference, ratio = _spread(
            _exact(holdout, levels, settings, enough),
            list(means.values()),
            enough,
            confidence=confidence,
            draws=resamples,
            seed=seed,
        )
    return Fairness(
        columns=settings.columns,
        metric=settings.metric,
        min_rows=settings.min_rows,
        groups=tuple(groups),
        difference=difference,
        ratio=ratio,
        notes=_notes(groups, settings),
    )


def _parts_of(holdout: Holdout, settings: FairnessSpec) -> tuple[str, ...]:
    task = holdout.record.task
    parts = _METRICS[task].get(settings.metric)
    if parts is None:
        raise InputError(
            f"{settings.metric!r} is not a figure of a {task} model",
            where=f"{WHERE} on {', '.join(settings.columns)}",
            remedy=f"Use one of: {', '.join(_METRICS[task])}.",
        )
    return parts


def _by_group(holdout: Holdout, levels: Levels, means: dict[str, _Means]) -> dict[str, Floats]:
    """Return every figure of every group as fairlearn gives it; NaN where it is not defined."""
    from fairlearn.metrics import MetricFrame

    given, weights = _given(holdout, levels, tuple(means))
    frame = MetricFrame(
        metrics={part: _function(part) for part in means},
        sample_params=dict.fromkeys(means, weights),
        **given,
    )
    every = frame.by_group.reindex(range(len(levels.names)))
    # fairlearn says 0 of a rate that rests on no row.
    return {
        part: np.where(of.rows == 0, np.nan, every[part].to_numpy(dtype=np.float64))
        for part, of in means.items()
    }


def _given(
    holdout: Holdout, levels: Levels, parts: tuple[str, ...]
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return what fairlearn takes: of classes each combination once, weighed by its rows.

    A million rows one by one take it ten seconds for each figure.
    """
    truth, predicted = _truth(holdout, parts), holdout.predicted(CANDIDATE)
    if holdout.record.task == "regression":
        # As wide as the places of groups, by which the figures are asked for.
        groups = levels.codes.astype(np.int64)
        return {"y_true": truth, "y_pred": predicted, "sensitive_features": groups}, {}
    width = int(max(truth.max(), predicted.max())) + 1
    cells = (levels.codes.astype(np.int64) * width + truth) * width + predicted
    found, rows = np.unique(cells, return_counts=True)
    once = {
        "y_true": found // width % width,
        "y_pred": found % width,
        "sensitive_features": found // width**2,
    }
    return once, {"sample_weight": rows}


def _truth(holdout: Holdout, parts: tuple[str, ...]) -> NDArray[Any]:
    """Return the truth as fairlearn takes it: of a rate 1 or 0, and an unknown class is no 1."""
    if holdout.record.task == "binary" and parts != ("accuracy",):
        return np.asarray(holdout.truth == 1, dtype=np.int64)
    return holdout.truth


def _function(part: str) -> Callable[..., float]:
    from fairlearn.metrics import false_positive_rate, selection_rate, true_positive_rate
    from sklearn.metrics import accuracy_score, mean_absolute_error

    if part == "mean_error":
        return _mean_error
    metrics: dict[str, Callable[..., float]] = {
        "selection_rate": selection_rate,
        "true_positive_rate": true_positive_rate,
        "false_positive_rate": false_positive_rate,
        "accuracy": accuracy_score,
        "mean_absolute_error": mean_absolute_error,
    }
    return metrics[part]


def _mean_error(y_true: NDArray[Any], y_pred: NDArray[Any]) -> float:
    return float(np.mean(np.asarray(y_pred) - np.asarray(y_true)))


def _means(holdout: Holdout, levels: Levels, part: str) -> _Means:
    truth, predicted = _truth(holdout, (part,)), holdout.predicted(CANDIDATE)
    taken: NDArray[Any] = np.ones(len(truth), dtype=bool)
    if part in ("true_positive_rate", "false_positive_rate"):
        taken = truth == (part == "true_positive_rate")
    values = {
        "accuracy": lambda: predicted == truth,
        "mean_error": lambda: predicted - truth,
        "mean_absolute_error": lambda: np.abs(predicted - truth),
    }.get(part, lambda: predicted == 1)()[taken].astype(np.float64)
    codes, groups = levels.codes[taken], len(levels.names)
    rows = np.bincount(codes, minlength=groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(codes, weights=values, minlength=groups) / rows
        if holdout.record.task != "regression":
            # As if half a row more were of either kind: a share of 0 is not certain.
            share = (mean * rows + 0.5) / (rows + 1)
            return _Means(rows, mean, np.sqrt(share * (1 - share) / rows))
        square = (values - mean[codes]) ** 2
        variance = np.bincount(codes, weights=square, minlength=groups) / np.maximum(rows - 1, 1)
    return _Means(rows, mean, np.sqrt(variance / rows))


def _spread(
    exact: tuple[float, float | None],
    means: Sequence[_Means],
    enough: NDArray[np.bool_],
    *,
    confidence: float,
    draws: int,
    seed: int,
) -> tuple[Estimate, Estimate | None]:
    """Return the difference and the ratio with intervals.

    Args:
        exact: The difference and the ratio themselves.
        means: Of each figure that the rule looks at.
        enough: Which groups are large enough, shape (groups,).
        confidence: Of the intervals.
        draws: How many.
        seed: Of the draws.
    """
    generator = np.random.default_rng(seed)
    large = [_Means(one.rows[enough], one.mean[enough], one.error[enough]) for one in means]
    # Of two figures the wider spread counts: the chance of error is shared between them.
    each = 1 - (1 - confidence) / len(large)
    ends = [_ends(one, confidence=each, draws=draws, generator=generator) for one in large]
    difference, ratio = exact
    found = Estimate(
        value=difference,
        low=min(max(low for low, _ in ends), difference),
        high=max(high for _, high in ends),
    )
    if ratio is None:
        return found, None
    least, most = (
        min(_ratio(one, end[side]) for one, end in zip(large, ends, strict=True)) for side in (1, 0)
    )
    return found, Estimate(value=ratio, low=min(least, ratio), high=max(most, ratio))


def _ends(
    means: _Means, *, confidence: float, draws: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Return the ends of the interval of largest minus smallest."""
    from scipy.special import ndtri

    noise = generator.normal(size=(draws, len(means.rows))) * means.error

    def drawn(factor: float) -> Floats:
        return np.asarray(np.ptp(_apart(means, factor) + noise, axis=1))

    difference = float(np.ptp(means.mean))
    low, high = inverted_interval(drawn, difference, confidence=confidence)
    # The factor is the same for all groups; the two furthest apart may be further than that.
    furthest = [means.mean.argmin(), means.mean.argmax()]
    reach = float(ndtri((1 + confidence) / 2) * np.hypot(*means.error[furthest]))
    return low, max(high, difference + reach)


def _apart(means: _Means, factor: float) -> Floats:
    """Return the figures as far from their common mean as they are, times `factor`."""
    weights = means.rows / means.rows.sum()
    middle = float(weights @ means.mean)
    return middle + factor * (means.mean - middle)


def _ratio(means: _Means, end: float) -> float:
    """Return smallest over largest if the groups were `end` apart."""
    difference, most = float(np.ptp(means.mean)), float(means.mean.max())
    least = most - end
    if difference > 0:
        figures = _apart(means, end / difference)
        least, most = float(figures.min()), float(figures.max())
    return max(least, 0.0) / most if most > 0 else 1.0


def _exact(
    holdout: Holdout, levels: Levels, settings: FairnessSpec, enough: NDArray[np.bool_]
) -> tuple[float, float | None]:
    """Return the difference and the ratio between large groups, as fairlearn gives them."""
    from fairlearn import metrics as fairlearn

    given, weights = _given(holdout, levels, (settings.metric,))
    kept = enough[given["sensitive_features"]]
    given = {name: values[kept] for name, values in given.items()}
    weights = {name: values[kept] for name, values in weights.items()}
    named = {"selection_rate": "demographic_parity", "equalized_odds": "equalized_odds"}
    with np.errstate(divide="ignore", invalid="ignore"):
        if settings.metric in named:
            name = named[settings.metric]
            difference = getattr(fairlearn, f"{name}_difference")(**given, **weights)
            ratio = getattr(fairlearn, f"{name}_ratio")(**given, **weights)
        else:
            frame = fairlearn.MetricFrame(
                metrics=_function(settings.metric), sample_params=weights, **given
            )
            difference, ratio = frame.difference(), frame.ratio()
    if settings.metric == "mean_error":
        return float(difference), None
    # Where every group has 0 there is no spread, and fairlearn's ratio is 0 / 0.
    return float(difference), 1.0 if np.isnan(ratio) else float(ratio)


def _order(group: Group) -> tuple[float, ...]:
    return tuple(np.inf if value is None else value for value in group.figures.values())


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _notes(groups: list[Group], settings: FairnessSpec) -> tuple[str, ...]:
    small = [group.name for group in groups if group.small]
    if not small:
        return ()
    rests = {
        "true_positive_rate": "rows that are positive",
        "false_positive_rate": "rows that are negative",
        "equalized_odds": "rows that are positive, or that are negative",
    }.get(settings.metric, "rows")
    shown = ", ".join(small[:10]) + (f" and {len(small) - 10} more" if len(small) > 10 else "")
    return (
        f"Left out of the spread, because they have fewer than {settings.min_rows:,} {rests}: "
        f"{shown}.",
    )
