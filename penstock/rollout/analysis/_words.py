"""Figures as people read them."""

from __future__ import annotations


def percent(share: float) -> str:
    """Return 0.0512 as `5.1 %`, shares below one percent with two decimals."""
    return f"{points(share)} %"


def points(share: float) -> str:
    """Return 0.029 as `2.9` and 0.0012 as `0.12`: percentage points."""
    value = 100 * share
    text = f"{value:.{1 if abs(value) >= 1 else 2}f}"
    return text.rstrip("0").rstrip(".")


def count(number: float) -> str:
    """Return 1204 as `1,204`."""
    return f"{round(number):,}"


def between(low: float, high: float) -> str:
    """Say where a difference of shares lies, in points."""
    if high <= 0:
        return f"between {points(-high)} and {points(-low)} points fewer"
    if low < 0:
        return f"between {points(-low)} points fewer and {points(high)} points more"
    return f"between {points(low)} and {points(high)} points more"


def times(ratio: float) -> str:
    """Return 1.496 as `1.50`."""
    return f"{ratio:.2f}"


def span(seconds: float) -> str:
    """Return a latency with its unit."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s"
