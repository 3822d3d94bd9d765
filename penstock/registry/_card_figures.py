"""The parts of a model card that say what was measured. What was not measured is said to be so."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.records.dataset import Dataset, Split
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Evaluation
from penstock.records.explanation import Explanation
from penstock.records.fairness import Fairness
from penstock.records.operations import Operations
from penstock.registry._card_page import Block, Grid, Listed, Part, Text

_SHOWN = 10

NOT_MEASURED = "Not measured."


def metrics(evaluation: Evaluation | None) -> Part:
    """Return every metric of the model, with its interval, beside the others' on the same rows."""
    if evaluation is None:
        return Part("Metrics", [Text("Not measured: there is no evaluation of this model.")])
    others = [scores for scores in evaluation.scores if scores.name != "candidate"]
    rows = []
    for metric, estimate in evaluation.candidate.metrics.items():
        beside = [scores.metrics.get(metric) for scores in others]
        better = "higher" if evaluation.higher_is_better.get(metric, True) else "lower"
        rows.append([metric, better, figure(estimate), *map(figure, beside)])
    headers = ["Metric", "Better is", "This model", *(scores.name for scores in others)]
    threshold = (
        f" The positive class is predicted from a score of {evaluation.threshold:.4g} on."
        if evaluation.threshold is not None
        else ""
    )
    lead = (
        f"On {evaluation.rows:,} rows that training did not see, with {evaluation.confidence:.0%} "
        f"intervals. {evaluation.metric} is the metric that the model was searched by.{threshold}"
    )
    by_class = [] if evaluation.classes is None else [*map(Text, evaluation.classes.sentences())]
    return Part("Metrics", [Text(lead), *by_class, Grid(headers, rows, range(2, len(headers)))])


def slices(evaluation: Evaluation | None) -> Part:
    """Return the parts of the holdout that were looked at, the weakest first."""
    measured = evaluation.slices if evaluation is not None else None
    if measured is None:
        blocks: list[Block] = [Text("Not measured: the figures above are of all rows together.")]
        return Part("Parts of the data (slices)", blocks)
    rows = [
        [one.name, f"{one.rows:,}", figure(one.estimate), figure(one.advantage)]
        for one in measured.slices
    ]
    lead = (
        f"{measured.metric}; {measured.looked_at:,} slices were tested and {measured.too_small:,} "
        f"had too few rows and were skipped. Shown are those that the policy names and the "
        "weakest that were found."
    )
    grid = Grid(["Part", "Rows", measured.metric, "Over the champion"], rows, (1, 2, 3))
    return Part("Parts of the data (slices)", [Text(lead), grid, *_notes(measured.notes)])


def fairness(evaluation: Evaluation | None) -> Part:
    """Return the figures of groups of people."""
    measured = evaluation.fairness if evaluation is not None else ()
    if not measured:
        text = "Not measured: no sensitive columns were named. That says nothing about fairness."
        return Part("Groups of people", [Text(text)])
    return Part("Groups of people", [block for one in measured for block in _groups(one)])


def _groups(one: Fairness) -> Iterator[Block]:
    names = list(dict.fromkeys(name for group in one.groups for name in group.figures))
    rows = [
        [
            group.name + (" (too few rows to judge)" if group.small else ""),
            f"{group.rows:,}",
            *(number(group.figures.get(name)) for name in names),
        ]
        for group in one.groups
    ]
    title = f"{one.metric.replace('_', ' ')} by {', '.join(one.columns)}"
    headers = ["Group", "Rows", *(name.replace("_", " ") for name in names)]
    yield Grid(headers, rows, range(1, len(headers)), title=title)
    yield Text(
        f"Largest minus smallest group: {figure(one.difference)}. Smallest over largest: "
        f"{figure(one.ratio)}."
    )
    yield from _notes(one.notes)


def reliability(evaluation: Evaluation | None) -> Part:
    """Return calibration, stability, and what 1,000 decisions are worth."""
    title = "Calibration, stability and value"
    if evaluation is None:
        return Part(title, [Text(NOT_MEASURED)])
    found: list[list[str]] = []
    if evaluation.calibration is not None:
        found += [
            ["Brier score", figure(evaluation.calibration.brier)],
            ["Expected calibration error", figure(evaluation.calibration.ece)],
        ]
    found += [
        [f"Loss of {evaluation.metric} under {one.kind} of {one.amount:g}", figure(one.drop)]
        for one in evaluation.stability
    ]
    if evaluation.kpi is not None:
        unit = f" ({evaluation.kpi.unit})" if evaluation.kpi.unit else ""
        found.append([f"Value per 1,000 decisions{unit}", figure(evaluation.kpi.per_thousand)])
    absent = [
        what
        for what, there in {
            "calibration": evaluation.calibration,
            "stability": evaluation.stability,
            "value": evaluation.kpi,
        }.items()
        if not there
    ]
    blocks: list[Block] = [Grid(["What", "Figure"], found, (1,))] if found else []
    if absent:
        blocks.append(Text(f"Not measured: {', '.join(absent)}."))
    return Part(title, blocks)


