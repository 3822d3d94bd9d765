"""The explanation as a page: what the answers rest on, and what that does not say."""

from __future__ import annotations

from penstock.records.explanation import Dependence, ExplainedRow, Explanation, Importance
from penstock.records.model import Model
from penstock.reports import plots
from penstock.reports.page import Section, figure, heading, muted, page, paragraph, row, table

SHOWN = 15
ROW_COLUMNS = 8


def explanation_page(explanation: Explanation, *, record: Model) -> str:
    """Return the explanation as self-contained HTML.

    Args:
        explanation: What was found.
        record: The model's record.
    """
    sections = [
        Section("What predictions depend on", _overview(explanation), _lead(explanation)),
        Section(
            "How the answer changes with a column",
            _dependences(explanation, record)
            or paragraph("No column among the most important has values to vary."),
            "The mean answer when one column is set to a value in all rows (partial dependence).",
        ),
        Section(
            "Three rows explained",
            "".join(_example(example) for example in explanation.examples)
            or paragraph("None: training.carry_rows is off, so that no row is shown."),
            f"Each answer as a sum, in {explanation.unit}.",
        ),
        Section("How this was computed, and what it does not say", _method(explanation)),
    ]
    if explanation.notes:
        sections.insert(1, Section("Notes", "".join(map(paragraph, explanation.notes))))
    return page(
        title=f"{record.name} for {record.target}",
        kind="Explanation",
        status="plain",
        verdict=_headline(explanation),
        facts=[
            ("Rows explained", f"{explanation.rows:,}"),
            ("Method", "exact" if explanation.exact else "approximate"),
            ("Unit of attributions", explanation.unit),
            ("Model digest", explanation.model),
            ("Holdout", explanation.dataset),
        ],
        sections=sections,
    )


def _headline(explanation: Explanation) -> str:
    total = sum(importance.attribution for importance in explanation.importances)
    if not total:
        return "No column moves the answers: the model says the same of every row."
    shares = [f"{i.column} ({i.attribution / total:.0%})" for i in explanation.importances[:3]]
    text = f"Most of what moves the answers comes from {', '.join(shares)}."
    useless = [
        i.column for i in explanation.importances if i.permutation and i.permutation.low <= 0
    ]
    if useless:
        text += (
            f" Of {len(explanation.importances)} columns, {len(useless)} are not shown to matter "
            f"for {explanation.metric}."
        )
    return text


def _lead(explanation: Explanation) -> str:
    return (
        "Left: how far a column moves an answer on average. Right: how much of "
        f"{explanation.metric} is lost when its values are shuffled."
    )


def _overview(explanation: Explanation) -> str:
    shown = explanation.importances[:SHOWN]
    left = plots.bars(
        [i.column for i in shown],
        [i.attribution for i in shown],
        title="Mean absolute SHAP value by column",
        x=f"Mean |SHAP|, {explanation.unit}",
    )
    measured = [i for i in shown if i.permutation is not None]
    drawn = [figure(left, caption="Mean absolute SHAP value by column")]
    if measured:
        right = plots.bars(
            [i.column for i in measured],
            [i.permutation.value for i in measured if i.permutation],
            low=[i.permutation.low for i in measured if i.permutation],
            high=[i.permutation.high for i in measured if i.permutation],
            title=f"Loss of {explanation.metric} by shuffled column",
            x=f"{explanation.metric} lost",
            colour="accent-2",
        )
        drawn.append(figure(right, caption="Permutation importance with its 95 % interval"))
    figures = [_figures(importance) for importance in explanation.importances]
    headers = ["Column", "Mean |SHAP|", "Middle 80 % of SHAP values", f"{explanation.metric} lost"]
    return row(*drawn) + table(headers, figures, numeric=(1, 2, 3))


def _figures(importance: Importance) -> list[str]:
    lost = importance.permutation
    return [
        importance.column,
        _number(importance.attribution),
        f"{_number(importance.deciles[1])} to {_number(importance.deciles[9])}",
        "not measured"
        if lost is None
        else f"{_number(lost.value)} ({_number(lost.low)} to {_number(lost.high)})",
    ]


