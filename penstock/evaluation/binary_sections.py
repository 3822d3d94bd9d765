"""The plots of a two-class model. Imported only while a report is made."""

from __future__ import annotations

import numpy as np

from penstock.gate.holdout import CANDIDATE, CHAMPION, Holdout
from penstock.metrics.curves import (
    Reliability,
    ThresholdCurve,
    confusion,
    reliability,
    threshold_curve,
)
from penstock.reports import plots
from penstock.reports.page import Cell, Section, figure, paragraph, row, table
from penstock.reports.words import percent, plain, title_of

_RARE = 0.1
_LINES: dict[str, tuple[plots.Colour, plots.Dashes]] = {
    CANDIDATE: ("accent", "solid"),
    CHAMPION: ("good", "dashed"),
    "linear": ("accent-2", "dashed"),
}
_RECALLS = (0.99, 0.95, 0.9, 0.8, 0.7, 0.5, 0.25)


def binary_sections(holdout: Holdout) -> list[Section]:
    """Return the sections of a two-class report."""
    positive = holdout.truth == 1
    candidate = threshold_curve(positive, holdout.scores[CANDIDATE])
    # A whole curve has 24 bytes a row: of the others only the points that are drawn are held.
    curves = {
        name: (candidate if name == CANDIDATE else threshold_curve(positive, scores)).thinned()
        for name, scores in holdout.scores.items()
        if name in _LINES
    }
    threshold = holdout.record.threshold
    assert threshold is not None
    return [
        Section(
            "Ranking",
            row(_roc(curves), _precision_recall(curves)),
            "How well the scores put the positive rows before the others, at every threshold.",
        ),
        Section(
            "Probabilities",
            _probabilities(holdout, positive, threshold),
            "Whether rows that are given 30 % turn out positive in 30 of 100 cases.",
        ),
        Section(
            "Threshold",
            _thresholds(candidate, threshold, holdout),
            f"Rows that score {plain(threshold)} or more are called {holdout.record.positive}.",
        ),
        Section("Right and wrong", _confusion(holdout)),
    ]


def _series(curves: dict[str, ThresholdCurve], x: str, y: str) -> list[plots.Series]:
    series = []
    # The candidate is drawn last, over the others, and named first.
    for name in curves:
        colour, dashes = _LINES[name]
        series.append(
            plots.Series(
                getattr(curves[name], x),
                getattr(curves[name], y),
                title_of(name),
                colour,
                dashes,
            )
        )
    return series


def _roc(curves: dict[str, ThresholdCurve]) -> str:
    return figure(
        plots.lines(
            _series(curves, "false_positive_rate", "recall"),
            title="ROC curve",
            x="Share of the others called positive",
            y="Share of positives found",
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.01),
            references=[plots.Reference("diagonal", label="Guessing")],
        ),
        caption="ROC curve. The nearer to the upper left corner, the better.",
    )


def _precision_recall(curves: dict[str, ThresholdCurve]) -> str:
    candidate = curves[CANDIDATE]
    share = candidate.positives / (candidate.positives + candidate.negatives)
    return figure(
        plots.lines(
            _series(curves, "recall", "precision"),
            title="Precision and recall",
            x="Share of positives found (recall)",
            y="Right when called positive (precision)",
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.03),
            references=[plots.Reference("horizontal", share, "Guessing")],
        ),
        caption="Precision and recall. The nearer to the upper right corner, the better; "
        f"{percent(share)} of all rows are positive.",
    )


def _probabilities(holdout: Holdout, positive: np.ndarray, threshold: float) -> str:
    scores = holdout.scores[CANDIDATE]
    found = reliability(positive, scores)
    others, ours = holdout.labels()
    share = float(positive.mean())
    logarithmic = min(share, 1 - share) < _RARE
    histogram = plots.histogram(
        [
            plots.Group(scores[~positive], others, "accent"),
            plots.Group(scores[positive], ours, "accent-2"),
        ],
        title="Scores by class",
        x=f"Score: stated probability of {ours}",
        span=(0, 1),
        references=[plots.Reference("vertical", threshold, "Threshold")],
        log=logarithmic,
    )
    scale = " Rows on a logarithmic scale, or the rarer class could not be seen." * logarithmic
    return (
        row(
            calibration_figure(found, x="Stated probability", y="Share that was positive"),
            figure(histogram, caption=f"Scores of the rows of either class.{scale}"),
        )
        + paragraph(
            f"On average the model states {percent(float(scores.mean()))}; "
            f"{percent(share)} of the rows were positive."
        )
        + reliability_table(found, happened="Were positive")
    )