def health(evaluation: Evaluation | None) -> Part:
    """Return what was looked for in the data that would make the figures worthless."""
    title = "Leakage and health of the training data"
    blocks: list[Block] = []
    leakage = evaluation.leakage if evaluation is not None else None
    if leakage is None:
        blocks.append(Text("Leakage was not looked for."))
    else:
        proved = leakage.proof or "proved"
        blocks.append(
            Text(
                f"It is not proved that no holdout row is a training row: {leakage.overlap}."
                if leakage.overlap
                else f"No holdout row is a training row: {proved}."
            )
        )
        taken = ", ".join(leakage.not_at_serving) or "none"
        blocks.append(Text(f"Columns taken that the policy says are unknown in use: {taken}."))
        strongest = [[one.column, number(one.value)] for one in leakage.single_columns[:_SHOWN]]
        if strongest:
            blocks.append(
                Grid(["Column alone", "How well it predicts the target"], strongest, (1,))
            )
    training = evaluation.training_data if evaluation is not None else None
    seen = training.health if training is not None else None
    if seen is None:
        blocks.append(Text("The labels of the training rows were not looked at."))
    else:
        shares = {"wrong": seen.label_noise, "flipped within one part": seen.poisoned}
        told = [f"{what} {share:.1%}" for what, share in shares.items() if share is not None]
        blocks.append(Text(f"Estimated shares of training labels: {', '.join(told) or 'none'}."))
    return Part(title, blocks)


def data(training: Dataset | None, holdout: Dataset | None, split: Split | None) -> Iterator[Part]:
    """Yield what is known of the rows learned from and of those judged on."""
    yield Part("Training data", list(_dataset(training)))
    blocks = list(_dataset(holdout, columns=False))
    if split is not None:
        by = f" by {split.column}" if split.column else ""
        both = f"{split.rows_in_both:,} distinct rows are on both sides"
        blocks.append(Text(f"Held out by the {split.method} method{by}; {both}."))
        blocks += [Text(told) for told in split.remarks()]
    yield Part("Evaluation data", blocks)


def _dataset(dataset: Dataset | None, *, columns: bool = True) -> Iterator[Block]:
    if dataset is None:
        yield Text("Not known: there is no record of it here.")
        return
    yield Grid(
        ["What", "Which"],
        [
            ["Rows", f"{dataset.rows:,}"],
            ["Source", dataset.source],
            ["Written", f"{dataset.created:%Y-%m-%d %H:%M} UTC"],
            ["Dataset version", dataset.version],
            *([["Digest of this part", dataset.content]] if dataset.parent else []),
        ],
    )
    yield from _notes(dataset.notes)
    if columns:
        rows = [
            [c.name, c.type, f"{c.profile.distinct:,}", f"{c.profile.nulls / dataset.rows:.1%}"]
            for c in dataset.columns
        ]
        yield Grid(["Column", "Type", "Different values", "Missing"], rows, (2, 3))


def rests_on(explanation: Explanation | None) -> Part:
    """Return the columns that move the answers most."""
    title = "What the answers rest on"
    if explanation is None:
        return Part(title, [Text("Not measured: this model was not explained.")])
    rows = [
        [one.column, number(one.attribution), figure(one.permutation)]
        for one in explanation.importances[:_SHOWN]
    ]
    exact = "exact" if explanation.exact else "an approximation"
    lead = (
        f"On {explanation.rows:,} rows of the holdout. {explanation.method}; in "
        f"{explanation.unit}, {exact}. It says what the model uses, not what causes the outcome."
    )
    headers = ["Column", "Mean |SHAP|", f"{explanation.metric} lost when shuffled"]
    rest = len(explanation.importances) - len(rows)
    more: list[Block] = [Text(f"{rest:,} more columns matter less.")] if rest > 0 else []
    return Part(title, [Text(lead), Grid(headers, rows, (1, 2)), *more])


def serving(operations: Operations | None) -> Part:
    """Return how the model serves."""
    title = "Serving"
    if operations is None or not operations.asked:
        return Part(title, [Text("Not measured before the release.")])
    rows = [
        ["Runtime", operations.runtime],
        ["99th percentile of one row's answer, seconds", number(operations.p99)],
        ["Bytes that the server loads", f"{operations.size or 0:,}"],
        ["Rows asked", f"{operations.rows:,}"],
        ["Rows whose answers differ from the model's own", f"{operations.differences:,}"],
    ]
    return Part(title, [Grid(["What", "Figure"], rows, (1,)), *_notes(operations.notes)])


def figure(estimate: Estimate | None) -> str:
    """Return a figure with its interval, or that there is none."""
    if estimate is None:
        return "not measured"
    return f"{number(estimate.value)} ({number(estimate.low)} to {number(estimate.high)})"


def number(value: float | None) -> str:
    """Return a number of at most four digits, or that there is none."""
    if value is None:
        return "not measured"
    # From a thousand on, four digits would be written with an exponent.
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _notes(notes: tuple[str, ...]) -> list[Block]:
    return [Listed(notes)] if notes else []
