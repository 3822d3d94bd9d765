"""The parts of a model card, and the two forms that they are written in: HTML and Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.records.estimate import Estimate
from penstock.reports import page as pages

Cells = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Listed:
    """Sentences, one under another."""

    items: Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table.

    Args:
        headers: Column titles.
        rows: Cells, each row as long as `headers`.
        numeric: Positions of the columns that hold figures.
        title: What stands over it, or nothing.
    """

    headers: Sequence[str]
    rows: Cells
    numeric: Sequence[int] = ()
    title: str = ""


Block = Text | Listed | Grid


@dataclass(frozen=True)
class Part:
    """A section of a card."""

    title: str
    blocks: Sequence[Block]


def not_measured_part(title: str) -> Part:
    """Return the part of something that was not measured."""
    return Part(title, [Text("Not measured.")])


def notes_of(notes: Sequence[str]) -> list[Block]:
    """Return notes as one block; none if there are none."""
    return [Listed(notes)] if notes else []


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


def as_html(
    parts: Sequence[Part], *, title: str, verdict: str, facts: Sequence[tuple[str, str]]
) -> str:
    """Return the card as a self-contained HTML document."""
    return pages.page(
        title=title,
        kind="Model card",
        status="plain",
        verdict=verdict,
        facts=facts,
        sections=[
            pages.Section(part.title, "".join(_html(block) for block in part.blocks))
            for part in parts
        ],
    )


def _html(block: Block) -> str:
    if isinstance(block, Text):
        return pages.paragraph(block.text)
    if isinstance(block, Listed):
        return "".join(pages.paragraph(item) for item in block.items)
    title = pages.heading(block.title) if block.title else ""
    return title + pages.table(block.headers, block.rows, numeric=block.numeric)


def as_markdown(
    parts: Sequence[Part], *, title: str, verdict: str, facts: Sequence[tuple[str, str]]
) -> str:
    """Return the same as Markdown; what comes from data is escaped."""
    lines = [f"# {_plain(title)}", "", _plain(verdict), ""]
    lines += [f"- **{_plain(label)}**: {_plain(value)}" for label, value in facts]
    for part in parts:
        lines += ["", f"## {_plain(part.title)}"]
        for block in part.blocks:
            lines += ["", *_markdown(block)]
    return "\n".join(lines) + "\n"


def _markdown(block: Block) -> list[str]:
    if isinstance(block, Text):
        return [_plain(block.text)]
    if isinstance(block, Listed):
        return [f"- {_plain(item)}" for item in block.items]
    rules = ["---:" if i in block.numeric else "---" for i in range(len(block.headers))]
    title = [f"### {_plain(block.title)}", ""] if block.title else []
    return [*title, _row(block.headers), f"|{'|'.join(rules)}|", *map(_row, block.rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))
