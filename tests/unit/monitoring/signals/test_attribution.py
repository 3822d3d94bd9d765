"""Attributions of later rows are those of the holdout's kind, and what moves them is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from penstock import model as models
from penstock.data.table import read_table
from penstock.explanation.explain import explain
from penstock.explanation.later import later_attributions
from penstock.monitoring.signals import detector
from penstock.monitoring.signals.attribution import (
    STREAM,
    Attributed,
    attributed,
    attribution_signals,
    why_not,
)
from penstock.monitoring.signals.definitions import Signals
from penstock.monitoring.signals.window import measure_values
from penstock.records.explanation import Explanation


def explained(world: Any, folder: Path, out: Path) -> Explanation:
    return explain(world.holdout, model=folder, output=out / "e.json", report=out / "e.html")


@pytest.fixture(scope="module")
def explanations(
    worlds: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Explanation]:
    """`explanations(task, part)` explains that model of that world, once."""

    @cache
    def explanation(task: str, part: str) -> Explanation:
        world = worlds(task)
        return explained(world, getattr(world, part), tmp_path_factory.mktemp("explained"))

    return explanation


def captured(world: Any, rows: int, *, seed: int, times: float = 1.0) -> pa.Table:
    """Rows of the holdout drawn anew, in an hour each; x1 is so many times as large."""
    drawn = np.random.default_rng(seed).integers(0, 400, rows)
    table = read_table(world.holdout).take(drawn)
    at = (seed * 3600 + np.arange(rows) * 3600 / rows) * 1e6
    columns = {f"inputs.{name}": table[name] for name in ("x1", "x2", "kind")}
    columns["inputs.x1"] = pa.array(times * table["x1"].to_numpy())
    moments = pa.array(at.astype(np.int64)).cast(pa.timestamp("us", tz="UTC"))
    return pa.table(columns | {"time": moments})


@pytest.mark.parametrize(
    ("task", "part"),
    [
        ("binary", "model"),
        ("regression", "champion"),
        pytest.param("binary", "champion", marks=pytest.mark.long),
        pytest.param("regression", "model", marks=pytest.mark.long),
    ],
)
def test_the_holdouts_rows_have_the_holdouts_attributions(
    worlds: Any, explanations: Callable[[str, str], Explanation], task: str, part: str
) -> None:
    world = worlds(task)
    folder = getattr(world, part)
    explanation = explanations(task, part)
    model = models.load(folder)
    found = later_attributions(model, model.frame(read_table(world.holdout)), explanation)
    assert not isinstance(found, str)
    names = [column.name for column in model.record.columns]
    for one in explanation.importances:
        values = found[:, names.index(one.column)]
        deciles = np.quantile(values, np.linspace(0, 1, 11))
        assert deciles == pytest.approx(np.array(one.deciles), abs=1e-9)
        assert np.abs(values).mean() == pytest.approx(one.attribution)


def test_a_linear_model_without_its_rows_is_not_watched(
    worlds: Any, explanations: Callable[[str, str], Explanation]
) -> None:
    world = worlds("binary")
    explanation = explanations("binary", "model").model_copy(update={"examples": ()})
    found = attributed(
        captured(world, 100, seed=1), folder=world.model, explanation=explanation, rows=50
    )
    assert found == (
        "Attributions are not watched: the mean of the explained rows is not kept: "
        "training.carry_rows is off."
    )


def test_another_model_is_not_taken(
    worlds: Any, explanations: Callable[[str, str], Explanation]
) -> None:
    world = worlds("binary")
    explanation = explanations("binary", "model")
    found = attributed(
        captured(world, 100, seed=1), folder=world.champion, explanation=explanation, rows=50
    )
    assert isinstance(found, str)
    assert "was explained" in found


def test_what_is_drawn_is_not_watched(explanations: Callable[[str, str], Explanation]) -> None:
    explanation = explanations("binary", "model")
    made = attribution_signals(explanation, tolerance=0.05, without=["x1"])
    # What is left out moves no other out of its place.
    assert [one.place for one in made] == [
        one.place for one in attribution_signals(explanation, tolerance=0.05) if one.column != "x1"
    ]
    drawn = explanation.model_copy(update={"exact": False, "method": "Shapley values ..."})
    assert attribution_signals(drawn, tolerance=0.05) == []
    assert "at great cost" in why_not(drawn)
    assert "without an explanation" in why_not(None)
    assert why_not(explanation) == ""


@pytest.mark.parametrize("part", ["model", pytest.param("champion", marks=pytest.mark.long)])
def test_a_change_of_what_answers_rest_on_is_found_and_its_absence_is_not(
    worlds: Any, explanations: Callable[[str, str], Explanation], part: str
) -> None:
    world = worlds("binary")
    folder = getattr(world, part)
    explanation = explanations("binary", part)
    made = attribution_signals(explanation, tolerance=0.05)
    signals = Signals(tuple(replace(one, weight=0.1 / len(made)) for one in made), columns=())
    state = detector.start(signals)

    def look(hour: int, times: float) -> tuple[detector.Update, Attributed]:
        table = captured(world, 400, seed=hour, times=times)
        found = attributed(table, folder=folder, explanation=explanation, rows=200)
        assert isinstance(found, Attributed)
        assert found.values.shape == (200, len(made))
        blocks = measure_values(
            found.values, found.times, signals=signals, stream=STREAM, carry=state.carry(STREAM)
        )
        return detector.follow(state, [blocks], signals=signals), found

    for hour in range(30):
        seen, found = look(hour, 1.0)
        state = seen.state
        assert not seen.alarm
    assert sum(one.window for one in found.shares) == pytest.approx(1)
    if part == "champion":
        # Three trees of depth two answer the same to x1 three times as large.
        return
    for hour in range(30, 50):
        seen, found = look(hour, 3.0)
        state = seen.state
        if seen.alarm:
            break
    assert seen.alarm
    assert seen.columns[0][0] == "x1"
    share = next(one for one in found.shares if one.column == "x1")
    assert share.window > share.holdout
