"""Gaps between groups, on the holdout and block by block, with and without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from penstock.data.groups import group_codes, group_column, levels_in, levels_of_code, name_of
from penstock.data.table import read_table
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.policy import Policy
from penstock.monitoring.signals.group_gaps import Gap, gap_sums, gaps_of, means_of
from penstock.records.baseline import Baseline
from penstock.records.model import Task


def measured(
    gaps: Sequence[Gap], *, inputs: dict[str, pa.Array], blocks: Any, **given: Any
) -> np.ndarray:
    """Every gap in every block, shape (blocks, gaps)."""
    codes = {gap.columns: group_codes(gap.columns, inputs) for gap in gaps}
    size = int(blocks.max()) + 1
    return means_of(gap_sums(gaps, codes=codes, blocks=blocks, size=size, **given))


def released(worlds: Any, task: Task, out: Path) -> tuple[Baseline, dict[str, pa.Array], Any, Any]:
    """The baseline of a world's candidate, its holdout, the scores and the labels."""
    from penstock import model as models

    world = worlds(task)
    metric = "mean_absolute_error" if task == "regression" else "accuracy"
    settings = {"columns": ["kind"], "metric": metric, "difference_at_most": 0.9, "min_rows": 10}
    evaluate(
        world.holdout,
        model=world.model,
        baselines=None,
        policy=Policy.parse({"fairness": [settings]}, where="gate"),
        spec=EvaluationSpec(resamples=100),
        output=out / "evaluation.json",
        report=None,
        baseline=out / "baseline.json",
    )
    loaded = models.load(world.model)
    table = read_table(world.holdout, [*(c.name for c in loaded.record.columns), "y"])
    inputs = {"kind": table.column("kind").combine_chunks()}
    labels = table.column("y").to_pylist()
    return Baseline.read(out / "baseline.json"), inputs, loaded.scores(loaded.frame(table)), labels


@pytest.fixture(scope="module")
def releases(worlds: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Task], Any]:
    """`releases(task)` is what `released` returns, made once."""
    return cache(lambda task: released(worlds, task, tmp_path_factory.mktemp(task)))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_on_the_holdout_itself_every_gap_is_as_expected(releases, task: Task) -> None:
    baseline, inputs, scores, labels = releases(task)
    names = set()
    for labelled in (False, True):
        gaps = gaps_of(baseline, inputs=["kind"], labelled=labelled)
        found = measured(
            gaps,
            inputs=inputs,
            scores=scores,
            blocks=np.zeros(len(scores), dtype=np.int64),
            baseline=baseline,
            labels=labels if labelled else None,
        )
        assert found.shape == (1, len(gaps))
        for gap, value in zip(gaps, found[0], strict=True):
            assert value == pytest.approx(gap.expected), gap.name
            assert 0 < gap.error < 1
        names |= {gap.figure for gap in gaps}
    assert (
        names
        == {
            "binary": {"selection_rate", "error", "true_positive_rate", "false_positive_rate"},
            "multiclass": {"error"},
            "regression": {"mean_prediction", "absolute_error"},
        }[task]
    )


def test_a_drift_of_one_group_shows_in_its_gap(releases) -> None:
    baseline, inputs, scores, _ = releases("binary")
    gaps = gaps_of(baseline, inputs=["kind"], labelled=False)
    at = next(i for i, gap in enumerate(gaps) if "kind = a" in gap.name)
    drifted = np.where(np.array(inputs["kind"].to_pylist()) == "a", 0.9, scores)
    blocks = np.arange(len(scores)) // 100
    found = measured(gaps, inputs=inputs, scores=drifted, blocks=blocks, baseline=baseline)
    assert found.shape == (4, 3)
    assert (found[:, at] > gaps[at].expected + 0.5).all()


def test_a_block_without_a_group_says_nothing(releases) -> None:
    baseline, _, scores, _ = releases("binary")
    gaps = gaps_of(baseline, inputs=["kind"], labelled=False)
    only = {"kind": pa.array(["b"] * 50 + ["c"] * 50)}
    found = measured(
        gaps,
        inputs=only,
        scores=scores[:100],
        blocks=np.zeros(100, dtype=np.int64),
        baseline=baseline,
    )
    missing = {gap.name for gap, value in zip(gaps, found[0], strict=True) if np.isnan(value)}
    assert missing == {"selection_rate of kind = a, against all others"}


def test_columns_that_requests_do_not_have_are_left_out(releases) -> None:
    baseline, _, _, _ = releases("binary")
    assert gaps_of(baseline, inputs=["x1"], labelled=False) == ()


def test_of_two_groups_one_gap_is_enough(releases) -> None:
    baseline, _, _, _ = releases("binary")
    (groups,) = baseline.fairness
    two = groups.model_copy(update={"groups": groups.groups[:2]})
    rows = sum(group.rows for group in two.groups)
    cut = baseline.model_copy(update={"fairness": (two,), "rows": rows})
    found: tuple[Gap, ...] = gaps_of(cut, inputs=["kind"], labelled=False)
    assert len(found) == 1


def test_levels_are_found_by_value_whatever_else_is_there() -> None:
    texts = group_column("c", pa.array(["b", "a", "b", None]))
    assert levels_in(texts, pa.array(["a", "b", "new", None])).tolist() == [1, 0, 2, 3]
    few = group_column("n", pa.array([3, 1, 2, 2]))
    assert levels_in(few, pa.array([1, 2, 3, None])).tolist() == [0, 1, 2, 3]
    many = group_column("x", pa.array(np.arange(1000.0)))
    assert len(many.cuts) == 4
    assert levels_in(many, pa.array([-5.0, 200.0, 1e9, float("nan")])).tolist() == [0, 1, 4, 5]
    flags = group_column("f", pa.array([True, False, None]))
    assert levels_in(flags, pa.array([False, True])).tolist() == [0, 1]
    times = group_column("t", pa.array([0, 10**6, 2 * 10**6], type=pa.timestamp("us", tz="UTC")))
    assert levels_in(times, pa.array([None], type=pa.timestamp("us"))).tolist() == [times.size - 1]
    nothing = group_column("e", pa.array([None, None], type=pa.float64()))
    assert levels_in(nothing, pa.array([1.0, None])).tolist() == [0, 1]


def test_crossed_groups_have_one_code_each() -> None:
    columns = (group_column("a", pa.array(["x", "y"])), group_column("b", pa.array([1, 2, 3])))
    table = {"a": pa.array(["x", "y", None]), "b": pa.array([3, None, 1])}
    codes = group_codes(columns, table)
    assert [levels_of_code(columns, int(code)) for code in codes] == [(0, 2), (1, 3), (3, 0)]
    assert name_of(columns, (0, 2), times=()) == "a = x and b at least 3"
    assert name_of(columns, (3, 0), times=()) == "a is missing and b below 2"
