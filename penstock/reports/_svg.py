"""Matplotlib's drawing turned into SVG that belongs to the page it is set on.

Imported only while a plot is drawn: Matplotlib takes about a second to import.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"#(?=[mp][0-9a-f]{10})")

# Matplotlib only knows fixed colours: each role gets one that stands for the page's variable.
_ROLES = ("ink", "muted", "line", "accent", "accent-2", "good", "bad", "warn", "surface")
STAND_INS = {role: f"#0f1e{number:02x}" for number, role in enumerate(_ROLES, start=1)}
_VARIABLES = {colour: f"var(--{role})" for role, colour in STAND_INS.items()}
_STAND_IN = re.compile("|".join(_VARIABLES))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Matplotlib from logging what does not matter to the reader of a step's log.

    Without a home that can be written it makes a folder of its own, uses it, removes it at exit,
    and says so at length. Its font lacks some scripts, but the page's font draws the text.
    """
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
            warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support")
            yield
    finally:
        logger.setLevel(level)


with _quiet():
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

_POINTS = 72
"""Of an inch: one pixel of a drawing is one point."""

_EDGE = 3.0
"""Points left free around what is drawn."""

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": STAND_INS["line"],
    "axes.grid": True,
    "axes.labelcolor": STAND_INS["muted"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "grid.color": STAND_INS["line"],
    "grid.linewidth": 0.6,
    "legend.borderaxespad": 0.1,
    "legend.columnspacing": 1.2,
    "legend.frameon": False,
    "legend.handlelength": 1.5,
    "legend.handletextpad": 0.5,
    "legend.labelcolor": STAND_INS["ink"],
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "penstock",
    "text.color": STAND_INS["ink"],
    "text.parse_math": False,
    "xtick.labelcolor": STAND_INS["muted"],
    "xtick.major.size": 0,
    "ytick.labelcolor": STAND_INS["muted"],
    "ytick.major.size": 0,
}


class Drawing:
    """One set of axes and the SVG it becomes.

    Args:
        title: What a screen reader says of the drawing.
        width: Inches; text is 9.5 points high.
        height: Inches.
        shrinks: Whether it may become smaller than its text can be read; if not, its place must
            scroll.
    """

    def __init__(self, *, title: str, width: float, height: float, shrinks: bool = True) -> None:
        self.title = title
        self.shrinks = shrinks
        self._figure = Figure(figsize=(width, height), dpi=_POINTS)
        self.axes: Axes = self._figure.add_subplot()

    def svg(self) -> str:
        """Return the drawing as one `<svg>` element; the same drawing gives the same text."""
        canvas = FigureCanvasSVG(self._figure)
        self._make_room()
        stream = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.print_svg(stream, metadata=nothing)  # type: ignore[no-untyped-call]
        return _tidy(stream.getvalue(), title=self.title, shrinks=self.shrinks)

    def _make_room(self) -> None:
        """Place the axes so that the names beside them and the legend fit on the sheet.

        Matplotlib's constrained layout does this for any number of axes, and takes as long as the
        drawing itself. What a single pair of axes needs is measured once.
        """
        sheet, axes = self._figure.bbox, self.axes.get_window_extent()
        taken = self.axes.get_tightbbox(for_layout_only=True) or axes
        left, bottom = axes.x0 - taken.x0 + _EDGE, axes.y0 - taken.y0 + _EDGE
        width = sheet.width - left - (taken.x1 - axes.x1) - _EDGE
        height = sheet.height - bottom - (taken.y1 - axes.y1) - _EDGE
        room = Bbox.from_bounds(left, bottom, max(width, _EDGE), max(height, _EDGE))
        self.axes.set_position(room.transformed(self._figure.transFigure.inverted()))


@contextlib.contextmanager
def drawing(*, title: str, width: float, height: float, shrinks: bool = True) -> Iterator[Drawing]:
    """Yield an empty drawing in the style of the pages, which holds until the block ends."""
    with _quiet(), mpl.rc_context(_STYLE):
        sheet = Drawing(title=title, width=width, height=height, shrinks=shrinks)
        # The page's own ground shows through.
        sheet.axes.set_facecolor("none")
        sheet.axes.figure.set_facecolor("none")
        yield sheet


def _tidy(text: str, *, title: str, shrinks: bool) -> str:
    """Return the drawing without what would leak into the page it is set on.

    Matplotlib's style element would hold for the whole page, and its ids would meet those of the
    next drawing, so the one goes and the others carry a mark of their own drawing.
    """
    root = ElementTree.fromstring(text)  # noqa: S314 - made by Matplotlib a line ago
    mark = "f" + hashlib.sha256(text.encode()).hexdigest()[:8]
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == _SVG + "style" or child.tag.endswith("metadata"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = _attributes(element, mark)
        if element.tag != "text":
            element.text = None
        element.tail = None
    box = root.attrib["viewBox"]
    width = float(box.split()[2]) / 16
    least = "" if shrinks else f"min-width:{width:.1f}rem;"
    root.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": box,
        "role": "img",
        "aria-label": title,
        "stroke-linejoin": "round",
        "style": f"width:100%;{least}max-width:{1.68 * width:.1f}rem;height:auto",
    }
    heading = ElementTree.Element("title")
    heading.text = title
    root.insert(0, heading)
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(element: ElementTree.Element, mark: str) -> dict[str, str]:
    attributes = {}
    for name, value in element.attrib.items():
        if name == _HREF:
            attributes["href"] = _REFERENCE.sub(f"#{mark}", value)
        elif name == "clip-path":
            attributes[name] = _REFERENCE.sub(f"#{mark}", value)
        elif name == "id":
            # Only markers and clipping areas are referred to; the other ids are Matplotlib's.
            if element.tag in ("path", "clipPath"):
                attributes[name] = mark + value
        elif name == "style":
            attributes[name] = _declarations(value)
        elif not (name == "transform" and value.startswith("rotate(-0 ")):
            attributes[name] = _rounded(value)
    return attributes


def _declarations(style: str) -> str:
    kept = [part.strip() for part in style.split(";") if "font-family" not in part]
    return _STAND_IN.sub(lambda found: _VARIABLES[found.group()], ";".join(kept))


def _rounded(value: str) -> str:
    """Return coordinates with two decimals: a hundredth of a point is not to be seen."""
    short = _NUMBER.sub(lambda number: f"{float(number.group()):.2f}", value)
    return " ".join(short.split())
