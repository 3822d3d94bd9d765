"""Figures as people read them."""

from __future__ import annotations

import pytest

from penstock.records.estimate import Estimate
from penstock.reports import words


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ((0.92654, 0.91921, 0.93317), "0.927 (0.919 to 0.933)"),
        ((12345.6, 12001.2, 12702.9), "12,346 (12,001 to 12,703)"),
        ((-0.009, -0.024, -0.001), "-0.009 (-0.024 to -0.001)".replace("-", "\N{MINUS SIGN}")),
        ((0.5, 0.5, 0.5), "0.500 (0.500 to 0.500)"),
        ((0.0, 0.0, 0.0), "0 (0 to 0)"),
    ],
)
def test_a_figure_has_the_digits_that_its_interval_is_worth(figures, text) -> None:
    value, low, high = figures
    assert words.figure_text(Estimate(value=value, low=low, high=high)) == text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.02, "better"),
        (-0.02, -0.01, "worse"),
        (-0.01, 0.02, "no clear difference"),
        (0.0, 0.0, "no clear difference"),
    ],
)
def test_an_interval_that_holds_zero_shows_no_difference(low, high, said) -> None:
    assert words.reading(Estimate(value=(low + high) / 2, low=low, high=high)) == said


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.5, "50.0 %"), (0.0012, "0.12 %"), (1.0, "100 %"), (0.0, "0 %"), (1e-7, "<0.001 %")],
)
def test_shares_near_the_ends_keep_what_tells(share, text) -> None:
    assert words.percent(share) == text


def test_every_metric_is_explained() -> None:
    from penstock.metrics import METRICS

    assert set(words.DESCRIPTIONS) == set(METRICS)
