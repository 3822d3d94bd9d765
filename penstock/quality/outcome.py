"""What was found of one expectation, whoever checked it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.quality.wording import figure

MAX_SAMPLES = 20

DRAWN = 200
"""Unexpected rows whose values are looked at for different ones."""

_SAMPLE_LENGTH = 120


@dataclass(frozen=True)
class Outcome:
    """What was found of one expectation.

    Args:
        passed: Whether it holds; never when `error` is set.
        checked: Values looked at, for an expectation about single values.
        unexpected: How many of them broke it: all are counted.
        samples: At most 20 different ones among the first 200, as text.
        observed: The figure found, for an expectation about a whole column or table.
        error: Why it could not be checked.
    """

    passed: bool
    checked: int | None = None
    unexpected: int | None = None
    samples: tuple[str, ...] = ()
    observed: str = ""
    error: str = ""


def sample_texts(drawn: Iterable[Any]) -> tuple[str, ...]:
    """Return the different values among those drawn, as text, at most 20."""
    return tuple(dict.fromkeys(text_of(value) for value in drawn))[:MAX_SAMPLES]


def observed_text(value: Any) -> str:
    """Return a figure that was found as text; empty for None."""
    if value is None:
        return ""
    if hasattr(value, "item"):
        value = value.item()
    return figure(value) if isinstance(value, int | float) else text_of(value)


def text_of(value: Any) -> str:
    """Return a value as text, without the dress that pandas and numpy give it."""
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}: {text_of(item)}" for key, item in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(text_of(item) for item in value)
    elif isinstance(value, datetime):
        text = value.isoformat()
    elif hasattr(value, "item"):
        return text_of(value.item())
    elif isinstance(value, float) and value.is_integer():
        text = str(int(value))
    else:
        text = str(value)
    return text if len(text) <= _SAMPLE_LENGTH else text[: _SAMPLE_LENGTH - 1] + "…"
