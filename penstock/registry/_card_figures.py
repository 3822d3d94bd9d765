"""The parts of a model card on what was measured, and on what was not."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.gate.evaluation import Evaluation
from penstock.gate.rules import RULES
from penstock.records.dataset import Dataset, Split
from penstock.records.explanation import Explanation
from penstock.records.model import Model
from penstock.records.operations import Operations
from penstock.records.quality import Validation
from penstock.reports.blocks import Block, Grid, Part, Text, figure, notes_of, number

_SHOWN = 10


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
        f"On {evaluation.rows:,} rows of the holdout, with {evaluation.confidence:.0%} "
        f"intervals. {evaluation.metric} is the metric that the model was searched by.{threshold}"
    )
    by_class = [*map(Text, evaluation.sentences())]
    return Part("Metrics", [Text(lead), *by_class, Grid(headers, rows, range(2, len(headers)))])


def rules(evaluation: Evaluation | None, operations: Operations | None) -> list[Part]:
    """Return what the rules of the gate have on a card, whether the policy has them or not."""
    parts = (rule.card(evaluation, operations) for rule in RULES)
    return [part for part in parts if part is not None]


def data(
    model: Model,
    training: Dataset | None,
    holdout: Dataset | None,
    split: Split | None,
    validation: Validation | None,
) -> Iterator[Part]:
    """Yield what is known of the rows learned from and of those judged on."""
    apart = validation.quarantine if validation else None
    left_out = [Text(f"Of the data, {apart.sentence()}")] if apart else []
    yield Part("Training data", [*_dataset(training), *left_out, *_learned_from(model, training)])
    blocks = list(_dataset(holdout, columns=False))
    if split is not None:
        by = f" by {split.column}" if split.column else ""
        both = f"{split.rows_in_both:,} distinct rows are on both sides"
        blocks.append(Text(f"Held out by the {split.method} method{by}; {both}."))
        blocks += [Text(remark) for remark in split.remarks()]
    yield Part("Evaluation data", blocks)


def _learned_from(model: Model, training: Dataset | None) -> Iterator[Block]:
    """Yield whether rows were left out of the training, and which columns were."""
    if model.sample is not None:
        yield Text(model.sample.text)
    if model.folds is not None:
        yield Text(model.folds.text)
    if model.calibration is not None:
        yield Text(model.calibration.text)
    if training is None:
        return
    taken = {column.name for column in model.columns} | {model.target}
    unused = [column.name for column in training.columns if column.name not in taken]
    if unused:
        more = f" and {len(unused) - _SHOWN:,} more" if len(unused) > _SHOWN else ""
        named = ", ".join(unused[:_SHOWN])
        yield Text(f"Columns that are no feature of the model: {named}{more}.")


def _dataset(dataset: Dataset | None, *, columns: bool = True) -> Iterator[Block]:
    if dataset is None:
        yield Text("Not known: there is no record of it here.")
        return
    yield Grid(
        ["What", "Which"],
        [
            ["Rows", f"{dataset.rows:,}"],
            ["Source", dataset.source_text],
            ["Written", f"{dataset.created:%Y-%m-%d %H:%M} UTC"],
            ["Dataset version", dataset.version],
            *([["Digest of this part", dataset.content]] if dataset.parent else []),
        ],
    )
    yield from notes_of(dataset.notes)
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
