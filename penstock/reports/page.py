"""The page that every report is set on: self-contained HTML that needs no network and no script.

A page follows the reader's light or dark scheme, fits a window 360 pixels wide and prints. The same
input gives the same text, so a report can be compared and digested.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Literal

from penstock import __version__

Tone = Literal["good", "bad", "warn", "plain"]
Status = Literal["good", "bad", "plain"]

_WORDS = {
    "Decision": ("Approved", "Refused"),
    "Rollout": ("Promoted", "Rolled back"),
    "": ("Passed", "Failed"),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\d\b")
_DIGEST = re.compile(r"[a-z0-9_-]+:[0-9a-f]{16,}")

# A report must not reach out, whatever text found its way into it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_TOP = '<div class="page">\n'

# Cells up to _SHORT characters stay on one line; from _LONG on they get room for a sentence.
_SHORT = 28
_LONG = 48

# A list of contents only helps where there is something to scroll past.
_SECTIONS_WITHOUT_CONTENTS = 3


@dataclass(frozen=True)
class Section:
    """A titled part of a page.

    Args:
        title: Plain text.
        body: HTML made by the functions of this module.
        lead: One plain sentence under the title.
    """

    title: str
    body: str
    lead: str = ""


@dataclass(frozen=True)
class Cell:
    """A table cell that is more than text.

    Args:
        text: Plain text.
        tone: What the text means; a short one is shown as a badge.
        strong: Whether the text is set in a heavier weight.
        links: Texts and addresses of links behind the text, for example of pages beside this one.
    """

    text: str
    tone: Tone = "plain"
    strong: bool = False
    links: tuple[tuple[str, str], ...] = ()


def page(
    *,
    title: str,
    kind: str,
    status: Status,
    verdict: str,
    facts: Sequence[tuple[str, str]],
    sections: Sequence[Section],
    notice: str = "",
    word: str = "",
) -> str:
    """Return a whole HTML document.

    Args:
        title: What the report is about, plain text.
        kind: What sort of report it is, for example `Validation`.
        status: `good` and `bad` put a word (Passed or Failed; Approved or Refused for a Decision;
            Promoted or Rolled back for a Rollout) over the verdict, `plain` does not judge.
        verdict: The result in one or two plain sentences.
        facts: Label and value pairs, plain text; a digest is set as code. One labelled `Date` is
            repeated in the footer. Nothing else dates the page.
        sections: The parts, in order.
        notice: Plain text to be seen before the verdict, which it puts in another light.
        word: Put over the verdict in place of the status's own word.
    """
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Penstock {__version__}">
<title>{escape(kind)}: {escape(title)}</title>
<style>
{style}</style>
</head>
<body>
{_TOP}<header>
<p class="kind">{escape(kind)}</p>
<h1>{escape(title)}</h1>
{warning(notice)}{_verdict(kind, status, verdict, word=word)}
{_facts(facts)}
{_contents(sections)}
</header>
<main>
{"".join(_section(number, section) for number, section in enumerate(sections, start=1))}</main>
<footer>{_footer(facts)}</footer>
</div>
</body>
</html>
"""


def with_navigation(document: str, *, links: Sequence[tuple[str, str]]) -> str:
    """Return a document that `page` made, with links to the pages around it at its top.

    Args:
        document: The whole HTML.
        links: Text and address of each; an empty address is this page's own. The first is where
            all of them are listed.
    """
    parts = [
        f'<li><a href="{escape(address)}">{escape(text)}</a></li>'
        if address
        else f'<li aria-current="page">{escape(text)}</li>'
        for text, address in links
    ]
    bar = f'<nav class="around" aria-label="Pages"><ul>{"".join(parts)}</ul></nav>\n'
    return document.replace(_TOP, f"{_TOP}{bar}", 1)


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str | Cell]],
    *,
    numeric: Collection[int] = (),
) -> str:
    """Return a table that scrolls inside its own box when the window is narrow.

    Args:
        headers: Column titles, plain text.
        rows: Cells, plain text or `Cell`; each row as long as `headers`.
        numeric: Positions of the columns set flush right.

    Raises:
        ValueError: If a row is not as long as `headers`.
    """
    for number, row_cells in enumerate(rows):
        if len(row_cells) != len(headers):
            raise ValueError(
                f"row {number} has {len(row_cells)} cells under {len(headers)} headers"
            )
    head = "".join(
        f'<th scope="col"{_class("number" if i in numeric else "")}>{escape(header)}</th>'
        for i, header in enumerate(headers)
    )
    body = "\n".join(
        "<tr>" + "".join(_td(cell, i in numeric) for i, cell in enumerate(cells)) + "</tr>"
        for cells in rows
    )
    # Whoever works with the keyboard can only scroll a box that takes the focus.
    label = escape("Table: " + ", ".join(headers))
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n"
    )


def badge(text: str, tone: Tone = "plain") -> str:
    """Return a word on a coloured ground."""
    return f'<span class="badge {tone}">{escape(text)}</span>'


