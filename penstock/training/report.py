"""The page that says what was tried, what won, and where the threshold comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.metrics import Metric
from penstock.records.model import Model
from penstock.reports import plots
from penstock.reports.page import Cell, Section, figure, page, paragraph, row, table
from penstock.training.crossval import Attempt
from penstock.training.search import Search
from penstock.training.threshold import Objective, threshold_curve

if TYPE_CHECKING:
    import numpy as np

_CURVE_POINTS = 400


@dataclass(frozen=True)
class Outcome:
    """All that a training found.

    Args:
        record: The model's record, as written.
        baselines: The baseline without features, and the linear one.
        search: Every setting that was tried.
        metric: The metric they were compared by.
        folds: Number of folds.
        rows: Rows of the training part.
        features: Features the estimators saw.
        objective: What the threshold maximises, where it was chosen.
        reached: The value it reached.
        truth: Of the rows held out of a fold: 1 for the positive class, or as metrics take it.
        predictions: The winner's scores for the same rows.
        notes: What a reader should know of the folds and the search.
    """

    record: Model
    baselines: tuple[Attempt, Attempt]
    search: Search
    metric: Metric
    folds: int
    rows: int
    features: int
    objective: Objective | None
    reached: float | None
    truth: np.ndarray
    predictions: np.ndarray
    notes: tuple[str, ...]


def render(outcome: Outcome) -> str:
    """Return the training report as a whole HTML document."""
    record, best = outcome.record, outcome.search.best.attempt
    trivial = outcome.baselines[0]
    sections = [_leaderboard(outcome), _progress(outcome), _chosen(outcome)]
    if record.task == "binary":
        sections.insert(2, _threshold(outcome))
    if outcome.notes:
        body = "".join(paragraph(note) for note in outcome.notes)
        sections.append(Section(title="Notes", body=body))
    return page(
        title=f"Training for {record.target}",
        kind="Training",
        status="plain",
        verdict=f"{_words(best.family)} won with {_figure(best, outcome.metric)} in "
        f"cross-validation; {_words(trivial.family)} alone gives {trivial.mean:.4f}.",
        facts=(
            ("Target", record.target),
            ("Task", record.task),
            ("Metric", f"{record.metric}, {_direction(outcome.metric)}"),
            ("Rows and features", f"{outcome.rows:,} and {outcome.features:,}"),
            ("Settings and folds", f"{len(outcome.search.attempts)} and {outcome.folds}"),
            ("Seed", str(record.seed)),
            ("Dataset", record.dataset),
            ("Code", record.commit or "not in a repository"),
            ("MLflow run", record.mlflow_run),
        ),
        sections=sections,
    )


def _leaderboard(outcome: Outcome) -> Section:
    best = outcome.search.best.attempt
    complete = [a for a in outcome.search.attempts if a.complete]
    ordered = sorted(complete, key=lambda a: -outcome.metric.oriented(a.mean))
    ended = [a for a in outcome.search.attempts if not a.complete]
    rows = [
        _attempt_row(
            a, "winner" if a is best else "baseline" if a is outcome.baselines[1] else "complete"
        )
        for a in ordered
    ]
    rows.append(_attempt_row(outcome.baselines[0], "baseline"))
    rows += [_attempt_row(a, "given up") for a in sorted(ended, key=lambda a: a.number)]
    return Section(
        title="Leaderboard",
        lead="Mean and standard deviation over the folds of the training part. A setting that "
        "was given up is shown with the folds it reached, which cannot be compared with the rest.",
        body=table(
            (
                "Setting",
                "Estimator",
                outcome.metric.name,
                "±",
                "Folds",
                "Seconds",
                "State",
                "Parameters",
            ),
            rows,
            numeric=(0, 2, 3, 4, 5),
        ),
    )


def _attempt_row(attempt: Attempt, state: str) -> list[str | Cell]:
    winner = state == "winner"
    tones = {"winner": "good", "baseline": "plain", "complete": "plain", "given up": "warn"}
    parameters = ", ".join(f"{k} {_short(v)}" for k, v in attempt.parameters.items())
    return [
        str(attempt.number or ""),
        Cell(_words(attempt.family), strong=winner),
        Cell(f"{attempt.mean:.4f}", strong=winner),
        f"{attempt.deviation:.4f}",
        str(len(attempt.scores)),
        f"{attempt.seconds:.1f}",
        Cell(state, tone=tones[state], strong=winner),  # type: ignore[arg-type]
        parameters or "none",
    ]


def _progress(outcome: Outcome) -> Section:
    metric = outcome.metric
    complete = [a for a in outcome.search.attempts if a.complete]
    best_so_far: list[float] = []
    for attempt in complete:
        better = not best_so_far or metric.oriented(attempt.mean) > metric.oriented(best_so_far[-1])
        best_so_far.append(attempt.mean if better else best_so_far[-1])
    numbers = [attempt.number for attempt in complete]
    drawn = plots.lines(
        [
            plots.Series(
                numbers,
                [a.mean for a in complete],
                label="setting",
                colour="accent-2",
                dashes="dotted",
                points=True,
            ),
            plots.Series(numbers, best_so_far, label="best so far", steps=True),
        ],
        title=f"{metric.name} of every complete setting, and the best so far",
        x="Setting",
        y=metric.name,
    )
    seconds: dict[str, float] = {}
    for attempt in outcome.search.attempts:
        family = _words(attempt.family)
        seconds[family] = seconds.get(family, 0.0) + attempt.seconds
    spent = plots.bars(
        list(seconds), list(seconds.values()), title="Seconds spent on each family", x="Seconds"
    )
    return Section(
        title="Search",
        lead=f"Each family starts from its default setting; then Optuna proposes. {metric.name}: "
        f"{_direction(metric)}.",
        body=row(
            figure(drawn, caption="Settings that were scored on every fold"),
            figure(spent, caption="Where the time went"),
        ),
    )


def _threshold(outcome: Outcome) -> Section:
    record = outcome.record
    assert record.threshold is not None
    if outcome.objective is None or outcome.reached is None:
        body = paragraph(f"The threshold {record.threshold:.4f} was given in training.threshold.")
        return Section(title="Threshold", body=body)
    thresholds, values = threshold_curve(
        outcome.truth, outcome.predictions, objective=outcome.objective
    )
    step = max(1, len(thresholds) // _CURVE_POINTS)
    curve = plots.lines(
        [plots.Series(thresholds[::-step], values[::-step])],
        title=f"{outcome.objective} by threshold",
        x="Threshold",
        y=outcome.objective,
        xlim=(0.0, 1.0),
        references=[
            plots.Reference("vertical", record.threshold, f"chosen {record.threshold:.3f}", "good")
        ],
    )
    spread = plots.histogram(
        [
            plots.Group(outcome.predictions[outcome.truth == 0], "other class", "accent-2"),
            plots.Group(outcome.predictions[outcome.truth == 1], f"{record.positive}", "accent"),
        ],
        title="Scores by class",
        x="Score",
        span=(0.0, 1.0),
        log=True,
        references=[plots.Reference("vertical", record.threshold, "threshold", "good")],
    )
    return Section(
        title="Threshold",
        lead=f"{record.positive} is predicted from a score of {record.threshold:.4f} on. That "
        f"maximises {outcome.objective} ({outcome.reached:.4f}) on predictions for rows that the "
        "fold's model had not seen; the holdout was not looked at.",
        body=row(
            figure(curve, caption=f"{outcome.objective} at every threshold"),
            figure(spread, caption="Scores of the rows held out of each fold, log scale"),
        ),
    )


def _chosen(outcome: Outcome) -> Section:
    record = outcome.record
    rows: list[tuple[str | Cell, ...]] = [("estimator", _words(record.name))]
    rows += [(key, _short(value)) for key, value in record.parameters.items()]
    rows += [(f"{name} (library)", version) for name, version in sorted(record.libraries.items())]
    return Section(
        title="The model",
        lead="The winner's setting, fitted again on the whole training part.",
        body=table(("Setting", "Value"), rows),
    )


def _figure(attempt: Attempt, metric: Metric) -> str:
    return f"{metric.name} {attempt.mean:.4f} ± {attempt.deviation:.4f}"


def _direction(metric: Metric) -> str:
    return "more is better" if metric.higher_is_better else "less is better"


def _words(family: str) -> str:
    return family.replace("_", " ")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
