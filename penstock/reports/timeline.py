"""What changed over time, and distributions that were counted while it did, as SVG for the pages.

Like `penstock.reports.plots`, of which it uses the lines: any text is a label, and the same input
gives the same text. It draws without Matplotlib, which the image that releases models does without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from penstock.reports._axes import Colour, Dashes
from penstock.reports._chart import Ground, Line, Point, chart
from penstock.reports.plots import HEIGHT, WIDTH, Reference, Series

_INCH = 72
_WIDTH, _HEIGHT, _WIDE_HEIGHT = _INCH * WIDTH, _INCH * HEIGHT, _INCH * 3.0


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
    grounds = [
        Ground(span.start, span.end, span.names if named else (), span.shaded) for span in spans
    ]
    lines = [
        Line(_points(one), one.label, one.colour, one.dashes, marked=one.points) for one in series
    ]
    ylim = ylim or _fitted(lines)
    return chart(
        [*lines, *(_reference(one, xlim=xlim, ylim=ylim) for one in references)],
        title=title,
        size=(2 * _WIDTH, _WIDE_HEIGHT) if wide else (_WIDTH, _HEIGHT),
        x=x,
        y=y,
        xlim=xlim,
        ylim=ylim,
        grounds=grounds,
    )


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
    lines = [
        Line(
            _outline(group.shares, edges), group.label, group.colour, group.dashes, 1.4, filled=True
        )
        for group in groups
    ]
    top = max((share for group in groups for share in group.shares), default=0)
    return chart(
        lines,
        title=title,
        size=(_WIDTH, _HEIGHT),
        x=x,
        y=y,
        xlim=(edges[0], edges[-1]),
        ylim=(0, 1.05 * top),
    )


def _points(series: Series) -> list[Point]:
    """Return what a line goes through; a step holds its value until the next begins."""
    points = list(zip(map(float, series.x), map(float, series.y), strict=True))
    if not series.steps:
        return points
    corners = [(after[0], before[1]) for before, after in pairwise(points)]
    return [*(one for pair in zip(points, corners, strict=False) for one in pair), points[-1]]


def _outline(shares: Sequence[float], edges: Sequence[float]) -> list[Point]:
    if len(edges) != len(shares) + 1:
        raise ValueError(f"Size mismatch: {len(shares)} shares between {len(edges)} edges")
    tops = [
        point
        for (low, high), share in zip(pairwise(edges), shares, strict=True)
        for point in ((low, share), (high, share))
    ]
    return [(edges[0], 0.0), *tops, (edges[-1], 0.0)]


def _reference(
    reference: Reference, *, xlim: tuple[float, float], ylim: tuple[float, float]
) -> Line:
    ends: dict[str, list[Point]] = {
        "horizontal": [(xlim[0], reference.at), (xlim[1], reference.at)],
        "vertical": [(reference.at, ylim[0]), (reference.at, ylim[1])],
        "diagonal": [(xlim[0], xlim[0]), (xlim[1], xlim[1])],
    }
    return Line(ends[reference.kind], reference.label, reference.colour, "apart", 1.2)


def _fitted(lines: Sequence[Line]) -> tuple[float, float]:
    """Return a range in which all points are, with some room."""
    values = [y for line in lines for _, y in line.points if math.isfinite(y)] or [0.0]
    room = 0.05 * (max(values) - min(values))
    return min(values) - room, max(values) + room
