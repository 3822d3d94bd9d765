"""Pictures of the monitor's page: figures over the looks, drawn without Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.monitoring.verdict import words
from penstock.records.monitoring import Looked
from penstock.reports.page import by_width, figure
from penstock.reports.plots import Reference, Series
from penstock.reports.timeline import over_time

_UNITS = ((3 * 86_400, 86_400, "Days"), (3 * 3600, 3600, "Hours"), (180, 60, "Minutes"))


def time_axis(windows: Sequence[Looked]) -> tuple[float, str]:
    """Return the seconds in a unit of the time axis of some looks, and the axis's name."""
    length = (windows[-1].time - windows[0].time).total_seconds()
    for least, unit, name in _UNITS:
        if length >= least:
            return unit, f"{name} since {words.moment(windows[0].time)}"
    return 1.0, f"Seconds since {words.moment(windows[0].time)}"


def picture(
    series: Sequence[Series],
    *,
    title: str,
    x: str,
    y: str,
    end: float,
    values: Sequence[float],
    references: Sequence[Reference],
    caption: str,
) -> str:
    """Return lines over time with a caption, in a wide and a narrow form.

    Args:
        series: The lines.
        title: What is shown, for a screen reader.
        x: Name of the time axis.
        y: Name of the vertical axis.
        end: Where the time axis ends.
        values: What the vertical axis has room for.
        references: Lines to compare with.
        caption: What is to be seen.
    """
    low, high = min(values), max(values)
    room = 0.08 * ((high - low) or abs(high) or 1.0)

    def drawn(*, wide: bool) -> str:
        return figure(
            over_time(
                series,
                spans=(),
                title=title,
                x=x,
                y=y,
                xlim=(0, end or 1.0),
                ylim=(low - room, high + room),
                references=references,
                wide=wide,
            ),
            caption=caption,
        )

    return by_width(wide=drawn(wide=True), narrow=drawn(wide=False))
