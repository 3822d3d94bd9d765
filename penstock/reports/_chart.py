"""Lines on a pair of axes as SVG text, drawn by hand: what deploys models has no Matplotlib.

Looks as `penstock.reports._svg` draws, and keeps to the same rules: colours are the page's, nothing
has an id, and the same drawing gives the same text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Literal

from penstock.reports._axes import Colour, Dashes, columns_of_legend, label_text, short_number

_LETTER = 5.7
"""Points that a letter takes."""

_ROW = 15.0
"""Points from one line of text to the next."""

_HANDLE = 15.0
_BESIDE = _HANDLE + 16
"""Points that a name in the legend takes beside its letters."""

_STEPS = (1, 2, 2.5, 5, 10)
_INTERVALS = 5
_DASHES = {"solid": "", "dashed": "3.7 1.6", "dotted": "1 1.65", "apart": "4 3"}

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line through points, in the units of the axes; NaN breaks it.

    Attributes:
        points: What it goes through.
        label: Its name in the legend; empty keeps it out.
        colour: A colour of the page.
        dashes: How it is drawn.
        width: Points.
        marked: Whether each point is marked.
        filled: Whether what it encloses is shaded.
    """

    points: Sequence[Point]
    label: str = ""
    colour: Colour = "accent"
    dashes: Dashes | Literal["apart"] = "solid"
    width: float = 1.8
    marked: bool = False
    filled: bool = False


@dataclass(frozen=True)
class Ground:
    """A stretch of the horizontal axis: shaded, named at its top, or both."""

    start: float
    end: float
    names: Sequence[str] = ()
    shaded: bool = False


@dataclass(frozen=True)
class _Axis:
    """A range, and where on the sheet it begins and ends."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def chart(
    lines: Sequence[Line],
    *,
    title: str,
    size: tuple[float, float],
    x: str,
    y: str,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    grounds: Sequence[Ground] = (),
) -> str:
    """Return a drawing as one `<svg>` element.

    Args:
        lines: What is drawn, in order.
        title: What a screen reader says of it.
        size: Width and height in points; text is 9.5 points high.
        x: Name of the horizontal axis.
        y: Name of the vertical axis.
        xlim: Range of the horizontal axis.
        ylim: Range of the vertical axis.
        grounds: What lies behind the lines.
    """
    width, height = size
    named = [line for line in lines if label_text(line.label)]
    columns = columns_of_legend([label_text(line.label) or "" for line in named])
    rows = math.ceil(len(named) / columns)
    xlim, ylim = _wide(xlim), _wide(ylim)
    numbers = [short_number(value) for value in _ticks(*ylim)]
    left = 1.6 * _ROW + _LETTER * max(map(len, numbers), default=0)
    across = _Axis(*xlim, left, width - 12)
    up = _Axis(*ylim, height - 2.2 * _ROW, rows * _ROW + 8)
    text = label_text(title) or "Plot"
    inside = "".join(
        (
            *(_ground(one, across, up) for one in grounds if one.shaded),
            *_grid(across, up),
            *(_line(one, across, up) for one in lines),
            *(_name(one, across, up) for one in grounds),
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" role="img"'
        f' aria-label="{escape(text)}" stroke-linejoin="round" style="width:100%;'
        f"max-width:{1.68 * width / 16:.1f}rem;height:auto;font-size:9.5px;"
        f'fill:var(--muted)"><title>{escape(text)}</title>'
        # An inner drawing cuts off what lies outside the axes.
        f"{_inner(across, up, inside)}{''.join(_numbers(across, up))}"
        f"{_label(x, (across.start + across.end) / 2, height - 6)}"
        f"{_label(y, 9, (up.start + up.end) / 2, turned=True)}"
        f"{''.join(_legend(named, columns, across.start) if named else ())}</svg>"
    )


def _inner(across: _Axis, up: _Axis, inside: str) -> str:
    place = [_n(v) for v in (across.start, up.end, across.end - across.start, up.start - up.end)]
    x, y, width, height = place
    frame = f"M{x} {y}V{_n(up.start)}H{_n(across.end)}"
    return (
        f'<svg x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{" ".join(place)}">'
        f'{inside}</svg><path d="{frame}" style="fill:none;stroke:var(--line);stroke-width:0.8"/>'
    )


def _ground(ground: Ground, across: _Axis, up: _Axis) -> str:
    start, end = across.at(ground.start), across.at(ground.end)
    return (
        f'<rect x="{_n(start)}" y="{_n(up.end)}" width="{_n(max(end - start, 0))}" '
        f'height="{_n(up.start - up.end)}" style="fill: var(--line); opacity: 0.45"/>'
    )


def _name(ground: Ground, across: _Axis, up: _Axis) -> str:
    """Write a ground's name at its top, the longest that fits, or none."""
    start, end = across.at(ground.start), across.at(ground.end)
    name = next((one for one in ground.names if len(one) * _LETTER <= end - start), None)
    return _label(name, (start + end) / 2, up.end + 11) if name else ""


