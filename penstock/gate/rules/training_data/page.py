"""The training data on the evaluation's page and on the model card."""

from __future__ import annotations

from penstock.gate.rules.training_data.spec import TrainingData
from penstock.records.health import TrainingHealth
from penstock.reports.blocks import Part, Text
from penstock.reports.page import Section, paragraph, table
from penstock.reports.words import column_figures, percent


def section_of(measured: TrainingData) -> Section:
    """Return the section of the evaluation's page."""
    health = measured.health
    if health is None:
        body = paragraph("The model carries no record of the health of its training data.")
    elif health.label_noise is None or health.flipped_labels is None:
        body = paragraph("A regression has no classes, so that wrong labels are not estimated.")
    else:
        body = _label_text(health)
    if measured.drift:
        body += paragraph("How far each column has moved since the champion was trained:")
        body += column_figures(measured.drift, figure="Stability index")
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


def _label_text(health: TrainingHealth) -> str:
    assert health.label_noise is not None
    estimate = paragraph(
        f"An estimated {percent(health.label_noise)} of {health.rows:,} labels are wrong or belong "
        "to rows that the columns cannot separate (confident learning, on predictions of rows "
        "that were left out). Where classes overlap much, the estimate is too high."
    )
    if not health.suspects:
        return estimate + paragraph(
            f"In none of {health.parts:,} parts (levels and ranges of each column) do labels look "
            "flipped beyond what is so elsewhere."
        )
    rows = [[s.name, f"{s.rows:,}", percent(s.flipped)] for s in health.suspects]
    return (
        estimate
        + paragraph(
            "In these parts labels look flipped, far beyond what is so elsewhere. Or the relation "
            "is another one there."
        )
        + table(["Part", "Rows", "Look flipped"], rows, numeric=(1, 2))
    )


def card_part(measured: TrainingData | None) -> Part:
    """Return the part of the model card; None: nothing was measured."""
    seen = None if measured is None else measured.health
    if seen is None:
        absent = Text("The labels of the training rows were not looked at.")
        return Part("Labels of the training data", [absent])
    shares = {"wrong": seen.label_noise, "flipped within one part": seen.flipped_labels}
    shares_text = [f"{what} {share:.1%}" for what, share in shares.items() if share is not None]
    text = f"Estimated shares of training labels: {', '.join(shares_text) or 'none'}."
    return Part("Labels of the training data", [Text(text)])
