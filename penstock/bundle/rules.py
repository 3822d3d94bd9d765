"""What a scorer must know of a model to read values as its server does, as data."""

from __future__ import annotations

import re
from typing import Any

from penstock.data.types.numbers import pattern, rewriting
from penstock.data.types.times import ISO
from penstock.data.types.value import BOOLEANS, SPACES, Rules, rules_of
from penstock.records.export import Export, Input
from penstock.records.model import Model

_NONE = "(?!)"
"""What no text matches."""


def rules_for(record: Model, described: Export) -> dict[str, Any]:
    """Return what a scorer must know of a model: its columns, and what its scores amount to."""
    rules = rules_of(record.columns, record.reading)
    inputs = {each.column: each for each in described.inputs}
    columns = sorted(record.columns, key=lambda column: inputs[column.name].index)
    return {
        "task": record.task,
        "target": record.target,
        "classes": list(record.classes),
        "positive": record.positive,
        "threshold": record.threshold,
        "dataset": record.dataset_version,
        "columns": [_column(rules[c.name], inputs[c.name]) for c in columns],
    }


def _column(rules: Rules, given: Input) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": rules.name,
        "type": rules.kind,
        "input": given.name,
        "kind": given.kind,
        "strip": SPACES if rules.strip else "",
        "words": _words(rules),
    }
    written = rules.written
    if rules.kind == "datetime":
        found["forms"] = [written.time] if written and written.time else []
        found["iso"] = ISO.pattern
    elif rules.kind != "string":
        found["number"] = _number(rules)
        found["rewrite"] = rewriting(written)
    return found


def _words(rules: Rules) -> dict[str, float | None]:
    """Return the texts that stand for a value, or for a missing one."""
    words: dict[str, float | None] = {}
    if rules.texts and rules.kind == "boolean":
        words |= {text: float(value) for text, value in BOOLEANS.items()}
    if rules.texts and rules.kind != "string":
        words[""] = None
    return words | dict.fromkeys(rules.missing)


def _number(rules: Rules) -> str:
    """Return the pattern of a text that is a number; without a table of texts there is none."""
    if not rules.texts or rules.kind == "boolean":
        return _NONE
    found = pattern(rules.written)
    # `$` lets a line end follow, which is no part of a whole number.
    return re.sub(r"\$$", r"\\Z", found) if rules.kind == "integer" else found
