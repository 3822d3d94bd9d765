"""Which former champion is chosen for rows: the right one, and none for luck or lack of data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from monitored_rows import captured
from regimes import former, window

from penstock.monitoring.recall import choose
from penstock.monitoring.recall_spec import RecallSpec

SPEC = RecallSpec()


def test_the_version_of_the_regime_that_came_back_is_chosen(tmp_path: Path) -> None:
    rows, labels = window("A", 1000, seed=100)
    choice = choose(
        [former(2, "C", tmp_path), former(1, "A", tmp_path)],
        champion=former(3, "B", tmp_path),
        rows=rows,
        labels=labels,
        spec=SPEC,
    )
    other, right = choice.comparisons
    assert choice.version == 1
    assert (choice.method, choice.metric, choice.compared_rows) == ("labels", "accuracy", 1000)
    assert (other.fits, right.fits, right.better) == (False, True, True)
    assert other.advantage is None
    assert right.advantage is not None
    assert right.figure is not None
    assert choice.figure is not None
    assert right.advantage.value == pytest.approx(right.figure - choice.figure)
    assert choice.reason.startswith("Version 1 is chosen. Version 1 fits: 0% of its inputs")
    assert "By the labels of 1,000 rows its accuracy is" in choice.reason
    assert other.sentence == (
        "Version 2 does not fit: 33% of its inputs are beyond tolerance, and 20% may be: amount."
    )


def test_a_loss_is_better_the_lower(tmp_path: Path) -> None:
    def ranked(version: int, name: str) -> object:
        made = former(version, name, tmp_path)
        return replace(made, baseline=made.baseline.model_copy(update={"metric": "brier"}))

    rows, labels = window("A", 600, seed=101)
    choice = choose([ranked(1, "A")], champion=ranked(2, "B"), rows=rows, labels=labels, spec=SPEC)  # type: ignore[list-item]
    (one,) = choice.comparisons
    assert (choice.version, choice.metric) == (1, "brier")
    assert one.advantage is not None
    assert 0 < one.advantage.low < one.advantage.value < one.advantage.high


def test_no_version_fits(tmp_path: Path) -> None:
    rows, labels = window("C", 1000, seed=102)
    choice = choose(
        [former(1, "A", tmp_path)],
        champion=former(2, "B", tmp_path),
        rows=rows,
        labels=labels,
        spec=SPEC,
    )
    assert choice.version is None
    assert choice.method == ""
    assert choice.reason == (
        "No former champion is chosen: the rows are not of the kind that any of them learned from."
    )
    assert choice.comparisons[0].outside == pytest.approx(1 / 3)


def test_there_is_none(tmp_path: Path) -> None:
    table = captured({"amount": [1.0]})
    choice = choose([], champion=former(1, "A", tmp_path), rows=table, labels=None, spec=SPEC)
    assert choice.reason == "No former champion is chosen: there is none."
