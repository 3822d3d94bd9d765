"""Figures and what they mean, for a reader who is not a statistician."""

from __future__ import annotations

import math
from collections.abc import Sequence

from penstock.metrics.descriptions import DESCRIPTIONS as DESCRIPTIONS
from penstock.records.estimate import Estimate
from penstock.records.health import ColumnFigure
from penstock.records.model import Model
from penstock.reports.page import paragraph, table

_COLUMNS = 10

_TITLES = {
    "candidate": "Candidate",
    "champion": "Champion",
    "majority": "Majority class",
    "mean": "Mean",
    "linear": "Linear model",
}


def title_of(name: str) -> str:
    """Return how a page calls one of the compared models."""
    return _TITLES.get(name, name)


def description_of(record: Model) -> str:
    """Return a model's family and settings."""
    settings = ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in record.parameters.items()
    )
    return f"{record.name} ({settings})" if settings else record.name


def figure_text(estimate: Estimate, *, digits: int | None = None) -> str:
    """Return `0.927 (0.920 to 0.934)`, with `digits` decimals or what the interval is worth."""
    digits = digits_of(estimate) if digits is None else digits
    return " ".join(
        (
            _number(estimate.value, digits),
            f"({_number(estimate.low, digits)} to {_number(estimate.high, digits)})",
        )
    )


def value_text(estimate: Estimate) -> str:
    """Return the figure alone, rounded as `figure_text` does."""
    return _number(estimate.value, digits_of(estimate))


def advantage_text(estimate: Estimate) -> str:
    """Return `+0.012 (+0.008 to +0.016)`."""
    digits = digits_of(estimate)
    parts = (estimate.value, estimate.low, estimate.high)
    value, low, high = (_number(part, digits, sign="+") for part in parts)
    return f"{value} ({low} to {high})"


def column_figures(figures: Sequence[ColumnFigure], *, figure: str) -> str:
    """Return a table of the first columns with their figure, as HTML, and how many more there are.

    Args:
        figures: In the order in which they are shown.
        figure: What the second column is called.
    """
    rows = [[one.column, f"{one.value:.3f}"] for one in figures[:_COLUMNS]]
    left = len(figures) - len(rows)
    more = paragraph(f"{left} other columns lie below.") if left else ""
    return table(["Column", figure], rows, numeric=(1,)) + more


def reading(advantage: Estimate) -> str:
    """Return `better`, `worse`, or `no clear difference` when the interval holds 0."""
    if advantage.low > 0:
        return "better"
    return "worse" if advantage.high < 0 else "no clear difference"


def percent(share: float) -> str:
    """Return `12.3 %`, with more digits near 0 and 100, where they matter."""
    if 0 < share < 1e-5:
        return "<0.001 %"
    edge = min(abs(share), abs(1 - share))
    digits = 1 if edge >= 0.005 else 2 if edge >= 0.0005 else 3 if edge else 0
    return f"{100 * share:.{digits}f} %"


def plain(value: float) -> str:
    """Return a number of at most four digits, with thousands apart."""
    if value == 0 or not 1e-4 <= abs(value) < 1e15:
        return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
    text = _number(value, max(0, 3 - math.floor(math.log10(abs(value)))))
    return text.rstrip("0").rstrip(".") if "." in text else text


def has_width(estimate: Estimate) -> bool:
    """Return whether an interval is wider than rounding makes it."""
    return estimate.high - estimate.low > 1e-9 * abs(estimate.value)


def digits_of(estimate: Estimate) -> int:
    """Return how many decimals a figure is worth: one more than its interval's ends differ by."""
    width = estimate.high - estimate.low
    if has_width(estimate):
        return min(8, max(0, 1 + math.ceil(-math.log10(width))))
    if estimate.value == 0:
        return 0
    return min(8, max(0, 3 - math.ceil(math.log10(abs(estimate.value)))))


def _number(value: float, digits: int, *, sign: str = "") -> str:
    # Adding 0 turns what rounds to minus zero into zero, which has no sign.
    rounded = round(value, digits) + 0.0
    text = f"{rounded:{sign if rounded else ''},.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")
