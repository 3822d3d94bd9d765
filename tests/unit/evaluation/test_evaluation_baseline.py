"""The baseline that evaluating makes: counts that are of the holdout's very rows."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from penstock import model as models
from penstock.data.table import read_table
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.records.baseline import Baseline, ScoreBins


def measured(world, out: Path, **given) -> tuple[Evaluation, Baseline]:
    found = evaluate(
        given.pop("holdout", world.holdout),
        model=world.model,
        baselines=world.baselines,
        policy=given.pop("policy", Policy()),
        spec=EvaluationSpec(resamples=100),
        output=out / "evaluation.json",
        report=None,
        baseline=out / "baseline.json",
    ).evaluation
    return found, Baseline.read(out / "baseline.json")


def scored(world) -> tuple[np.ndarray, np.ndarray]:
    """The candidate's scores and the truth, read beside the step."""
    loaded = models.load(world.model)
    table = read_table(world.holdout, [*(c.name for c in loaded.record.columns), "y"])
    return loaded.scores(loaded.frame(table)), np.array(table.column("y").to_pylist())


def check(bins: ScoreBins, scores: np.ndarray, hits: np.ndarray | None) -> None:
    edges = np.array(bins.edges)
    assert (np.diff(edges) > 0).all()
    assert edges[-1] == scores.max()
    low = -np.inf
    for at, edge in enumerate(edges):
        inside = (scores > low) & (scores <= edge)
        assert bins.rows[at] == inside.sum() > 0
        assert bins.sums[at] == pytest.approx(scores[inside].sum())
        if hits is not None:
            assert bins.hits[at] == hits[inside].sum()
        low = edge


def test_two_classes(worlds, tmp_path) -> None:
    world = worlds("binary")
    evaluation, found = measured(world, tmp_path)
    assert evaluation.baseline == found.digest()
    assert Evaluation.read(tmp_path / "evaluation.json") == evaluation
    assert (found.model, found.dataset, found.rows) == (evaluation.model, evaluation.dataset, 400)
    assert (found.classes, found.threshold, found.metric) == (("no", "yes"), 0.4, "roc_auc")
    scores, truth = scored(world)
    positive = truth == "yes"
    check(found.scores[0], scores, positive)
    # No bin holds rows of both sides of the threshold.
    edges = (0.0, *found.scores[0].edges)
    for low, high in pairwise(edges):
        inside = scores[(scores > low) & (scores <= high)]
        assert len({bool(s >= 0.4) for s in inside}) == 1
    flagged = scores >= 0.4
    assert found.confusion == (
        (int((~positive & ~flagged).sum()), int((~positive & flagged).sum())),
        (int((positive & ~flagged).sum()), int((positive & flagged).sum())),
        (0, 0),
    )
    values = evaluation.candidate.metrics
    assert found.losses["error"].mean == pytest.approx(1 - values["accuracy"].value)
    assert found.losses["log_loss"].mean == pytest.approx(values["log_loss"].value)
    assert found.losses["brier"].mean == pytest.approx(values["brier"].value)
    squares = (scores - positive) ** 2
    assert found.losses["brier"].deviation == pytest.approx(squares.std())


def test_more_classes(worlds, tmp_path) -> None:
    world = worlds("multiclass")
    evaluation, found = measured(world, tmp_path)
    scores, truth = scored(world)
    assert len(found.scores) == 3
    for code, bins in enumerate(found.scores):
        check(bins, scores[:, code], truth == code)
    assert found.predicted is not None
    check(found.predicted, scores.max(axis=1), scores.argmax(axis=1) == truth)
    right = sum(found.predicted.hits)
    assert right / 400 == pytest.approx(evaluation.candidate.metrics["accuracy"].value)
    assert sum(map(sum, found.confusion)) == 400


def test_a_regression(worlds, tmp_path) -> None:
    world = worlds("regression")
    evaluation, found = measured(world, tmp_path)
    scores, truth = scored(world)
    check(found.scores[0], scores, None)
    assert found.errors is not None
    assert len(found.errors.absolute) == len(found.scores[0].rows)
    error = truth - scores
    assert sum(found.errors.absolute) == pytest.approx(np.abs(error).sum())
    assert sum(found.errors.squared) == pytest.approx((error**2).sum())
    assert sum(found.errors.fourth) == pytest.approx((error**4).sum())
    assert found.losses["absolute_error"].mean == pytest.approx(
        evaluation.candidate.metrics["mae"].value
    )
    assert found.losses.keys() == {"absolute_error", "squared_error"}


def test_rare_positives_have_bins_of_their_own(worlds, make, tmp_path) -> None:
    """With bins of equally many rows alone, all positives would share the highest one."""
    from penstock.metrics.score_bins import score_bins, score_edges

    rng = np.random.default_rng(0)
    scores = rng.beta(0.3, 20, size=20_000)
    hits = rng.random(20_000) < scores
    bins = score_bins(scores, hits, score_edges(scores, hits, threshold=0.2))
    assert max(bins.hits) < 0.2 * sum(bins.hits)


def test_groups_are_those_of_the_policy(worlds, tmp_path) -> None:
    world = worlds("binary")
    policy = Policy.parse(
        {
            "fairness": [
                {"columns": ["kind"], "difference_at_most": 0.9, "min_rows": 10},
                {"columns": ["kind", "x1"], "difference_at_most": 0.9, "min_rows": 10},
            ]
        },
        where="gate",
    )
    evaluation, found = measured(world, tmp_path, policy=policy)
    by_kind, crossed = found.fairness
    scores, truth = scored(world)
    kinds = np.array(read_table(world.holdout, ["kind"]).column("kind").to_pylist())
    assert {g.name for g in by_kind.groups} == {"kind = a", "kind = b", "kind = c"}
    assert [g.rows for g in by_kind.groups] == sorted(
        (g.rows for g in by_kind.groups), reverse=True
    )
    for group in by_kind.groups:
        member = kinds == group.name[-1]
        assert group.rows == member.sum()
        check(group.scores, scores[member], truth[member] == "yes")
        flagged = sum(row[1] for row in group.confusion)
        assert flagged == (scores[member] >= 0.4).sum()
    assert len(crossed.groups) == 15
    assert any(" and x1 from " in group.name for group in crossed.groups)
    assert found.notes == ()
    assert evaluation.baseline == found.digest()


def test_what_is_left_out_is_said(worlds, tmp_path) -> None:
    settings = {"columns": ["kind"], "difference_at_most": 0.9, "min_rows": 137}
    policy = Policy.parse({"fairness": [settings]}, where="gate")
    _, found = measured(worlds("binary"), tmp_path, policy=policy)
    left = 3 - len(found.fairness[0].groups)
    assert left > 0
    assert f"{left} groups by kind are left out" in found.notes[0]


def test_without_a_baseline_the_record_is_as_it_was(worlds, tmp_path) -> None:
    world = worlds("binary")
    evaluate(
        world.holdout,
        model=world.model,
        baselines=None,
        spec=EvaluationSpec(resamples=100),
        output=tmp_path / "evaluation.json",
        report=tmp_path / "report.html",
    )
    assert "baseline" not in json.loads((tmp_path / "evaluation.json").read_text())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evaluation.json", "report.html"]