def _dependences(explanation: Explanation, record: Model) -> str:
    answer = {
        "binary": f"probability of {record.positive}",
        "multiclass": "probability",
        "regression": record.target,
    }[record.task]
    columns: dict[str, list[Dependence]] = {}
    for dependence in explanation.dependences:
        columns.setdefault(dependence.column, []).append(dependence)
    ends = [a for dependence in explanation.dependences for a in dependence.answers]
    # One scale for all, or a column that changes nothing would look as steep as the first.
    span = (min(ends), max(ends)) if ends and min(ends) < max(ends) else None
    drawn = [_dependence(name, parts, answer, span) for name, parts in columns.items()]
    return "".join(row(*drawn[start : start + 2]) for start in range(0, len(drawn), 2))


_COLOURS: tuple[plots.Colour, ...] = ("accent", "accent-2", "good")


def _dependence(
    column: str, parts: list[Dependence], answer: str, span: tuple[float, float] | None
) -> str:
    first = parts[0]
    title = f"Mean {answer} by {column}"
    if all(isinstance(value, float) for value in first.values):
        series = [
            plots.Series(
                [float(value) for value in part.values],
                part.answers,
                label=part.of,
                colour=colour,
                points=True,
            )
            for part, colour in zip(parts, _COLOURS, strict=False)
        ]
        drawn = plots.lines(series, title=title, x=column, y=answer, ylim=_wider(span))
        return figure(drawn, caption=title)
    labels = [str(value) for value in first.values]
    if len(parts) == 1:
        return figure(plots.bars(labels, first.answers, title=title, x=answer), caption=title)
    headers = [column, *(part.of for part in parts)]
    rows = [
        [label, *(_number(part.answers[i]) for part in parts)] for i, label in enumerate(labels)
    ]
    return heading(title) + table(headers, rows, numeric=range(1, len(headers)))


def _wider(span: tuple[float, float] | None) -> tuple[float, float] | None:
    if span is None:
        return None
    room = 0.05 * (span[1] - span[0])
    return span[0] - room, span[1] + room


def _example(example: ExplainedRow) -> str:
    ordered = sorted(example.contributions, key=lambda name: -abs(example.contributions[name]))
    shown, others = ordered[:ROW_COLUMNS], ordered[ROW_COLUMNS:]
    lines = [["What is added to", "", _number(example.base)]]
    lines += [
        [name, _value(example.values[name]), _signed(example.contributions[name])] for name in shown
    ]
    if others:
        rest = sum(example.contributions[name] for name in others)
        lines.append([f"the other {len(others)} columns", "", _signed(rest)])
    lines.append(["Sum", "", _number(example.output)])
    subject = f" for {example.of}" if example.of else ""
    return (
        heading(example.title)
        + muted(f"The model answers {_number(example.score)}{subject}.")
        + table(["Column", "Value", "Adds"], lines, numeric=(2,))
    )


def _method(explanation: Explanation) -> str:
    exact = (
        "The values are exact for the model's own features; where a column becomes several "
        "features, theirs are added."
        if explanation.exact
        else "The values are an approximation."
    )
    return "".join(
        map(
            paragraph,
            (
                f"{explanation.method}. {exact} Base and contributions miss the model's output by "
                f"at most {explanation.largest_gap:.1g}. Rows were drawn with seed "
                f"{explanation.seed}.",
                "A permutation importance is the mean over several shuffles; its interval holds "
                "the chance of the shuffle and that of the rows.",
                "All of this says what the model uses, not what causes the outcome. Columns that "
                "say the same share or hide one another's part. Partial dependence also queries "
                "about combinations of values that do not occur.",
                "The three rows are real rows of the holdout: whoever may read this page reads "
                "them.",
            ),
        )
    )


def _value(value: float | int | bool | str | None) -> str:
    if value is None:
        return "missing"
    if isinstance(value, float):
        return _number(value)
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _signed(value: float) -> str:
    return f"{value:+.4g}".replace("-", "\N{MINUS SIGN}")
