"""The page that says what was tried, what won, and where the threshold comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.metrics import Metric
from penstock.records.model import Model
from penstock.reports import plots
from penstock.reports.page import Cell, Section, figure, page, paragraph, row, table
from penstock.training import estimators
from penstock.training.crossval import Attempt, Evaluated
from penstock.training.inputs import Problem
from penstock.training.search import Search
from penstock.training.spec import TrainingSpec
from penstock.training.threshold import Gains, Objective, objective_curve

if TYPE_CHECKING:
    import numpy as np

_CURVE_POINTS = 400

_NAMES = {
    "majority": "Majority class",
    "mean": "Mean",
    "linear": "Linear model",
    "hist_gradient_boosting": "Gradient boosting",
    "lightgbm": "LightGBM",
    "xgboost": "XGBoost",
    "extra_trees": "Extra trees",
    "random_forest": "Random forest",
    "own": "The project's own",
}


@dataclass(frozen=True)
class Outcome:
    """All that a training found.

    Args:
        record: The model's record, as written.
        baselines: The baseline without features, and the linear one.
        linear: The linear one, with its predictions.
        search: Every setting that was tried.
        trials: The most that could have been.
        metric: The metric they were compared by.
        folds: Number of folds.
        rows: Rows of the training part.
        features: Features the estimators saw.
        objective: What the threshold maximises, where it was chosen.
        reached: The value it reached.
        truth: Of the rows held out of a fold: 1 for the positive class, or as metrics take it.
        predictions: The winner's scores for the same rows.
        gains: What the same rows are worth, where the threshold maximises that.
        unit: Of that worth.
        repeats: How many rows repeat, and what was made of them.
        notes: What a reader should know of the folds and the search.
    """

    record: Model
    baselines: tuple[Attempt, Attempt]
    linear: Evaluated
    search: Search
    trials: int
    metric: Metric
    folds: int
    rows: int
    features: int
    objective: Objective | None
    reached: float | None
    truth: np.ndarray
    predictions: np.ndarray
    gains: Gains | None
    unit: str
    repeats: str
    notes: tuple[str, ...]


def render(outcome: Outcome) -> str:
    """Return the training report as a whole HTML document."""
    record, best = outcome.record, outcome.search.best.attempt
    trivial = outcome.baselines[0]
    sections = [_leaderboard(outcome), _progress(outcome)]
    if record.task == "binary":
        sections.append(_threshold(outcome))
    sections += [_chosen(outcome), *_given_up(outcome)]
    if outcome.notes:
        body = "".join(paragraph(note) for note in outcome.notes)
        sections.append(Section(title="Notes", body=body))
    return page(
        title=f"Training for {record.target}",
        kind="Training",
        status="plain",
        verdict=f"{_words(best.family)} won: {outcome.metric.name} {best.mean:.4f} ± "
        f"{best.deviation:.4f} in cross-validation, against {trivial.mean:.4f} without features.",
        facts=(
            ("Target", record.target),
            ("Task", record.task),
            *_positive(record),
            ("Metric", f"{record.metric}, {_direction(outcome.metric)}"),
            ("Rows", f"{outcome.rows:,}"),
            ("Repeats", outcome.repeats),
            *([("Folds", record.folds.text)] if record.folds is not None else []),
            ("Features", f"{outcome.features:,}"),
            ("Settings tried", f"{len(outcome.search.attempts)} of at most {outcome.trials}"),
            ("Seed", str(record.seed)),
            ("Dataset version", record.dataset_version),
            ("Training part", record.dataset),
            ("Code", record.commit or "not in a repository"),
            ("MLflow run", record.mlflow_run),
        ),
        sections=sections,
    )


def search_notes(problem: Problem, search: Search, spec: TrainingSpec) -> tuple[str, ...]:
    """Return why a search ended, which families had no turn, and how large trees could become."""
    because = {
        "trials": "that is all that `training.trials` allows.",
        "settled": f"the last {search.idle} did not improve on the best by more than a standard "
        "error (`training.patience`).",
        "exhausted": "nothing was left that had not been tried.",
    }[search.ended]
    notes = [f"The search ended after {len(search.attempts)} of {spec.trials} settings: {because}"]
    if search.untried:
        notes.append(
            f"Not tried, because the number of trials left no room: {', '.join(search.untried)}."
        )
    forests = {attempt.family for attempt in search.attempts} & {"random_forest", "extra_trees"}
    if problem.most_leaves is not None and forests:
        notes.append(
            f"Trees of forests had at most {problem.most_leaves:,} leaves: with "
            f"{len(problem.classes)} classes larger ones take more than "
            f"{estimators.FOREST_BYTES // 1_000_000} MB a forest."
        )
    return tuple(notes)


def _positive(record: Model) -> list[tuple[str, str]]:
    if record.positive is None:
        return []
    how = "the one that `positive` names, else 1 or true, else the rarer"
    return [("Positive class", f"{record.positive} ({how})")]


def _leaderboard(outcome: Outcome) -> Section:
    metric, best = outcome.metric, outcome.search.best.attempt
    complete = [a for a in outcome.search.attempts if a.complete]
    ordered = sorted(complete, key=lambda a: -metric.oriented(a.mean))
    rows: list[list[str | Cell]] = []
    for attempt in (*ordered, outcome.baselines[0]):
        won = attempt is best
        rows.append(
            [
                str(attempt.number or ""),
                Cell(_words(attempt.family), strong=won),
                _role(attempt, outcome),
                Cell(f"{attempt.mean:.4f}", strong=won),
                f"{attempt.deviation:.4f}",
                f"{attempt.seconds:.1f}",
                _parameters(attempt),
            ]
        )
    return Section(
        title="Leaderboard",
        lead=f"Mean and standard deviation over the {outcome.folds} folds of the training part; "
        f"{_direction(metric)}.",
        body=table(
            ("Setting", "Estimator", "", metric.name, "±", "Seconds", "Parameters"),
            rows,
            numeric=(0, 3, 4, 5),
        ),
    )


def _role(attempt: Attempt, outcome: Outcome) -> Cell:
    if attempt is outcome.search.best.attempt:
        return Cell("winner", tone="good", strong=True)
    return Cell("baseline" if attempt in outcome.baselines else "")


def _given_up(outcome: Outcome) -> list[Section]:
    ended = [a for a in outcome.search.attempts if not a.complete]
    if not ended:
        return []
    rows = [
        [
            str(attempt.number),
            _words(attempt.family),
            f"{attempt.mean:.4f}",
            f"{len(attempt.scores)} of {outcome.folds}",
            f"{attempt.seconds:.1f}",
            _parameters(attempt),
        ]
        for attempt in ended
    ]
    return [
        Section(
            title="Settings given up",
            lead="Each lay more than two standard errors behind the best, by the differences on "
            "the folds it reached. Folds differ, so these means cannot be compared with those of "
            "the leaderboard.",
            body=table(
                ("Setting", "Estimator", outcome.metric.name, "Folds", "Seconds", "Parameters"),
                rows,
                numeric=(0, 2, 3, 4),
            ),
        )
    ]


def _parameters(attempt: Attempt) -> str:
    return ", ".join(f"{k} {_short(v)}" for k, v in attempt.parameters.items()) or "none"


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
        lead="Each family starts from its default setting; then Optuna proposes others.",
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
    thresholds, values = objective_curve(
        outcome.truth,
        outcome.predictions,
        objective=outcome.objective,
        gains=outcome.gains,
    )
    aim = _aim(outcome)
    step = max(1, len(thresholds) // _CURVE_POINTS)
    curve = plots.lines(
        [plots.Series(thresholds[::-step], values[::-step])],
        title=f"{aim} by threshold",
        x="Threshold",
        y=aim,
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
        f"maximises {aim} ({_reached(outcome)}) on predictions for rows that the "
        f"fold's model had not seen; the holdout was not looked at.{_because(outcome)}",
        body=row(
            figure(curve, caption=f"{aim} at every threshold"),
            figure(spread, caption="Scores of the rows held out of each fold, log scale"),
        ),
    )


def _aim(outcome: Outcome) -> str:
    if outcome.objective != "cost":
        return str(outcome.objective)
    return "value per 1,000 decisions" + (f" in {outcome.unit}" if outcome.unit else "")


def _reached(outcome: Outcome) -> str:
    assert outcome.reached is not None
    return f"{outcome.reached:,.2f}" if outcome.objective == "cost" else f"{outcome.reached:.4f}"


def _because(outcome: Outcome) -> str:
    if outcome.gains is None:
        return ""
    import numpy as np

    lacking = int((~np.isfinite(outcome.gains[0])).sum())
    left_out = f" {lacking:,} rows lack a column that it needs and are left out." if lacking else ""
    return f" The gate's policy says by gate.cost what decisions are worth.{left_out}"


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


def _direction(metric: Metric) -> str:
    return "more is better" if metric.higher_is_better else "less is better"


def _words(family: str) -> str:
    return _NAMES[family]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
