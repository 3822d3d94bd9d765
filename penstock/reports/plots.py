"""Plots for the pages, as SVG text that takes its colours and its font from the page.

Every function returns one `<svg>` element for `page.figure`. It is as wide as its place allows,
follows the page into the dark, reads its `title` to a screen reader, and is the same text for the
same input. Labels may hold any text: it is escaped, and never read as markup or mathematics.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.reports._axes import (
    LEGEND_LINE,
    count_text,
    cut_text,
    finish,
    label_text,
    logarithmic,
)
from penstock.reports._axes import Colour as Colour
from penstock.reports._axes import Dashes as Dashes
from penstock.reports._axes import Reference as Reference

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

    from penstock.reports._svg import Drawing

    Numbers = Sequence[float] | np.ndarray

WIDTH = 4.5
HEIGHT = 3.4
"""Inches of a small plot: two fit beside each other on a wide page."""

SHOWN_POINTS = 1000
"""Points that a scatter draws of a larger number, taken at even distances."""


@dataclass(frozen=True)
class Series:
    """A line.

    Args:
        x: Where its points are, shape (n,).
        y: How high, shape (n,); NaN leaves a gap.
        label: Its name in the legend; empty keeps it out.
        colour: A colour of the page.
        dashes: How it is drawn.
        steps: Hold each value until the next point, as a curve over thresholds does.
        points: Mark the points.
    """

    x: Numbers
    y: Numbers
    label: str = ""
    colour: Colour = "accent"
    dashes: Dashes = "solid"
    steps: bool = False
    points: bool = False


@dataclass(frozen=True)
class Band:
    """A shaded area between `low` and `high` over `x`, each of shape (n,)."""

    x: Numbers
    low: Numbers
    high: Numbers
    label: str = ""
    colour: Colour = "accent"


@dataclass(frozen=True)
class Group:
    """Values to count in a histogram, shape (n,)."""

    values: Numbers
    label: str = ""
    colour: Colour = "accent"


def lines(
    series: Sequence[Series],
    *,
    title: str,
    x: str,
    y: str,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
    bands: Sequence[Band] = (),
) -> str:
    """Return lines over a common axis.

    Args:
        series: The lines, drawn in order.
        title: What is shown, for a screen reader.
        x: Name of the horizontal axis.
        y: Name of the vertical axis.
        xlim: Range of the horizontal axis; None fits it to the data.
        ylim: Range of the vertical axis.
        references: Lines to compare with.
        bands: Shaded areas, below everything.
    """
    from penstock.reports._svg import STAND_INS

    with _sheet(title, width=WIDTH, height=HEIGHT) as sheet:
        axes = sheet.axes
        for band in bands:
            axes.fill_between(
                band.x,
                band.low,
                band.high,
                color=STAND_INS[band.colour],
                alpha=0.18,
                linewidth=0,
                label=label_text(band.label),
            )
        for line in series:
            _draw(axes, line)
        return finish(sheet, x=x, y=y, xlim=xlim, ylim=ylim, references=references)


def _draw(axes: Axes, line: Series) -> None:
    from penstock.reports._svg import STAND_INS

    axes.plot(
        line.x,
        line.y,
        color=STAND_INS[line.colour],
        linestyle=line.dashes,
        drawstyle="steps-post" if line.steps else "default",
        marker="o" if line.points else "",
        markersize=4,
        label=label_text(line.label),
    )


def scatter(
    x_values: Numbers,
    y_values: Numbers,
    *,
    title: str,
    x: str,
    y: str,
    references: Sequence[Reference] = (),
    colour: Colour = "accent",
) -> str:
    """Return points; of more than `SHOWN_POINTS`, so many at even distances in the given order.

    Args:
        x_values: Shape (n,).
        y_values: Shape (n,).
        title: What is shown, for a screen reader.
        x: Name of the horizontal axis.
        y: Name of the vertical axis.
        references: Lines to compare with.
        colour: Of the points.
    """
    import numpy as np

    from penstock.reports._svg import STAND_INS

    shown = np.unique(
        np.linspace(0, len(x_values) - 1, min(len(x_values), SHOWN_POINTS)).astype(int)
    )
    with _sheet(title, width=WIDTH, height=HEIGHT) as sheet:
        sheet.axes.scatter(
            np.asarray(x_values)[shown],
            np.asarray(y_values)[shown],
            s=9,
            color=STAND_INS[colour],
            alpha=0.4,
            linewidths=0,
        )
        return finish(sheet, x=x, y=y, references=references)


def bars(
    labels: Sequence[str],
    values: Numbers,
    *,
    title: str,
    x: str,
    low: Numbers | None = None,
    high: Numbers | None = None,
    references: Sequence[Reference] = (),
    colour: Colour = "accent",
) -> str:
    """Return horizontal bars, the first on top.

    Args:
        labels: Names of the bars; a long one is cut.
        values: Their lengths, shape (n,).
        title: What is shown, for a screen reader.
        x: Name of the horizontal axis.
        low: Lower ends of intervals, shape (n,), drawn as whiskers.
        high: Upper ends of them.
        references: Lines to compare with.
        colour: Of the bars.
    """
    from penstock.reports._svg import STAND_INS

    with _sheet(title, width=WIDTH, height=0.9 + 0.27 * len(labels)) as sheet:
        axes = sheet.axes
        places = range(len(labels))
        axes.barh(places, values, height=0.68, color=STAND_INS[colour], alpha=0.85)
        if low is not None and high is not None:
            axes.hlines(places, low, high, color=STAND_INS["ink"], linewidth=1.4)
        axes.set_yticks(places, [cut_text(label) for label in labels])
        axes.tick_params(axis="y", labelcolor=STAND_INS["ink"])
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        return finish(sheet, x=x, y="", references=references, scaled="x")


def histogram(
    groups: Sequence[Group],
    *,
    title: str,
    x: str,
    y: str = "Rows",
    bins: int = 30,
    span: tuple[float, float] | None = None,
    references: Sequence[Reference] = (),
    log: bool = False,
) -> str:
    """Return how many values fall into each of equally wide bins, one outline for each group.

    Args:
        groups: What to count.
        title: What is shown, for a screen reader.
        x: Name of the horizontal axis.
        y: Name of the vertical axis.
        bins: How many bins, the same for all groups.
        span: From where to where, what lies outside is counted at the end; None takes all values.
        references: Lines to compare with.
        log: Count on a logarithmic axis, so that a rare group can be seen beside a common one.
    """
    import numpy as np

    from penstock.reports._svg import STAND_INS

    everything = np.concatenate([np.asarray(group.values, dtype=float) for group in groups])
    edges = np.histogram_bin_edges(np.clip(everything, *(span or (None, None))), bins, span)
    with _sheet(title, width=WIDTH, height=HEIGHT) as sheet:
        for group in groups:
            counts, _ = np.histogram(np.clip(group.values, edges[0], edges[-1]), edges)
            colour = STAND_INS[group.colour]
            sheet.axes.stairs(counts, edges, fill=True, color=colour, alpha=0.22)
            sheet.axes.stairs(
                counts, edges, color=colour, linewidth=1.4, label=label_text(group.label)
            )
        if log:
            logarithmic(sheet.axes)
        return finish(sheet, x=x, y=y, references=references, scaled="x" if log else "both")


def heatmap(
    counts: Sequence[Sequence[float]] | np.ndarray,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    x: str,
    y: str,
) -> str:
    """Return a table of counts, each cell shaded by its share of its row.

    One of more than six classes keeps a readable size: set it in a place that scrolls.

    Args:
        counts: Shape (len(rows), len(columns)), not negative.
        rows: Names of the rows, from the top.
        columns: Names of the columns.
        title: What is shown, for a screen reader.
        x: What the columns are.
        y: What the rows are.
    """
    import numpy as np

    from penstock.reports._svg import STAND_INS

    cells = np.asarray(counts, dtype=float)
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    size = max(len(rows), len(columns))
    growth = min(1 + max(size - 6, 0) / 14, 1.9)
    with _sheet(title, width=WIDTH * growth, height=HEIGHT * growth, shrinks=growth == 1) as sheet:
        axes = sheet.axes
        for row, column in zip(*np.nonzero(cells), strict=True):
            _cell(axes, int(row), int(column), float(shares[row, column]))
            axes.text(
                column,
                row,
                count_text(cells[row, column]),
                ha="center",
                va="center",
                fontsize=11 if size <= 4 else 8 if size <= 12 else 7,
            )
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        turned = sum(len(cut_text(name)) for name in columns) > LEGEND_LINE * growth
        axes.set_xticks(
            range(len(columns)), [cut_text(n) for n in columns], rotation=90 if turned else 0
        )
        axes.set_yticks(range(len(rows)), [cut_text(name) for name in rows])
        axes.tick_params(labelcolor=STAND_INS["ink"])
        axes.grid(visible=False)
        return finish(sheet, x=x, y=y, scaled="none")


def _cell(axes: Axes, row: int, column: int, share: float) -> None:
    """Shade a cell. Above a strength of 0.5 the page's ink could not be read on it."""
    from matplotlib.patches import Rectangle

    from penstock.reports._svg import STAND_INS

    axes.add_patch(
        Rectangle(
            (column - 0.47, row - 0.47),
            0.94,
            0.94,
            facecolor=STAND_INS["accent"],
            alpha=0.04 + 0.46 * share,
            linewidth=0,
        )
    )


def _sheet(
    title: str, *, width: float, height: float, shrinks: bool = True
) -> AbstractContextManager[Drawing]:
    from penstock.reports._svg import drawing

    return drawing(title=label_text(title) or "Plot", width=width, height=height, shrinks=shrinks)
