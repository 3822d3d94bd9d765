"""Durations as people write them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PART = r"(\d+)([smhd])"


def seconds_of(text: str) -> int:
    """Return the seconds of a duration such as `90s`, `15m`, `7d` or `1h30m`.

    Raises:
        ValueError: If it is none, or not above 0.

    Example:
        >>> seconds_of("1h30m")
        5400
    """
    if not re.fullmatch(rf"(?:{_PART})+", text):
        raise ValueError(f"{text!r} is not a duration: write for example 90s, 15m, 1h30m or 7d")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
    if not seconds:
        raise ValueError(f"{text!r} is no time at all: write at least 1s")
    return seconds


def _checked(text: str) -> str:
    seconds_of(text)
    return text


Duration = Annotated[str, AfterValidator(_checked)]
"""A setting's text that `seconds_of` reads."""
