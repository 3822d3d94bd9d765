"""The evaluation as a page for people. It measures and does not judge: that is the gate's."""

from __future__ import annotations

from penstock.gate.evaluation import Evaluation
from penstock.gate.holdout import Holdout
from penstock.records.estimate import Estimate
from penstock.records.evaluation import CANDIDATE, CHAMPION
from penstock.records.model import Task
from penstock.reports.page import Cell, Section, Tone, page, paragraph, table
from penstock.reports.words import (
    DESCRIPTIONS,
    advantage_text,
    digits_of,
    figure_text,
    has_width,
    percent,
    plain,
    reading,
    title_of,
    value_text,
)

_TONES: dict[str, Tone] = {"better": "good", "worse": "bad", "no clear difference": "plain"}


_OF_COUNTS = (
    "Shares (accuracy, recall, precision) have score intervals (Wilson 1927), and the paired "
    "difference of two has Tango's (1998). F1 and averages over classes are combined from those "
    "(Zou and Donner 2008)."
)
_METHODS: dict[Task, str] = {
    "binary": f"{_OF_COUNTS} The area under the ROC curve has DeLong's (1988) on the logit scale; "
    "average precision, log loss and Brier score have the delta method's, with Student's quantile "
    "and, where errors lean to a side, Hall's correction (1992).",
    "multiclass": f"{_OF_COUNTS} The areas under the ROC curves have DeLong's (1988) on the logit "
    "scale; log loss has the delta method's, with Student's quantile and Hall's correction for "
    "skewness (1992).",
    "regression": "The median has the interval of its order statistics; the others have the delta "
    "method's, with Student's quantile and Hall's correction for skewness (1992). The difference "
    "of two medians is combined from both (Zou and Donner 2008).",
}


def evaluation_page(evaluation: Evaluation, holdout: Holdout) -> str:
    """Return the page of an evaluation and of the rows it was made on."""
    sections = [
        Section("Figures", _figures(evaluation), _figures_lead(evaluation)),
        Section(
            "Compared with the others",
            _advantages(evaluation),
            "By how much the candidate is better on the same rows; below 0 it is worse.",
        ),
        *evaluation.sections(),
        *_plots(holdout),
        Section("How this was measured", _method(evaluation, holdout)),
    ]
    if evaluation.notes:
        notes = "".join(paragraph(note) for note in evaluation.notes)
        sections.insert(2, Section("Notes", notes))
    return page(
        title=f"{holdout.record.name} for {holdout.record.target}",
        kind="Evaluation",
        status="plain",
        verdict=headline(evaluation, holdout),
        facts=_facts(evaluation, holdout),
        sections=sections,
    )


def headline(evaluation: Evaluation, holdout: Holdout) -> str:
    """Return in two or three sentences how good the candidate is, and beside what."""
    candidate = evaluation.scores_of(CANDIDATE)
    assert candidate is not None
    primary = candidate.metrics.get(evaluation.metric)
    if primary is None:
        return (
            f"{evaluation.metric}, the metric that the search optimised, could not be measured on "
            f"these {evaluation.rows:,} rows."
        )
    sentences = [
        f"{evaluation.metric} is {value_text(primary)} on {evaluation.rows:,} rows that training "
        f"did not see; with {evaluation.confidence:.0%} confidence between "
        f"{figure_text(primary).partition('(')[2].rstrip(')').replace(' to ', ' and ')}.",
        _cross_validated(holdout),
        *_in_words(evaluation, holdout, primary),
        *_beside(evaluation),
    ]
    return " ".join(sentences)


def _cross_validated(holdout: Holdout) -> str:
    record = holdout.record
    return f"In cross-validation on the training part {record.metric} was {record.score:.4f}."


def _in_words(evaluation: Evaluation, holdout: Holdout, primary: Estimate) -> list[str]:
    candidate = evaluation.scores_of(CANDIDATE)
    assert candidate is not None
    if evaluation.task == "regression":
        median = candidate.metrics.get("median_absolute_error")
        sentences = []
        if evaluation.metric == "r2":
            sentences.append(
                f"It accounts for {percent(primary.value)} of the variation of "
                f"{holdout.record.target}."
                if primary.value > 0
                else f"It accounts for nothing of the variation of {holdout.record.target}."
            )
        if median is not None:
            sentences.append(f"Half of its predictions are off by less than {value_text(median)}.")
        return sentences
    by_class = [*evaluation.sentences()]
    accuracy = candidate.metrics.get("accuracy")
    if accuracy is None:
        return by_class
    trivial = evaluation.scores_of("majority")
    beside = ""
    if trivial is not None and "accuracy" in trivial.metrics:
        share = percent(trivial.metrics["accuracy"].value)
        beside = f"; always answering with the commonest class is right on {share}"
    return [*by_class, f"It is right on {percent(accuracy.value)} of them{beside}."]


