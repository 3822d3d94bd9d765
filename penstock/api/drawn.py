"""How results are drawn in a notebook: a verdict, facts, tables. All that is given is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from penstock.redaction import redact
from penstock.reports.page import table

Tone = str
"""`good`, `bad` or `plain`."""

_COLOURS = {"good": "#1a7f37", "bad": "#c62828", "plain": "#57606a"}


def drawn(
    word: str,
    text: str,
    *,
    tone: Tone = "plain",
    facts: Sequence[tuple[str, str]] = (),
    headers: Sequence[str] = (),
    rows: Sequence[Sequence[str]] = (),
) -> str:
    """Return a fragment of HTML.

    Args:
        word: The verdict or the kind of thing, in bold.
        text: One or two sentences after it.
        tone: The colour of the word.
        facts: Label and value pairs.
        headers: Column titles of a table below; none: there is no table.
        rows: Its cells.
    """
    colour = _COLOURS[tone]
    parts = [
        f'<p><strong style="color: {colour}">{escape(word)}</strong> {escape(redact(text))}</p>'
    ]
    if facts:
        parts.append(table(["", ""], [[label, redact(value)] for label, value in facts]))
    if headers:
        parts.append(table(headers, [[redact(cell) for cell in row] for row in rows]))
    return "\n".join(parts)
