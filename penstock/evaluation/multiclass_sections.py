"""The plots of a model of several classes. Imported only while a report is made."""

from __future__ import annotations

import numpy as np

from penstock.evaluation.binary_sections import calibration_figure, reliability_table
from penstock.gate.holdout import CANDIDATE, Holdout
from penstock.metrics.curves import confusion, reliability
from penstock.reports import plots
from penstock.reports.page import Section, figure, paragraph, row, table
from penstock.reports.words import percent

DRAWN_CLASSES = 20
"""Classes up to which the confusion matrix can be read as a drawing."""

_COMMON_CONFUSIONS = 12


def multiclass_sections(holdout: Holdout) -> list[Section]:
    """Return the sections of a report on several classes."""
    predicted = holdout.predicted(CANDIDATE)
    counts = confusion(holdout.truth, predicted, classes=len(holdout.labels()))
    return [
        Section("Right and wrong", _confusion(counts, holdout)),
        Section("By class", _classes(counts, holdout)),
        Section(
            "Probabilities",
            _probabilities(holdout, predicted),
            "Whether the model is right as often as it says it is.",
        ),
    ]


def _confusion(counts: np.ndarray, holdout: Holdout) -> str:
    names = list(holdout.labels())
    known = counts[: len(names)]
    parts = []
    if len(names) <= DRAWN_CLASSES:
        svg = plots.heatmap(
            known,
            rows=names,
            columns=names,
            title="Confusion matrix",
            x="Predicted",
            y="Actual",
        )
        caption = (
            "Rows by what they are and what they were called; the stronger the colour, the larger "
            "the share of that class. Right answers lie on the diagonal."
        )
        parts.append(
            '<div class="scroll" role="region" tabindex="0" aria-label="Confusion matrix">'
            f"{figure(svg, caption=caption)}</div>"
        )
    wrong = known.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_COMMON_CONFUSIONS]
    confusions = [
        [names[actual], names[called], f"{wrong[actual, called]:,}", percent(share)]
        for actual, called in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if (share := wrong[actual, called] / max(known[actual].sum(), 1)) > 0
    ]
    if confusions:
        headers = ["Is", "Called", "Rows", "Of that class"]
        parts.append(
            paragraph("The commonest mistakes:") + table(headers, confusions, numeric=(2, 3))
        )
    else:
        parts.append(paragraph("No row is called what it is not."))
    return "".join(parts) if len(names) > 6 else row(*parts)


def _classes(counts: np.ndarray, holdout: Holdout) -> str:
    names = holdout.labels()
    actual, called = counts.sum(axis=1), counts.sum(axis=0)
    right = counts.diagonal()
    rows = []
    for code, name in enumerate(names):
        either = actual[code] + called[code]
        rows.append(
            [
                name,
                f"{actual[code]:,}",
                _share(right[code], actual[code]),
                _share(right[code], called[code]),
                f"{2 * right[code] / either:.3f}" if either else "none",
            ]
        )
    headers = ["Class", "Rows", "Found (recall)", "Right when called so (precision)", "F1"]
    return table(headers, rows, numeric=(1, 2, 3, 4))


def _probabilities(holdout: Holdout, predicted: np.ndarray) -> str:
    stated = holdout.scores[CANDIDATE].max(axis=1)
    right = predicted == holdout.truth
    found = reliability(right, stated)
    histogram = plots.histogram(
        [
            plots.Group(stated[right], "Right", "accent"),
            plots.Group(stated[~right], "Wrong", "accent-2"),
        ],
        title="How sure the model is",
        x="Probability of the predicted class",
        span=(0, 1),
    )
    return row(
        calibration_figure(found, x="Stated probability", y="Share that was right"),
        figure(histogram, caption="How sure the model is where it is right and where wrong."),
    ) + reliability_table(found, happened="Were right")


def _share(part: int, whole: int) -> str:
    return percent(part / whole) if whole else "none"
