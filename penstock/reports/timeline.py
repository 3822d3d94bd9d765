"""What changed over time, and distributions that were counted while it did, as SVG for the pages.

Like `penstock.reports.plots`, of which it uses the lines: any text is a label, and the same input
gives the same text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.reports._axes import Colour, Dashes, finish, label_text
from penstock.reports.plots import HEIGHT, WIDTH, Reference, Series, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE_HEIGHT = 3.0
_LETTER = 5.7
"""Points that a letter of a span's label takes."""

_BESIDE_AXES = 60
"""Points of a drawing's width that its axis takes."""


@dataclass(frozen=True)
class Span:
    """A stretch of the horizontal axis that is set off from its neighbours.

    Args:
        start: Where it begins.
        end: Where it ends.
        names: Its name, the longest form first; what fits is written.
        shaded: Whether it has a ground of its own.
    """

    start: float
    end: float
    names: tuple[str, ...] = ()
    shaded: bool = False


@dataclass(frozen=True)
class Counted:
    """How much lies in each bin of a distribution.

    Args:
        shares: Shape (bins,).
        label: Its name in the legend.
        colour: A colour of the page.
        dashes: How its outline is drawn.
    """

    shares: Sequence[float]
    label: str
    colour: Colour = "accent"
    dashes: Dashes = "solid"


def over_time(
    series: Sequence[Series],
    *,
    spans: Sequence[Span],
    title: str,
    x: str,
    y: str,
    xlim: tuple[float, float],
    ylim: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
    wide: bool = False,
    named: bool = False,
) -> str:
    """Return lines over time, with what was going on behind them.

    Args:
        series: The lines, drawn in order.
        spans: What to set off behind them.
        title: What is shown, for a screen reader.
        x: Name of the time axis, with its unit.
        y: Name of the vertical axis, with its unit.
        xlim: Range of the time axis.
        ylim: Range of the vertical axis; None fits it to the data.
        references: Lines to compare with, or moments.
        wide: As wide as a page instead of half of it.
        named: Whether the spans are named, at the top of them: leave room there in `ylim`.
    """
    from penstock.reports._svg import STAND_INS, drawing

    width = 2 * WIDTH if wide else WIDTH
    with drawing(
        title=label_text(title) or "Plot",
        width=width,
        height=_WIDE_HEIGHT if wide else HEIGHT,
    ) as sheet:
        for span in spans:
            if span.shaded:
                sheet.axes.axvspan(
                    span.start, span.end, color=STAND_INS["line"], alpha=0.45, linewidth=0, zorder=0
                )
        if named:
            _name(sheet.axes, spans, xlim=xlim, width=width * 72 - _BESIDE_AXES)
        for line in series:
            draw(sheet.axes, line)
        return finish(sheet, x=x, y=y, xlim=xlim, ylim=ylim, references=references)


def distribution(
    groups: Sequence[Counted],
    edges: Sequence[float],
    *,
    title: str,
    x: str,
    y: str,
) -> str:
    """Return distributions over the same bins, one outline for each group.

    Args:
        groups: The distributions.
        edges: The bins' bounds, rising, one more than each group has shares.
        title: What is shown, for a screen reader.
        x: Name of the horizontal axis.
        y: Name of the vertical axis.
    """
    from penstock.reports._svg import STAND_INS, drawing

    with drawing(title=label_text(title) or "Plot", width=WIDTH, height=HEIGHT) as sheet:
        for group in groups:
            colour = STAND_INS[group.colour]
            sheet.axes.stairs(group.shares, edges, fill=True, color=colour, alpha=0.22)
            sheet.axes.stairs(
                group.shares,
                edges,
                color=colour,
                linewidth=1.4,
                linestyle=group.dashes,
                label=label_text(group.label),
            )
        return finish(sheet, x=x, y=y, xlim=(edges[0], edges[-1]))


def _name(axes: Axes, spans: Sequence[Span], *, xlim: tuple[float, float], width: float) -> None:
    """Write each span's name at the top of it, the longest that fits, or none."""
    from penstock.reports._svg import STAND_INS

    for span in spans:
        room = (span.end - span.start) / (xlim[1] - xlim[0]) * width
        name = next((name for name in span.names if len(name) * _LETTER <= room), None)
        if name:
            axes.text(
                (span.start + span.end) / 2,
                0.97,
                label_text(name) or "",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                color=STAND_INS["muted"],
            )