def _beside(evaluation: Evaluation) -> list[str]:
    sentences = []
    for other in (CHAMPION, "linear"):
        comparison = evaluation.comparison(against=other, metric=evaluation.metric)
        if comparison is None:
            continue
        name = "the champion" if other == CHAMPION else "a plain linear model"
        found = reading(comparison.advantage)
        difference = advantage_text(comparison.advantage)
        if found == "no clear difference":
            sentences.append(f"Beside {name} these rows show no clear difference: {difference}.")
        else:
            sentences.append(f"It is {found} than {name}: {difference}.")
    return sentences


def _facts(evaluation: Evaluation, holdout: Holdout) -> list[tuple[str, str]]:
    candidate = evaluation.scores_of(CANDIDATE)
    assert candidate is not None
    facts = [
        ("Model", candidate.description),
        ("Task", f"{evaluation.task}, target {holdout.record.target}"),
        ("Rows", f"{evaluation.rows:,}"),
        ("In cross-validation", f"{evaluation.metric} {holdout.record.score:.4f}"),
        ("Champion", _champion(evaluation)),
    ]
    if holdout.record.positive is not None:
        facts.insert(2, ("Positive class", str(holdout.record.positive)))
    if evaluation.threshold is not None:
        facts.insert(3, ("Threshold", plain(evaluation.threshold)))
    return [
        *facts,
        ("Holdout", evaluation.dataset),
        ("Model digest", evaluation.model),
        ("Evaluation digest", evaluation.digest()),
    ]


def _champion(evaluation: Evaluation) -> str:
    if evaluation.champion_state == "none":
        return "none yet"
    name = evaluation.champion or "not known"
    texts = {
        "compared": name,
        "unloadable": f"{name}, which could not be loaded and was not compared",
        "different": f"{name}, which could not be compared on these rows",
        "gone": "none now, though there was one",
    }
    return texts[evaluation.champion_state]


def _figures_lead(evaluation: Evaluation) -> str:
    return (
        f"Each figure with its {evaluation.confidence:.0%} interval: other rows of the same kind "
        "would be expected to give a figure in that range."
    )


def _figures(evaluation: Evaluation) -> str:
    names = [title_of(scores.name) for scores in evaluation.scores]
    rows, descriptions = [], []
    for metric, higher in evaluation.higher_is_better.items():
        main = metric == evaluation.metric
        figures = [scores.metrics[metric] for scores in evaluation.scores]
        digits = digits_of(next(filter(has_width, figures), figures[0]))
        texts = (metric, *(figure_text(figure, digits=digits) for figure in figures))
        rows.append([Cell(text, strong=main) for text in texts])
        descriptions.append([metric, "higher" if higher else "lower", DESCRIPTIONS.get(metric, "")])
    return (
        table(["Metric", *names], rows, numeric=range(1, 1 + len(names)))
        + paragraph(
            f"In heavier type: {evaluation.metric}, which the search optimised and the gate "
            "compares."
        )
        + table(["Metric", "Better is", "What it says"], descriptions)
    )


def _advantages(evaluation: Evaluation) -> str:
    others = [scores.name for scores in evaluation.scores if scores.name != CANDIDATE]
    if not others:
        return paragraph("There is no other model to compare with.")
    rows = []
    for metric in evaluation.higher_is_better:
        cells: list[str | Cell] = [Cell(metric, strong=metric == evaluation.metric)]
        for other in others:
            comparison = evaluation.comparison(against=other, metric=metric)
            if comparison is None:
                cells.append("")
                continue
            tone = _TONES[reading(comparison.advantage)]
            cells.append(Cell(advantage_text(comparison.advantage), tone=tone))
        rows.append(cells)
    headers = ["Metric", *(f"over: {title_of(other)}" for other in others)]
    return table(headers, rows, numeric=range(1, len(headers))) + paragraph(
        "Green: the whole interval lies above 0, so the candidate is better. Red: below 0, so it "
        "is worse. Neither: these rows show no clear difference."
    )


def _plots(holdout: Holdout) -> list[Section]:
    if holdout.record.task == "regression":
        from penstock.evaluation.regression_sections import regression_sections

        return regression_sections(holdout)
    if holdout.record.task == "binary":
        from penstock.evaluation.binary_sections import binary_sections

        return binary_sections(holdout)
    from penstock.evaluation.multiclass_sections import multiclass_sections

    return multiclass_sections(holdout)


def _method(evaluation: Evaluation, holdout: Holdout) -> str:
    described = table(
        ["Compared", "What it is", "Digest"],
        [
            [title_of(scores.name), scores.description, f"{scores.model[:19]}…"]
            for scores in evaluation.scores
        ],
    )
    text = (
        f"The rows were held out before training. Each interval is made to hold the true figure "
        f"{evaluation.confidence:.0%} of the time. {_METHODS[holdout.record.task]} All models were "
        "measured on the same rows, and the intervals of advantages make use of it: what they all "
        "find hard cancels. All intervals take rows for independent: where several belong "
        "together, for example to one customer, they are too narrow."
    )
    if holdout.record.task == "binary":
        text += (
            " Each model predicts at its own threshold, chosen in its training. Precision counts "
            "as 0 where nothing is called positive."
        )
    return described + paragraph(text)
