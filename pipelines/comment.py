"""The end of a run as Markdown, for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from penstock.common import files
from penstock.common.disk import writing
from penstock.pipelines.outcomes import VERDICTS
from penstock.pipelines.run_result import RunResult
from penstock.pipelines.view import beside_lines
from penstock.redaction import redact

LONGEST = 60_000
"""Characters of a comment: GitHub takes 65,536."""

_MARKUP = re.compile(r"([\\`*_{}\[\]()#|~!])")
_APART = "&#8203;"
"""A space without width: GitHub and GitLab look for mentions in what entities have become."""
_ENTITIES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "@": f"&#64;{_APART}",
    "\\#": f"\\#{_APART}",
    "\\!": f"\\!{_APART}",
    "://": ":&#47;&#47;",
    "www.": "www&#46;",
}
_VERDICTS = {"pass": "pass", "fail": "**FAIL**", "not applicable": "n/a"}


def write_comment(result: RunResult, path: Path) -> None:
    """Write how a run ended, and what the gate's rules found, as Markdown.

    Values of the table can be in it, so its text is only ever text: no link, image or mention.

    Args:
        result: How the run ended.
        path: The file.

    Raises:
        ServiceError: If it cannot be written.
    """
    text = "\n".join(_lines(result)) + "\n"
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition("\n")[0] + "\n\nThe rest is in the run's reports.\n"
    with writing(path):
        files.write_text(path, text)


def _lines(result: RunResult) -> Iterator[str]:
    yield f"### Penstock: {VERDICTS[result.outcome]}"
    yield ""
    yield _plain(result.reason)
    if result.dataset is not None:
        data = result.dataset
        yield ""
        yield f"Dataset `{data.version}`, {data.rows:,} rows, {len(data.columns)} columns."
    if result.validation is not None and not result.validation.passed:
        yield ""
        yield f"Data gate: {_plain(result.validation.reason())}"
    if result.decision is not None:
        yield from ("", "| | severity | rule | finding |", "|---|---|---|---|")
        for rule in result.decision.ordered:
            verdict = _VERDICTS[rule.verdict]
            yield f"| {verdict} | {rule.severity} | {_plain(rule.rule)} | {_plain(rule.sentence)} |"
    for number, line in enumerate(beside_lines(result.evaluation)):
        yield from ([] if number else [""])
        yield f"- {_plain(line)}"
    if result.settings:
        yield ""
        yield f"Set for this run: {_plain(', '.join(result.settings))}."


def _plain(text: str) -> str:
    """Return a text without secrets that Markdown shows as it is, on one line."""
    # First of all: a secret is not known again once it is escaped.
    text = _MARKUP.sub(r"\\\1", redact(text))
    for character, entity in _ENTITIES.items():
        text = text.replace(character, entity)
    # GitLab does what a line says that begins with `/close` and the like.
    return re.sub("^/", "&#47;", " ".join(text.split()))
