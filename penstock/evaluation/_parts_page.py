"""The sections on slices, groups, calibration and stability. Imported only for a report."""

from __future__ import annotations

from penstock.evaluation.words import advantage_text, figure_text, percent, plain
from penstock.records.evaluation import Evaluation
from penstock.records.fairness import Fairness
from penstock.records.health import Calibration, Disturbed
from penstock.records.slices import Slice, Slices
from penstock.reports.page import Cell, Section, Tone, heading, paragraph, table

_KINDS = {
    "noise": "Noise of {amount:.3g} standard deviations on each number",
    "missing": "{share} of all values missing",
}


def parts_sections(evaluation: Evaluation) -> list[Section]:
    """Return the sections on what the policy asked for, in this order."""
    sections = []
    if evaluation.slices is not None:
        sections.append(_slices(evaluation.slices, evaluation))
    if evaluation.fairness:
        body = "".join(_groups(one, evaluation) for one in evaluation.fairness)
        lead = "The same figure in each group of people, and how far the groups lie apart."
        sections.append(Section("Groups", body, lead))
    if evaluation.calibration is not None:
        sections.append(_calibration(evaluation.calibration, evaluation))
    if evaluation.stability:
        sections.append(_stability(evaluation.stability, evaluation))
    return sections


def _slices(found: Slices, evaluation: Evaluation) -> Section:
    judged = [one for one in found.slices if one.estimate is not None]
    small = [one for one in found.slices if one.estimate is None]
    notes = "".join(map(paragraph, [*found.notes, *_family(found)]))
    versus = any(one.advantage is not None for one in judged)
    headers = ["Slice", "Rows", found.metric, *(["Over the champion"] * versus), "Shown to be"]
    rows = [_slice_row(one, found, versus=versus) for one in judged]
    body = (
        table(headers, rows, numeric=range(1, 3 + versus))
        if rows
        else paragraph("No slice has rows enough to be judged.")
    )
    if small:
        body += heading("Too small to judge") + table(
            ["Slice", "Rows"], [[one.name, f"{one.rows:,}"] for one in small], numeric=(1,)
        )
    return Section(
        "Slices",
        body + notes,
        f"Parts of the holdout, the weakest first. {found.looked_at:,} were looked at: "
        f"{found.named:,} that the policy names and {found.looked_at - found.named:,} that were "
        f"searched. Each figure with its own {evaluation.confidence:.0%} interval.",
    )


def _slice_row(one: Slice, found: Slices, *, versus: bool) -> list[str | Cell]:
    assert one.estimate is not None
    cells: list[str | Cell] = [
        one.name + (" (found)" if one.found else ""),
        f"{one.rows:,}",
        figure_text(one.estimate),
    ]
    if versus:
        cells.append("" if one.advantage is None else advantage_text(one.advantage))
    charges = []
    if one.p_floor is not None and one.p_floor <= found.alpha:
        charges.append("below the floor" if found.higher_is_better else "above the limit")
    if one.p_worse is not None and one.p_worse <= found.alpha:
        charges.append("worse than the champion")
    tone: Tone = "bad" if charges else "plain"
    return [*cells, Cell(" and ".join(charges), tone=tone)]


def _family(found: Slices) -> list[str]:
    held = []
    if found.floor is not None:
        held.append(f"a {found.metric} of {plain(found.floor)}")
    if found.compared and found.margin is not None:
        held.append(f"the champion, with a margin of {plain(found.margin)}")
    if not held:
        told = ["The policy gives no floor and there is no champion, so no slice is compared."]
    else:
        told = [
            f"Each was held to {' and to '.join(held)}. The last column says what is shown by a "
            f"p-value that allows for all that were looked at (Holm's method): the chance that any "
            f"slice is marked wrongly is at most {found.alpha:.0%}. What is not marked is not "
            "proved to be good."
        ]
    told.append(
        "Slices are ordered by the better end of their interval, worst first. Of what was searched "
        "and not marked only the first are listed, and none that lies within another."
    )
    if found.metric == "r2":
        told.append("r2 is measured here against the variation of the whole holdout.")
    if found.omitted:
        told.append(
            f"{found.omitted:,} more are marked and not listed, most of them because their rows "
            "lie within one that is."
        )
    if found.too_small:
        few = f"fewer than {found.min_rows:,}" if found.min_rows else "too few"
        rare = (
            "" if found.metric in ("accuracy", "r2", "rmse", "mae") else ", or too few of a class,"
        )
        told.append(f"{found.too_small:,} slices had {few} rows{rare} and were skipped.")
    return told


def _groups(found: Fairness, evaluation: Evaluation) -> str:
    words = found.metric.replace("_", " ")
    figures = list(found.groups[0].figures)
    rows: list[list[str | Cell]] = [
        [
            group.name,
            f"{group.rows:,}",
            *(_figure(group.figures[name]) for name in figures),
            "small, left out" if group.small else "",
        ]
        for group in found.groups
    ]
    headers = ["Group", "Rows", *(name.replace("_", " ") for name in figures), ""]
    body = heading(f"{words.capitalize()} by {' and '.join(found.columns)}")
    body += table(headers, rows, numeric=range(1, 2 + len(figures)))
    if found.difference is None:
        return body + paragraph("Fewer than two groups are large enough: there is no spread.")
    text = f"Largest minus smallest: {figure_text(found.difference)}."
    if found.ratio is not None:
        text += f" Smallest over largest: {figure_text(found.ratio)}."
    text += (
        f" Each with its {evaluation.confidence:.0%} interval; one that reaches to "
        f"0{' or 1' if found.ratio is not None else ''} allows that the groups do not differ."
    )
    return body + "".join(map(paragraph, [text, *found.notes]))


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}" if abs(value) < 100 else plain(value)


def _calibration(found: Calibration, evaluation: Evaluation) -> Section:
    happened = (
        "that the row is of the positive class"
        if found.of == "positive class"
        else "that the predicted class is right"
    )
    rows = [
        ["Brier score", figure_text(found.brier), "Squared distance from what happened"],
        [
            "Expected calibration error",
            figure_text(found.ece),
            f"Mean distance of stated from observed shares, over {found.bins} bins of equally many "
            "rows",
        ],
    ]
    text = (
        f"Counted plainly the calibration error is {plain(found.plain_ece)}. Chance alone puts "
        "bins a little off, the more the fewer rows there are; what it is expected to add is taken "
        "off. Over- and understatement that cancel within one bin stay unseen."
    )
    return Section(
        "Calibration",
        table(["Figure", "Value", "What it says"], rows, numeric=(1,)) + paragraph(text),
        f"Whether the stated probability {happened} is what happens; each figure with its "
        f"{evaluation.confidence:.0%} interval.",
    )


def _stability(found: tuple[Disturbed, ...], evaluation: Evaluation) -> Section:
    rows: list[list[str | Cell]] = []
    for one in found:
        name = _KINDS[one.kind].format(amount=one.amount, share=percent(one.amount))
        if one.value is None or one.drop is None:
            rows.append([name, Cell("no answer", tone="bad"), one.failed])
        else:
            rows.append([name, figure_text(one.value), advantage_text(one.drop)])
    text = (
        "Above 0 something is lost. The disturbance was drawn once; the intervals are from "
        "resampling the rows, the same for both figures."
    )
    return Section(
        "Stability",
        table(["What was done", evaluation.metric, "Loss"], rows) + paragraph(text),
        f"{evaluation.metric} on {found[0].rows:,} rows when the model's inputs are slightly off; "
        f"undisturbed it is {plain(found[0].before)}.",
    )
