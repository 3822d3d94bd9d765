"""The evaluation page's sections on what a model rests on and what its decisions are worth."""

from __future__ import annotations

from penstock.evaluation.words import percent, title_of
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Evaluation
from penstock.records.health import ColumnFigure, Leakage, TrainingData, TrainingHealth
from penstock.records.kpi import Kpi
from penstock.reports.page import Cell, Section, paragraph, table

_SHOWN = 10

_STRENGTH = {
    "binary": "Area under the ROC curve of the column alone: 0.5 tells nothing, 1 all.",
    "multiclass": "Mean area under the ROC curve of each class against the rest: 0.5 tells "
    "nothing, 1 all.",
    "regression": "Squared rank correlation of the column with the target: 0 tells nothing, 1 all.",
}

_HOW = (
    " A level or range is scored by the mean target of its rows in four other fifths of the "
    "holdout, so that an identifier tells nothing."
)


def health_sections(evaluation: Evaluation) -> list[Section]:
    """Return the sections on what was measured of leakage, training data and worth."""
    sections = []
    if evaluation.kpi is not None:
        sections.append(_worth(evaluation, evaluation.kpi))
    if evaluation.leakage is not None:
        sections.append(_leakage(evaluation, evaluation.leakage))
    if evaluation.training_data is not None:
        sections.append(_training_data(evaluation.training_data))
    return sections


def _worth(evaluation: Evaluation, kpi: Kpi) -> Section:
    figures = {"candidate": kpi.per_thousand, **kpi.others}
    unit = f" in {kpi.unit}" if kpi.unit else ""
    rows: list[list[str | Cell]] = [
        [Cell(title_of(name), strong=name == "candidate"), *_ends(figure)]
        for name, figure in figures.items()
    ]
    told = (
        f"The worth of a row is given by the policy: {kpi.expression}. It is the mean over "
        f"{kpi.rows:,} rows, times 1,000."
    )
    if evaluation.task == "binary":
        told += (
            " Each model decides at its own threshold, which its training chose on rows held out "
            "of the training part; nothing was chosen on these rows."
        )
    return Section(
        "Worth of decisions",
        table(["Model", f"1,000 decisions{unit}", "from", "to"], rows, numeric=(1, 2, 3))
        + paragraph(told)
        + "".join(map(paragraph, kpi.notes)),
        f"What 1,000 decisions are worth{unit}, with {evaluation.confidence:.0%} intervals.",
    )


def _ends(figure: Estimate) -> list[str]:
    values = (figure.value, figure.low, figure.high)
    return [f"{value:,.2f}".replace("-", "\N{MINUS SIGN}") for value in values]


def _leakage(evaluation: Evaluation, leakage: Leakage) -> Section:
    both = leakage.rows_in_both
    if not leakage.overlap and both == 0:
        overlap = f"No row of the holdout was trained on: {leakage.proof}."
    elif not leakage.overlap and both is not None and both <= leakage.by_chance:
        overlap = (
            f"{both:,} rows of the holdout equal training rows, as rows of few different values do "
            f"by chance; none is known to be a copy: {leakage.proof}."
        )
    elif both:
        overlap = f"Some rows of the holdout were trained on: {leakage.overlap}."
    elif leakage.overlap == "not asked":
        overlap = "The policy does not ask whether rows of the holdout were trained on."
    else:
        overlap = f"It is not proved that no row of the holdout was trained on: {leakage.overlap}."
    body = paragraph(overlap)
    if leakage.not_at_serving:
        body += paragraph(
            "The model takes columns that the policy says are not known when it is used: "
            f"{', '.join(leakage.not_at_serving)}."
        )
    if leakage.single_columns:
        body += _columns(leakage.single_columns, figure="Alone")
        body += paragraph(_STRENGTH[evaluation.task] + _HOW)
    return Section("Leakage", body, "Whether the figures rest on what will not be there in use.")


def _training_data(measured: TrainingData) -> Section:
    health = measured.health
    if health is None:
        body = paragraph("The model carries no record of the health of its training data.")
    elif health.label_noise is None or health.poisoned is None:
        body = paragraph("A regression has no classes, so that wrong labels are not estimated.")
    else:
        body = _labels(health)
    if measured.drift:
        body += paragraph("How far each column has moved since the champion was trained:")
        body += _columns(measured.drift, figure="Stability index")
        body += paragraph(
            "Population stability index over deciles of the champion's training data, or its "
            "levels, less what sampling alone gives. Up to 0.1 is usually called small, above "
            "0.25 large."
        )
    if measured.incomparable:
        body += paragraph("These columns cannot be held against the champion's training data:")
        rows = [[one.column, one.note] for one in measured.incomparable]
        body += table(["Column", "Why"], rows)
    if measured.new_columns:
        names = ", ".join(measured.new_columns)
        body += paragraph(f"The champion's training data does not have {names}.")
    if not measured.drift and measured.drift_note != "not asked":
        why = measured.drift_note or "there is nothing to compare"
        body += paragraph(f"Not compared with a champion's training data: {why}.")
    return Section("Training data", body, "What is known of the rows that the model learned from.")


def _labels(health: TrainingHealth) -> str:
    assert health.label_noise is not None
    told = paragraph(
        f"An estimated {percent(health.label_noise)} of {health.rows:,} labels are wrong or belong "
        "to rows that the columns cannot tell apart (confident learning, on predictions of rows "
        "that were left out). Where classes overlap much, the estimate is too high."
    )
    if not health.suspects:
        return told + paragraph(
            f"In none of {health.parts:,} parts (levels and ranges of each column) do labels look "
            "flipped beyond what is so elsewhere."
        )
    rows = [[s.name, f"{s.rows:,}", percent(s.flipped)] for s in health.suspects]
    return (
        told
        + paragraph(
            "In these parts labels look flipped, far beyond what is so elsewhere. Or the relation "
            "is another one there."
        )
        + table(["Part", "Rows", "Look flipped"], rows, numeric=(1, 2))
    )


def _columns(figures: tuple[ColumnFigure, ...], *, figure: str) -> str:
    rows = [[one.column, f"{one.value:.3f}"] for one in figures[:_SHOWN]]
    left = len(figures) - len(rows)
    more = paragraph(f"{left} other columns lie below.") if left else ""
    return table(["Column", figure], rows, numeric=(1,)) + more
