"""The plots of a regression. Imported only while a report is made."""

from __future__ import annotations

import numpy as np

from penstock.gate.holdout import CANDIDATE, Holdout
from penstock.reports import plots
from penstock.reports.page import Section, figure, paragraph, row, table
from penstock.reports.words import percent, plain

_PARTS = 10
_TAIL = 0.995


def regression_sections(holdout: Holdout) -> list[Section]:
    """Return the sections of a regression's report."""
    predicted = holdout.scores[CANDIDATE]
    error = predicted - holdout.truth
    return [
        Section("Predicted and actual", _predictions(holdout, predicted, error)),
        Section(
            "Errors", _errors(error), "Predicted minus actual: above 0 the model says too much."
        ),
        Section(
            "Where it errs",
            _parts(holdout.truth, error),
            "Errors by the actual value, in parts of about a tenth of the rows.",
        ),
    ]


def _predictions(holdout: Holdout, predicted: np.ndarray, error: np.ndarray) -> str:
    target = holdout.record.target
    shown = min(holdout.rows, plots.SHOWN_POINTS)
    of = "" if shown == holdout.rows else f" {shown:,} of {holdout.rows:,} rows are drawn."
    return row(
        figure(
            plots.scatter(
                predicted,
                holdout.truth,
                title="Predicted and actual values",
                x=f"Predicted {target}",
                y=f"Actual {target}",
                references=[plots.Reference("diagonal", float(holdout.truth.mean()), "Exact")],
            ),
            caption=f"Predicted and actual. A perfect model puts all points on the line.{of}",
        ),
        figure(
            plots.scatter(
                predicted,
                error,
                title="Errors by prediction",
                x=f"Predicted {target}",
                y="Error",
                references=[plots.Reference("horizontal", 0.0, "No error")],
            ),
            caption="Errors by prediction. They should lie about the line everywhere, without a "
            "bend or a funnel.",
        ),
    )


def _errors(error: np.ndarray) -> str:
    size = np.abs(error)
    half, most, nearly_all = np.quantile(size, [0.5, 0.9, 0.99])
    reach = float(np.quantile(size, _TAIL)) or 1.0
    beyond = int((size > reach).sum())
    tail = f" {beyond:,} larger ones are counted at the ends." if beyond else ""
    svg = plots.histogram(
        [plots.Group(error)],
        title="Errors",
        x="Error",
        span=(-reach, reach),
        references=[plots.Reference("vertical", 0.0, "No error")],
    )
    mean = float(error.mean())
    direction = "much" if mean > 0 else "little"
    text = "".join(
        (
            paragraph(
                f"Half of the predictions are off by less than {plain(half)}, nine in ten by less "
                f"than {plain(most)}, ninety-nine in a hundred by less than {plain(nearly_all)}. "
                f"The largest error is {plain(float(size.max()))}."
            ),
            paragraph(
                f"On average the model says {plain(abs(mean))} too {direction}; "
                f"{percent(float((error > 0).mean()))} of the predictions are too high."
            ),
        )
    )
    return row(figure(svg, caption=f"How often errors of each size occur.{tail}"), text)


def _parts(truth: np.ndarray, error: np.ndarray) -> str:
    order = np.argsort(truth, kind="stable")
    edges = np.linspace(0, len(order), _PARTS + 1).astype(int)[1:-1]
    ordered = truth[order]
    # Equal values belong to one part: a cut moves to where its value begins.
    starts = np.unique(np.append(0, np.searchsorted(ordered, ordered[edges])))
    parts = np.split(order, starts[1:])
    labels = [_range(truth[part]) for part in parts]
    mean_size = [float(np.abs(error[part]).mean()) for part in parts]
    rows = [
        [label, f"{len(part):,}", plain(size), plain(float(error[part].mean()))]
        for label, part, size in zip(labels, parts, mean_size, strict=True)
    ]
    chart = plots.bars(
        labels,
        mean_size,
        title="Mean size of the errors by the actual value",
        x="Mean size of the errors",
        references=[plots.Reference("vertical", float(np.abs(error).mean()), "All rows", "ink")],
    )
    headers = ["Actual value", "Rows", "Mean size of error", "Mean error"]
    return row(
        figure(chart, caption="Mean size of the errors by the actual value."),
        table(headers, rows, numeric=(1, 2, 3)),
    ) + paragraph(
        "Predictions are drawn towards the middle: for the lowest values they are usually too "
        "high and for the highest too low. That alone is no fault."
    )


def _range(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return plain(low) if low == high else f"{plain(low)} to {plain(high)}"