def calibration_figure(found: Reliability, *, x: str, y: str) -> str:
    """Return stated against observed shares as a figure."""
    limit = min(1.02, 1.08 * float(max(found.stated.max(), found.high.max())))
    return figure(
        plots.lines(
            [plots.Series(found.stated, found.observed, "Observed", points=True)],
            title="Calibration",
            x=x,
            y=y,
            xlim=(-0.02 * limit, limit),
            ylim=(-0.02 * limit, limit),
            references=[plots.Reference("diagonal", label="Exactly as stated")],
            bands=[plots.Band(found.stated, found.low, found.high, "95 % interval")],
        ),
        caption="Calibration, in bins of about equally many rows. Above the diagonal more happens "
        "than was stated, below it less.",
    )


def reliability_table(found: Reliability, *, happened: str) -> str:
    """Return the bins of a calibration with their counts."""
    rows: list[list[str | Cell]] = []
    for i in range(len(found.rows)):
        as_stated = found.low[i] <= found.stated[i] <= found.high[i]
        interval = f"{percent(found.observed[i])} ({percent(found.low[i])} to "
        rows.append(
            [
                f"{found.start[i]:.4g} to {found.end[i]:.4g}",
                f"{found.rows[i]:,}",
                percent(found.stated[i]),
                Cell(interval + f"{percent(found.high[i])})", strong=not as_stated),
            ]
        )
    headers = ["Scores", "Rows", "Stated on average", happened]
    return table(headers, rows, numeric=(0, 1, 2, 3)) + paragraph(
        "In heavier type: what was stated lies outside the interval of what was observed."
    )


def _thresholds(curve: ThresholdCurve, threshold: float, holdout: Holdout) -> str:
    thin = curve.thinned()
    names: tuple[tuple[str, str, plots.Colour, plots.Dashes], ...] = (
        ("precision", "Precision", "accent", "solid"),
        ("recall", "Recall", "accent-2", "solid"),
        ("f1", "F1", "good", "dashed"),
        ("accuracy", "Accuracy", "muted", "dotted"),
    )
    chart = plots.lines(
        [
            plots.Series(thin.threshold[1:], getattr(thin, name)[1:], label, colour, dashes)
            for name, label, colour, dashes in names
        ],
        title="What other thresholds would give",
        x="Threshold",
        y="",
        ylim=(-0.01, 1.02),
        references=[plots.Reference("vertical", threshold, "Chosen", "ink")],
    )
    text = (
        "The threshold was chosen in training, on rows that the model had not been fitted on. It "
        "is not moved here, even if another would look better on these rows: a threshold picked on "
        "the holdout would make its figures too good, because it would be judged on the very rows "
        "that picked it. To move it, set training.threshold and run again."
    )
    return row(
        figure(chart, caption="Precision, recall, F1 and accuracy at every threshold."),
        paragraph(text),
    ) + _threshold_table(curve, threshold, called=f"Rows called {holdout.record.positive}")


def _threshold_table(curve: ThresholdCurve, threshold: float, *, called: str) -> str:
    # The first cut that finds so many: the highest threshold that does.
    places = {int(np.searchsorted(curve.recall, recall)) for recall in _RECALLS}
    entries = [(float(curve.threshold[at]), at, "") for at in places]
    entries += [(0.5, curve.index_of(0.5), ""), (threshold, curve.index_of(threshold), "chosen")]
    # Where the chosen one repeats another, the chosen one is kept.
    shown = {plain(value): (value, at, mark) for value, at, mark in entries}
    rows: list[list[Cell]] = []
    for value, at, mark in sorted(shown.values()):
        cells = (curve.predicted_positive[at], curve.recall[at], curve.precision[at])
        texts = [
            plain(value),
            mark,
            *("none" if np.isnan(cell) else percent(float(cell)) for cell in cells),
            f"{curve.f1[at]:.3f}",
            percent(float(curve.accuracy[at])),
        ]
        rows.append([Cell(text, strong=bool(mark)) for text in texts])
    headers = ["Threshold", "", called, "Recall", "Precision", "F1", "Accuracy"]
    return table(headers, rows, numeric=(0, 2, 3, 4, 5, 6))


def _confusion(holdout: Holdout) -> str:
    counts = confusion(holdout.truth, holdout.predicted(CANDIDATE), classes=2)
    names = list(holdout.labels())
    chart = figure(
        plots.heatmap(
            counts[:2],
            rows=names,
            columns=names,
            title="Confusion matrix",
            x="Predicted",
            y="Actual",
        ),
        caption="Rows by what they are and what they were called, at the chosen threshold; the "
        "stronger the colour, the larger the share of that kind.",
    )
    (tn, fp), (fn, tp) = counts[:2].tolist()
    other, positive = names
    sentences = [
        f"Of {fn + tp:,} rows that are {positive}, {tp:,} are found and {fn:,} are missed.",
        f"Of {tn + fp:,} rows that are {other}, {fp:,} are called {positive} by mistake.",
    ]
    if tp + fp:
        sentences.append(
            f"When the model says {positive}, it is right {percent(tp / (tp + fp))} of the time."
        )
    return row(chart, "".join(map(paragraph, sentences)))
