"""Plots: SVG that belongs to its page, the same every time, safe with any text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from penstock.reports import plots
from penstock.reports._axes import short_number
from penstock.reports.page import Section, figure, page

X = np.linspace(0, 1, 50)
NASTY = 'a <script>alert(1)</script> & "b" $x^2$ \x00\x1b\nid="q" #0f1e01'

DRAWN = {
    "lines": lambda label: plots.lines(
        [
            plots.Series(X, X**2, label),
            plots.Series(X, np.where(X > 0.5, X, np.nan), "gap", "accent-2", "dashed", steps=True),
        ],
        title=label,
        x=label,
        y="y",
        references=[
            plots.Reference("horizontal", 0.5, "level"),
            plots.Reference("vertical", 0.2, "here"),
            plots.Reference("diagonal", label="same"),
        ],
        bands=[plots.Band(X, X - 0.1, X + 0.1, "band")],
    ),
    "scatter": lambda label: plots.scatter(X, X, title=label, x=label, y="y"),
    "bars": lambda label: plots.bars(
        [label, "b"], [1.0, -2.0], title=label, x="x", low=[0.5, -3.0], high=[1.5, -1.0]
    ),
    "histogram": lambda label: plots.histogram(
        [plots.Group(X, label), plots.Group(X**3, "b", "bad")], title=label, x=label
    ),
    "log histogram": lambda label: plots.histogram(
        [plots.Group(X**3, label)], title=label, x=label, log=True
    ),
    "heatmap": lambda label: plots.heatmap(
        [[5, 1], [0, 0]], rows=[label, "b"], columns=[label, "b"], title=label, x="x", y=label
    ),
}


@pytest.fixture(params=DRAWN, scope="module")
def draw(request: pytest.FixtureRequest):
    return DRAWN[request.param]


def test_colours_and_font_are_the_pages(draw) -> None:
    svg = draw("plain")
    assert "var(--muted)" in svg
    assert set(re.findall(r"var\(--([a-z0-9-]+)\)", svg)) <= {
        *("ink", "muted", "line", "accent", "accent-2", "good", "bad", "warn")
    }
    assert not re.findall(r"#[0-9a-f]{6}\b", svg)
    assert "font-family" not in svg
    # A style element would hold for the whole page.
    assert "<style" not in svg


def test_it_is_one_accessible_element_that_scales(draw) -> None:
    svg = draw("What is shown")
    root = ElementTree.fromstring(svg)
    names = {"svg": "http://www.w3.org/2000/svg"}
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root[0].tag.endswith("title")
    assert root[0].text == "What is shown"
    assert root.get("role") == "img"
    assert root.get("viewBox")
    assert "width:100%" in str(root.get("style"))
    assert root.get("width") is None
    assert root.findall(".//svg:text", names)


def test_the_same_input_gives_the_same_text(draw) -> None:
    assert draw("same") == draw("same")


def test_any_text_is_shown_and_not_obeyed(draw) -> None:
    svg = draw(NASTY)
    assert "<script" not in svg
    assert "\x00" not in svg
    assert "\x1b" not in svg
    texts = [e.text or "" for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("text")]
    # A long label is cut; mathematics is not set.
    assert any(text.startswith("a <script>") for text in texts)
    assert not any("mathdefault" in text for text in texts)


def test_ids_of_two_plots_on_a_page_do_not_meet() -> None:
    drawn = [make("plain") for make in DRAWN.values()]
    html = page(
        title="t",
        kind="k",
        status="plain",
        verdict="v",
        facts=[],
        sections=[Section("s", "".join(figure(svg, caption="c") for svg in drawn))],
    )
    ids = [found for svg in drawn for found in re.findall(r' id="([^"]+)"', svg)]
    assert ids
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', "".join(drawn))
    assert used
    assert set(used) <= set(ids)
    assert html.count("<svg") == len(drawn)


def test_a_name_with_a_leading_underscore_is_in_the_legend() -> None:
    svg = plots.lines([plots.Series(X, X, "_hidden")], title="t", x="x", y="y")
    assert "_hidden</text>" in svg


def test_nothing_refers_to_the_network(draw) -> None:
    assert re.findall(r"https?://[^\"]+", draw("plain")) == ["http://www.w3.org/2000/svg"]


def test_a_scatter_draws_a_bounded_number_of_points() -> None:
    values = np.arange(50_000.0)
    svg = plots.scatter(values, values, title="t", x="x", y="y")
    assert svg.count("<use") == plots.SHOWN_POINTS
    few = plots.scatter(values[:3], values[:3], title="t", x="x", y="y")
    assert few.count("<use") == 3


def test_ink_on_a_heatmap_stays_readable() -> None:
    svg = plots.heatmap(
        [[120, 3], [0, 7]], rows=["a", "b"], columns=["a", "b"], title="t", x="x", y="y"
    )
    shades = [float(s) for s in re.findall(r"opacity: ([0-9.]+)", svg)]
    assert len(shades) == 3
    assert max(shades) <= 0.5
    assert ">120<" in svg


def test_values_outside_the_span_are_counted_at_its_ends() -> None:
    inside = plots.histogram([plots.Group([0.0, 1.0, 1.0])], title="t", x="x", span=(0, 1))
    beyond = plots.histogram([plots.Group([-9.0, 1.0, 7.0])], title="t", x="x", span=(0, 1))
    assert inside == beyond


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-1e-17, "0"),
        (0.25, "0.25"),
        (-2.0, "\N{MINUS SIGN}2"),
        (9_000, "9000"),
        (12_000, "12k"),
        (3_500_000, "3.5M"),
        (-25_000, "\N{MINUS SIGN}25k"),
        (1e-7, "1e-07"),
    ],
)
def test_numbers_on_an_axis(value: float, text: str) -> None:
    assert short_number(value) == text


def test_it_is_silent_where_no_home_can_be_written() -> None:
    """As in a container that runs as nobody with a read-only root."""
    code = (
        "import sys, logging\n"
        "from penstock.reports import plots\n"
        "svg = plots.bars(['\u5185\u7530'], [1], title='t', x='x')\n"
        "assert svg.startswith('<svg') and '\u5185\u7530' in svg\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "import matplotlib\n"
        "assert matplotlib.rcParams['svg.fonttype'] == 'path'\n"
        "assert logging.getLogger('matplotlib').level == logging.NOTSET\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MPL", "XDG"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": "/proc/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
