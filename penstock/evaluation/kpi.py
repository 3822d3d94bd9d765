"""What 1,000 decisions of each model are worth on the holdout."""

from __future__ import annotations

from penstock.evaluation.holdout import CANDIDATE, Holdout
from penstock.evaluation.spec import EvaluationSpec
from penstock.policy.cost import CostRule
from penstock.records.kpi import Kpi


def measure_kpi(holdout: Holdout, rule: CostRule, spec: EvaluationSpec) -> Kpi:
    """Measure the worth of decisions, with intervals by resampling the rows.

    Every model decides at its own threshold, which its training chose; nothing is chosen here.

    Args:
        holdout: The rows and the models.
        rule: The policy's rule.
        spec: Confidence, resamples, seed.

    Raises:
        InputError: If the rule does not fit the task or the table.
    """
    import numpy as np

    from penstock.data.table import read_table
    from penstock.data.table.frames import read_arrays
    from penstock.metrics.bootstrap import percentile_interval, replicate
    from penstock.metrics.weighted import Means
    from penstock.policy.worth import PER, worths

    record = holdout.record
    columns = read_arrays(holdout.folder, rule.names(), where=f"gate.cost ({rule.text()})")
    truth = read_table(holdout.folder, [record.target]).column(0).to_numpy()
    found = {
        name: PER
        * worths(
            rule,
            task=record.task,
            columns=columns,
            truth=truth,
            predicted=model.labels_of(holdout.scores[name]),
            positive=record.positive,
            negative=next((c for c in record.classes if c != record.positive), None),
        )
        for name, model in holdout.models.items()
    }
    known = np.isfinite(found[CANDIDATE])
    resampled = replicate(
        {name: [Means({"worth": values[known]})] for name, values in found.items()},
        rows=int(known.sum()),
        resamples=spec.resamples,
        seed=spec.seed,
    )
    figures = {
        name: percentile_interval(
            values[known].mean(), resampled[name]["worth"], confidence=spec.confidence
        )
        for name, values in found.items()
    }
    lacking = int((~known).sum())
    needed = f"lack one of {', '.join(sorted(rule.names()))}" if rule.names() else ""
    unseen = "are of a class that the model does not know" if rule.matrix is not None else ""
    return Kpi(
        unit=rule.unit,
        expression=rule.text(),
        per_thousand=figures.pop(CANDIDATE),
        others=figures,
        rows=int(known.sum()),
        notes=(
            (
                f"{lacking:,} rows {' or '.join(filter(None, (needed, unseen)))}: they have no "
                "worth and are left out.",
            )
            if lacking
            else ()
        ),
    )
