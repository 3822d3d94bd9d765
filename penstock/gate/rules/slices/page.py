"""Slices on the evaluation's page and on the model card."""

from __future__ import annotations

from penstock.gate.rules.slices.spec import Slice, Slices
from penstock.reports.blocks import Grid, Part, Text, figure, notes_of
from penstock.reports.page import Cell, Section, Tone, heading, paragraph, table
from penstock.reports.words import advantage_text, figure_text, plain


def slices_section(found: Slices, *, confidence: float) -> Section:
    """Return the section of the evaluation's page.

    Args:
        found: What was measured.
        confidence: Of every interval.
    """
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
        f"searched. Each figure with its own {confidence:.0%} interval.",
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
    reasons = []
    if one.p_floor is not None and one.p_floor <= found.alpha:
        reasons.append("below the floor" if found.higher_is_better else "above the limit")
    if one.p_worse is not None and one.p_worse <= found.alpha:
        reasons.append("worse than the champion")
    tone: Tone = "bad" if reasons else "plain"
    return [*cells, Cell(" and ".join(reasons), tone=tone)]


def _family(found: Slices) -> list[str]:
    held = []
    if found.floor is not None:
        held.append(f"a {found.metric} of {plain(found.floor)}")
    if found.compared and found.margin is not None:
        held.append(f"the champion, with a margin of {plain(found.margin)}")
    if not held:
        sentences = ["The policy gives no floor and there is no champion, so no slice is compared."]
    else:
        sentences = [
            f"Each was held to {' and to '.join(held)}. The last column says what is shown by a "
            f"p-value that allows for all that were looked at (Holm's method): the chance that any "
            f"slice is marked wrongly is at most {found.alpha:.0%}. What is not marked is not "
            "proved to be good."
        ]
    sentences.append(
        "Slices are ordered by the better end of their interval, worst first. Of what was searched "
        "and not marked only the first are listed, and none that lies within another."
    )
    if found.metric == "r2":
        sentences.append("r2 is measured here against the variation of the whole holdout.")
    if found.omitted:
        sentences.append(
            f"{found.omitted:,} more are marked and not listed, most of them because their rows "
            "lie within one that is."
        )
    if found.too_small:
        rare = (
            "" if found.metric in ("accuracy", "r2", "rmse", "mae") else ", or too few of a class,"
        )
        sentences.append(
            f"{found.too_small:,} slices had {_few(found)} rows{rare} and were skipped."
        )
    return sentences


def _few(found: Slices) -> str:
    return f"fewer than {found.min_rows:,}" if found.min_rows else "too few"


def slices_part(measured: Slices | None) -> Part:
    """Return the part of the model card; None: nothing was measured."""
    if measured is None:
        absent = Text("Not measured: the figures above are of all rows together.")
        return Part("Parts of the data (slices)", [absent])
    rows = [
        [one.name, f"{one.rows:,}", figure(one.estimate), figure(one.advantage)]
        for one in measured.slices
    ]
    lead = (
        f"{measured.metric}; {measured.looked_at:,} slices were tested, and {measured.too_small:,} "
        f"had {_few(measured)} rows and were skipped. Shown are those that the policy names and "
        "the weakest that were found."
    )
    grid = Grid(["Part", "Rows", measured.metric, "Over the champion"], rows, (1, 2, 3))
    return Part("Parts of the data (slices)", [Text(lead), grid, *notes_of(measured.notes)])
