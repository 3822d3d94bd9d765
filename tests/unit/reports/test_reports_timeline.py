"""Plots over time, and counted distributions: named where there is room, the same every time."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from penstock.reports.plots import Reference, Series
from penstock.reports.timeline import Counted, Span, distribution, over_time

NASTY = 'a <script>alert(1)</script> & "b" $x^2$ \x00 #0f1e01'
SPANS = [
    Span(0, 50, ("Shadow",)),
    Span(50, 52, ("Step 1 of 2", "Step 1", "1"), shaded=True),
    Span(52, 58, ("Step 2 of 2", "Step 2", "2")),
    Span(58, 100, ("Rolled back",), shaded=True),
]


def weights(label: str = "Weight", **options) -> str:
    given = {"spans": SPANS, "title": label, "x": label, "y": "Percent", "xlim": (0, 100)}
    line = Series([0, 50, 52, 58, 100], [0, 10, 50, 0, 0], label, steps=True)
    decided = Reference("vertical", 58, label, "bad")
    return over_time([line], **(given | {"references": [decided]} | options))


def scores(label: str = "Score") -> str:
    groups = [
        Counted([10, 60, 30], label, "accent-2", "dashed"),
        Counted([5, 20, 75], "other"),
    ]
    return distribution(groups, [0, 0.2, 0.5, 1], title=label, x=label, y="Percent of rows")


def texts(svg: str) -> list[str]:
    return [e.text or "" for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("text")]


@pytest.mark.parametrize("draw", [weights, scores])
def test_they_belong_to_their_page(draw) -> None:
    svg = draw()
    assert not re.findall(r"#[0-9a-f]{6}\b", svg)
    assert "font-family" not in svg
    assert "<style" not in svg
    assert "width:100%" in svg
    assert draw() == svg
    assert "<script" not in draw(NASTY)


def test_a_span_is_named_by_what_fits() -> None:
    wide = texts(weights(wide=True, named=True))
    assert {"Shadow", "Step 2", "1", "Rolled back"} <= set(wide)
    assert not {"Step 1", "Step 1 of 2", "Step 2 of 2", "2"} & set(wide)
    narrow = texts(weights(named=True))
    assert {"Shadow", "Rolled back", "2"} <= set(narrow)
    assert not {"1", "Step 1", "Step 2"} & set(narrow)


def test_names_are_left_out_unless_asked_for() -> None:
    assert "Shadow" not in texts(weights())


def test_only_shaded_spans_have_a_ground() -> None:
    grounds = r'fill: var\(--line\)[^"]*opacity: 0\.45'
    assert len(re.findall(grounds, weights())) == 2
    assert not re.findall(grounds, weights(spans=SPANS[:1]))


def test_a_gap_in_a_line_is_left_open() -> None:
    gap = Series([0, 1, 2, 3], [1, 1, np.nan, 1], "", points=True)
    whole = Series([0, 1, 2, 3], [1, 1, 1, 1], "", points=True)
    options = {"spans": [], "title": "t", "x": "x", "y": "y", "xlim": (0, 3)}
    assert over_time([gap], **options).count("h0") == over_time([whole], **options).count("h0") - 1


def test_a_distribution_spans_its_edges() -> None:
    svg = scores()
    assert {"Score", "other", "Percent of rows"} <= set(texts(svg))
    assert "stroke-dasharray" in svg
    with pytest.raises(ValueError, match="Size mismatch"):
        distribution([Counted([1, 2], "a")], [0, 1], title="t", x="x", y="y")
