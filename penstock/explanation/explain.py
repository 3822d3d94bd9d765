"""Explain which columns a model's predictions depend on, on holdout rows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.common import files
from penstock.common.progress import say
from penstock.explanation.report import explanation_page
from penstock.records.explanation import ExplainedRow, Explanation, Importance

if TYPE_CHECKING:
    import numpy as np

    from penstock.explanation._attribution import Attributions
    from penstock.explanation._sample import Sample

ROWS = 2_000
SEED = 20

SHOWN_COLUMNS = 6
"""Columns whose partial dependence is measured."""

_LONGEST_VALUE = 200


def explain(
    holdout: Path,
    *,
    model: Path,
    output: Path,
    report: Path,
    rows: int = ROWS,
    seed: int = SEED,
) -> Explanation:
    """Explain a model on a sample of the holdout, and write the record and its page.

    Permutation importance and SHAP values by raw column, partial dependence of the columns with
    the largest SHAP values, and, of a model that carries rows, three rows explained. The cost is
    bounded: it grows with the model and the columns, not with the holdout. Permutation importance
    is measured for the columns with the largest SHAP values. The same inputs give the same record.

    Args:
        holdout: The part of the dataset that training did not see.
        model: The model's folder.
        output: Where to write the record (JSON).
        report: Where to write the page (HTML).
        rows: How many rows are drawn, at most.
        seed: Of all draws.

    Raises:
        InputError: If the holdout lacks a column that the model takes, or its target.
        IntegrityError: If the model folder or the dataset is not whole or not trusted.
    """
    import numpy as np

    from penstock.explanation._attribution import attribute
    from penstock.explanation._dependence import dependences
    from penstock.explanation._importance import permutation
    from penstock.explanation._sample import draw

    sample = draw(holdout, model=model, rows=rows, seed=seed)
    chosen = _chosen(sample) if sample.model.record.carries_rows else []
    keep = np.unique(np.array([place for _, place in chosen], dtype=np.int64))
    found = attribute(sample, keep=keep, seed=seed)
    strength = dict(zip(sample.columns, np.abs(found.values).mean(axis=0).tolist(), strict=True))
    lost, notes = permutation(sample, strength, seed=seed)
    importances = _importances(sample, found, lost)
    top = [importance.column for importance in importances[:SHOWN_COLUMNS]]
    explanation = Explanation(
        model=sample.model.digest,
        dataset=sample.dataset,
        metric=sample.model.record.metric,
        rows=len(found.places),
        seed=seed,
        method=found.method,
        unit=found.unit,
        exact=found.exact,
        largest_gap=found.gap,
        importances=importances,
        dependences=dependences(sample, top, seed=seed),
        examples=tuple(_explained(sample, found, title, place) for title, place in chosen),
        notes=tuple(notes),
    )
    files.write_text(report, explanation_page(explanation, record=sample.model.record))
    explanation.write(output)
    say(f"{', '.join(top[:3])} move the answers most, on {explanation.rows:,} rows")
    return explanation


def _importances(
    sample: Sample, found: Attributions, lost: dict[str, Any]
) -> tuple[Importance, ...]:
    import numpy as np

    means = np.abs(found.values).mean(axis=0)
    deciles = np.quantile(found.values, np.linspace(0, 1, 11), axis=0)
    made = [
        Importance(
            column=column,
            permutation=lost.get(column),
            attribution=float(means[i]),
            deciles=tuple(deciles[:, i].tolist()),
        )
        for i, column in enumerate(sample.columns)
    ]
    return tuple(sorted(made, key=lambda importance: (-importance.attribution, importance.column)))


def _chosen(sample: Sample) -> list[tuple[str, int]]:
    """Return three example rows: why each is shown, and its place in the sample."""
    import numpy as np

    scores, record = sample.scores, sample.model.record
    if record.task == "multiclass":
        surest = scores.max(axis=1)
        wrong = np.flatnonzero(scores.argmax(axis=1) != sample.truth)
        chosen = [("The surest answer", int(surest.argmax()))]
        if len(wrong):
            chosen.append(("The surest that is wrong", int(wrong[surest[wrong].argmax()])))
        return [*chosen, ("The least sure answer", int(surest.argmin()))]
    middle = record.threshold if record.task == "binary" else float(np.median(scores))
    title = "The score nearest the threshold" if record.task == "binary" else "The median answer"
    word = "score" if record.task == "binary" else "answer"
    return [
        (f"The highest {word}", int(scores.argmax())),
        (title, int(np.abs(scores - middle).argmin())),
        (f"The lowest {word}", int(scores.argmin())),
    ]


def _explained(sample: Sample, found: Attributions, title: str, place: int) -> ExplainedRow:
    import numpy as np

    where = int(np.searchsorted(found.places, place))
    record = sample.model.record
    score: np.ndarray = sample.scores[place]
    many = record.task == "multiclass"
    row = sample.rows.slice(place, 1).to_pylist()[0]
    return ExplainedRow(
        title=title,
        score=float(score.max()) if many else float(score),
        of=str(record.classes[int(score.argmax())]) if many else "",
        base=float(found.base[where]),
        output=float(found.output[where]),
        values={column: _plain(row[column]) for column in sample.columns},
        contributions=dict(zip(sample.columns, found.values[where].tolist(), strict=True)),
    )


def _plain(value: Any) -> float | int | bool | str | None:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return value[:_LONGEST_VALUE]
    plain: float | int | bool | None = value
    return plain
