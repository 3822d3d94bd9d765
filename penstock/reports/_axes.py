"""Axes and labels as the plots of the pages have them. Matplotlib is imported when one is drawn."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from penstock.reports._svg import Drawing

Colour = Literal["ink", "muted", "line", "accent", "accent-2", "good", "bad", "warn"]

Dashes = Literal["solid", "dashed", "dotted"]


@dataclass(frozen=True)
class Reference:
    """A thin line to compare with: level or upright `at` a value, or diagonal, where x = y."""

    kind: Literal["horizontal", "vertical", "diagonal"]
    at: float = 0.0
    label: str = ""
    colour: Colour = "muted"


_LONGEST_LABEL = 26
LEGEND_LINE = 42
"""Characters that fit on a line as wide as a small plot."""


def finish(
    sheet: Drawing,
    *,
    x: str,
    y: str,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
    scaled: Literal["both", "x", "none"] = "both",
) -> str:
    """Name and range the axes, draw what to compare with and the legend, and return the SVG.

    `scaled` says which axes carry numbers of their own; the others are left as they are.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes = sheet.axes
    if xlim is not None:
        axes.set_xlim(*xlim)
    if ylim is not None:
        axes.set_ylim(*ylim)
    for reference in references:
        _refer(axes, reference)
    for axis in {"x": (axes.xaxis,), "none": (), "both": (axes.xaxis, axes.yaxis)}[scaled]:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axes.set_xlabel(label_text(x) or "")
    axes.set_ylabel(label_text(y) or "")
    _legend(axes)
    return sheet.svg()


def logarithmic(axes: Axes) -> None:
    """Count on a logarithmic axis that shows a single row."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(bottom=0.7)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def _refer(axes: Axes, reference: Reference) -> None:
    from penstock.reports._svg import STAND_INS

    style: dict[str, Any] = {
        "color": STAND_INS[reference.colour],
        "linewidth": 1.2,
        "linestyle": (0, (4, 3)),
        "label": label_text(reference.label),
    }
    if reference.kind == "horizontal":
        axes.axhline(reference.at, **style)
    elif reference.kind == "vertical":
        axes.axvline(reference.at, **style)
    else:
        axes.axline((reference.at, reference.at), slope=1, **style)


def _legend(axes: Axes) -> None:
    """Name the lines above the plot, where they cannot cover anything."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    columns = columns_of_legend(labels)
    axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=columns)


def columns_of_legend(labels: Sequence[str]) -> int:
    """Return how many names fit beside each other above a small plot."""
    length = sum(len(label) + 5 for label in labels)
    if length <= LEGEND_LINE:
        return max(len(labels), 1)
    return 2 if max(map(len, labels)) <= 19 else 1


def label_text(text: str) -> str | None:
    """Return text that SVG can hold; None, which Matplotlib leaves out of a legend, for none."""
    kept = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    clean = " ".join(kept.split())
    # Matplotlib leaves names with a leading underscore out of a legend: a word joiner hides it.
    return ("\N{WORD JOINER}" + clean if clean.startswith("_") else clean) or None


def cut_text(text: str) -> str:
    """Return a label as short as the place beside an axis."""
    clean = label_text(text) or "(empty)"
    return clean if len(clean) <= _LONGEST_LABEL else clean[: _LONGEST_LABEL - 1] + "…"


def count_text(value: float) -> str:
    """Return a number of rows."""
    return f"{value:,.0f}" if value < 100_000 else short_number(value)


def short_number(value: float) -> str:
    """Return a number as an axis shows it: `0.25`, `12k`, `3.5M`, with a true minus sign."""
    size = abs(value)
    if size < 1e-12:
        return "0"
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if 1e4 <= size < 1e13 and size >= scale:
            text = f"{value / scale:.4g}{unit}"
            break
    else:
        text = f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}") if "e" not in text else text
