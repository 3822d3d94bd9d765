"""What a candidate loses when its inputs are slightly off: small noise, missing values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from penstock.data.table import iter_batches
from penstock.evaluation.holdout import CANDIDATE, Holdout
from penstock.evaluation.model_metrics import predictions_of
from penstock.evaluation.spec import EvaluationSpec
from penstock.metrics import METRICS
from penstock.metrics.arrays import Floats
from penstock.metrics.comparisons import paired_difference
from penstock.metrics.intervals import estimate_metrics, too_few_rows
from penstock.metrics.weighted import compute
from penstock.policy.trust import StabilityRule
from penstock.records.health import Disturbed

if TYPE_CHECKING:
    import pandas as pd

    from penstock.model import LoadedModel

ROWS = 20_000
"""Rows that are disturbed at most: more are drawn from, so that the figures are the holdout's."""

_PLAIN = "plain"


def measure_stability(
    holdout: Holdout, rule: StabilityRule, spec: EvaluationSpec
) -> tuple[Disturbed, ...]:
    """Disturb the holdout and measure the primary metric again, on the same rows.

    `noise` adds to every number a draw from the normal distribution whose standard deviation is a
    share of the column's; whole numbers are not kept whole, and codes that the model takes for a
    category are left alone. `missing` takes values away, each with the same probability. The draws
    are made once.

    Args:
        holdout: The rows and what the candidate says of them. Above 20,000 rows a sample is taken.
        rule: How much of each.
        spec: Confidence, resamples, seed.

    Returns:
        One for each kind that the rule asks for; none where these rows do not define the metric.
    """
    generator = np.random.default_rng([spec.seed, 1])
    taken = np.arange(holdout.rows)
    if holdout.rows > ROWS:
        taken = np.sort(generator.choice(holdout.rows, ROWS, replace=False))
    model = holdout.models[CANDIDATE]
    frame = _frame(holdout, taken)
    amounts = {"noise": rule.noise, "missing": rule.missing}
    scores = {_PLAIN: holdout.scores[CANDIDATE][taken]}
    failed, disturbed_columns = {}, {}
    for kind, amount in amounts.items():
        if not amount:
            continue
        disturbed = _disturb(frame, model, kind, amount, generator)
        disturbed_columns[kind] = sum(not disturbed[c].equals(frame[c]) for c in frame)
        try:
            scores[kind] = _scores(holdout, disturbed)
        except ValueError as error:
            # That a model cannot take a missing value is a finding about it, no fault of the rows.
            failed[kind] = f"{type(error).__name__}: {error!s:.200}"
    rows = replace(
        holdout,
        truth=holdout.truth[taken],
        scores=scores,
        models=dict.fromkeys(scores, model),
    )
    return tuple(
        one.model_copy(update={"columns": disturbed_columns[one.kind]})
        for one in _measure(rows, amounts, failed, spec)
    )


def _frame(holdout: Holdout, taken: np.ndarray) -> pd.DataFrame:
    """Return the candidate's input of the taken rows, in their order."""
    import pandas as pd
    import pyarrow as pa

    model = holdout.models[CANDIDATE]
    parts, start = [], 0
    for batch in iter_batches(holdout.folder, [column.name for column in model.record.columns]):
        here = taken[(taken >= start) & (taken < start + len(batch))] - start
        start += len(batch)
        if len(here):
            parts.append(model.frame(batch.take(pa.array(here))))
    return pd.concat(parts, ignore_index=True)


def _disturb(
    frame: pd.DataFrame,
    model: LoadedModel,
    kind: str,
    amount: float,
    generator: np.random.Generator,
) -> pd.DataFrame:
    import pandas as pd

    changed, codes = {}, _codes(model)
    for column in model.record.columns:
        values = frame[column.name]
        if kind == "missing":
            values = values.mask(generator.random(len(values)) < amount, None)
        elif column.type in ("integer", "number") and column.name not in codes:
            deviation = values.std()
            size = 0.0 if np.isnan(deviation) else amount * float(deviation)
            values = values + generator.normal(0.0, 1.0, len(values)) * size
        changed[column.name] = values
    return pd.DataFrame(changed)


def _codes(model: LoadedModel) -> set[str]:
    """Return the columns that the model encodes by level: a code with noise is no code."""
    taken: set[str] = set()
    for _, transformer, names in model.pipeline["features"].transformers_:
        steps = [step for _, step in getattr(transformer, "steps", [("", transformer)])]
        if any(hasattr(step, "categories_") for step in steps):
            taken |= set(names)
    return taken


def _scores(holdout: Holdout, disturbed: pd.DataFrame) -> Floats:
    import pandas as pd

    model = holdout.models[CANDIDATE]
    # A whole number with noise is none, so the check of values is left out.
    columns = {
        column.name: [None if pd.isna(text) else text for text in disturbed[column.name]]
        if column.type == "string"
        else disturbed[column.name].to_numpy()
        for column in model.record.columns
    }
    scores = np.asarray(model.scores_of(columns))
    if not np.isfinite(scores).all():
        raise ValueError("it gives predictions that are not finite")
    return scores


def _measure(
    rows: Holdout, amounts: dict[str, float], failed: dict[str, str], spec: EvaluationSpec
) -> Iterator[Disturbed]:
    metric = rows.record.metric
    given = {name: predictions_of(rows, name) for name in rows.scores}
    values = {name: compute(predictions)[metric] for name, predictions in given.items()}
    if metric in too_few_rows(given[_PLAIN]) or not np.isfinite(values[_PLAIN]):
        return
    for kind, amount in amounts.items():
        ground = {"kind": kind, "amount": amount, "rows": rows.rows, "before": values[_PLAIN]}
        if kind in failed:
            yield Disturbed(**ground, failed=failed[kind])
        elif np.isfinite(values.get(kind, np.nan)):
            pair = [
                estimate_metrics(given[n], {metric: values[n]}, confidence=spec.confidence)[metric]
                for n in (_PLAIN, kind)
            ]
            value = pair[1].estimate
            if not METRICS[metric].higher_is_better:
                pair.reverse()
            drop = paired_difference(metric, *pair, confidence=spec.confidence).estimate
            yield Disturbed(**ground, value=value, drop=drop)