def _grid(across: _Axis, up: _Axis) -> Iterator[str]:
    lines = [f"M{_n(across.at(v))} {_n(up.end)}V{_n(up.start)}" for v in _ticks_of(across)]
    lines += [f"M{_n(across.start)} {_n(up.at(v))}H{_n(across.end)}" for v in _ticks_of(up)]
    yield f'<path d="{"".join(lines)}" style="stroke:var(--line);stroke-width:0.6"/>'


def _numbers(across: _Axis, up: _Axis) -> Iterator[str]:
    for value in _ticks_of(across):
        yield _label(short_number(value), across.at(value), up.start + 12)
    for value in _ticks_of(up):
        yield _label(short_number(value), across.start - 4, up.at(value) + 3.4, anchor="end")


def _line(line: Line, across: _Axis, up: _Axis) -> str:
    drawn = ""
    if line.filled:
        drawn += _path(line, across, up, style=f"fill:var(--{line.colour});fill-opacity:0.22")
    drawn += _path(line, across, up, style=f"fill:none;{_stroke(line)}")
    if line.marked:
        drawn += _path(line, across, up, style=_dots(line), mark=True)
    return drawn


def _path(line: Line, across: _Axis, up: _Axis, *, style: str, mark: bool = False) -> str:
    parts, pen = [], "M"
    for x, y in line.points:
        if math.isfinite(x) and math.isfinite(y):
            parts.append(f"{pen}{_n(across.at(x))} {_n(up.at(y))}{'h0' if mark else ''}")
            pen = "M" if mark else "L"
        else:
            pen = "M"
    return f'<path d="{"".join(parts)}" style="{style}"/>' if parts else ""


def _stroke(line: Line) -> str:
    pattern = [float(part) * line.width for part in _DASHES[line.dashes].split()]
    dashed = f";stroke-dasharray:{' '.join(map(_n, pattern))}" if pattern else ""
    return f"stroke:var(--{line.colour});stroke-width:{_n(line.width)}{dashed}"


def _dots(line: Line) -> str:
    """Return the style of a line without length, whose round ends are a dot."""
    return f"stroke:var(--{line.colour});stroke-width:4.6;stroke-linecap:round"


def _legend(named: Sequence[Line], columns: int, start: float) -> Iterator[str]:
    """Name the lines above the plot, where they cannot cover anything."""
    labels = [label_text(line.label) or "" for line in named]
    widths = [_BESIDE + _LETTER * max(map(len, labels[n::columns])) for n in range(columns)]
    for number, (line, text) in enumerate(zip(named, labels, strict=True)):
        row, column = divmod(number, columns)
        x, y = start + sum(widths[:column]), row * _ROW + 8
        # One unit of these axes is one point of the sheet.
        across, up = _Axis(0, 1, x, x + 1), _Axis(0, 1, y, y + 1)
        middle = replace(line, points=[(_HANDLE / 2, 0)], filled=False)
        yield _line(replace(middle, points=[(0, 0), (_HANDLE, 0)], marked=False), across, up)
        yield _line(middle, across, up) if line.marked else ""
        yield _label(text, x + _HANDLE + 5, y + 3.4, anchor="start", colour="ink")


def _label(
    text: str,
    x: float,
    y: float,
    *,
    anchor: str = "middle",
    colour: str = "",
    turned: bool = False,
) -> str:
    fill = f";fill:var(--{colour})" if colour else ""
    turn = f' transform="rotate(-90 {_n(x)} {_n(y)})"' if turned else ""
    clean = escape(label_text(text) or "")
    place = f'x="{_n(x)}" y="{_n(y)}"{turn}'
    return f'<text {place} style="text-anchor:{anchor}{fill}">{clean}</text>'


def _ticks_of(axis: _Axis) -> list[float]:
    return _ticks(axis.low, axis.high)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers within a range, at even distances, at most six."""
    raw = (high - low) / _INTERVALS
    size = 10.0 ** math.floor(math.log10(raw))
    step = size * next(each for each in _STEPS if each * size >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _wide(limits: tuple[float, float]) -> tuple[float, float]:
    """Return a range that is not empty."""
    low, high = limits
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _n(value: float) -> str:
    """Return a coordinate with two decimals at most: a hundredth of a point is not to be seen."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