def paragraph(text: str) -> str:
    """Return plain text as a paragraph."""
    return f"<p>{escape(text)}</p>\n"


def heading(text: str) -> str:
    """Return plain text as the title of a part of a section."""
    return f"<h3>{escape(text)}</h3>\n"


def muted(text: str) -> str:
    """Return plain text as a paragraph that steps back behind its neighbours."""
    return f'<p class="lead">{escape(text)}</p>\n'


def warning(text: str) -> str:
    """Return plain text as a paragraph that is not to be overlooked."""
    return f'<p class="notice">{escape(text)}</p>\n' if text else ""


def preformatted(text: str) -> str:
    """Return plain text with its line breaks kept, in a fixed-width font."""
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>\n'


def figure(svg: str, *, caption: str) -> str:
    """Return a drawing with its caption.

    Args:
        svg: An SVG document as `penstock.reports.plots` makes it. It is trusted, not escaped; what
            precedes its `<svg` tag is dropped.
        caption: Plain text that says what is to be seen.

    Raises:
        ValueError: If there is no `<svg` tag.
    """
    start = svg.find("<svg")
    if start < 0:
        raise ValueError("the drawing holds no <svg> element")
    return f"<figure>{svg[start:]}<figcaption>{escape(caption)}</figcaption></figure>\n"


def by_width(*, wide: str, narrow: str) -> str:
    """Return one of two pieces of HTML that say the same: `narrow` in a narrow window."""
    return f'<div class="if-wide">{wide}</div><div class="if-narrow">{narrow}</div>\n'


def row(*bodies: str) -> str:
    """Return pieces of HTML side by side, one under another in a narrow window."""
    return '<div class="row">' + "".join(f"<div>{body}</div>" for body in bodies) + "</div>\n"


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""


def _verdict(kind: str, status: Status, verdict: str, *, word: str) -> str:
    passed, failed = _WORDS.get(kind, _WORDS[""])
    word = word or {"good": passed, "bad": failed, "plain": ""}[status]
    heading = f"<strong>{word}</strong>" if word else ""
    return f'<div class="verdict {status}">{heading}<p>{escape(verdict)}</p></div>'


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    if not facts:
        return ""
    # What needs a line of its own comes last, so that the short ones keep to one grid.
    ordered = sorted(facts, key=lambda fact: _needs_a_line(fact[1]))
    return '<dl class="facts">\n' + "".join(_fact(*fact) for fact in ordered) + "</dl>"


def _needs_a_line(value: str) -> bool:
    return len(value) > _SHORT or _DIGEST.fullmatch(value) is not None


def _fact(label: str, value: str) -> str:
    shown = escape(value)
    if _DIGEST.fullmatch(value):
        shown = f"<code>{shown}</code>"
    wide = _class("wide" if _needs_a_line(value) else "")
    return f"<div{wide}><dt>{escape(label)}</dt><dd>{shown}</dd></div>\n"


def _contents(sections: Sequence[Section]) -> str:
    if len(sections) <= _SECTIONS_WITHOUT_CONTENTS:
        return ""
    links = "".join(
        f'<li><a href="#part-{number}">{escape(section.title)}</a></li>'
        for number, section in enumerate(sections, start=1)
    )
    return f'<nav class="contents" aria-label="Contents"><ul>{links}</ul></nav>'


def _section(number: int, section: Section) -> str:
    lead = f'<p class="lead">{escape(section.lead)}</p>\n' if section.lead else ""
    return (
        f'<section id="part-{number}" aria-labelledby="title-{number}">\n'
        f'<h2 id="title-{number}">{escape(section.title)}</h2>\n{lead}'
        f'<div class="body">{section.body}</div>\n</section>\n'
    )


def _footer(facts: Sequence[tuple[str, str]]) -> str:
    date = next((value for label, value in facts if label == "Date"), "")
    return escape(f"Penstock {__version__}" + (f", {date}" if date else ""))


def _td(cell: str | Cell, number: bool) -> str:
    if isinstance(cell, str):
        cell = Cell(cell)
    length = len(cell.text) + sum(len(text) for text, _ in cell.links)
    names = [
        "number" if number else "short" if length <= _SHORT else "long" if length >= _LONG else "",
        "strong" if cell.strong else "",
        "time" if _TIME.match(cell.text) else "",
    ]
    return f"<td{_class(' '.join(filter(None, names)))}>{_toned(cell)}{_links(cell)}</td>"


def _links(cell: Cell) -> str:
    anchors = [f'<a href="{escape(address)}">{escape(text)}</a>' for text, address in cell.links]
    return (" " if cell.text and anchors else "") + " \N{MIDDLE DOT} ".join(anchors)


def _toned(cell: Cell) -> str:
    if cell.tone == "plain":
        return escape(cell.text)
    if len(cell.text) <= _SHORT:
        return badge(cell.text, cell.tone)
    return f'<span class="tone-{cell.tone}">{escape(cell.text)}</span>'
