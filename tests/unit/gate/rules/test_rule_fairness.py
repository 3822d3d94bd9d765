"""Groups of people on real holdouts: figures, spread, small groups, and the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairlearn import metrics as fairlearn

from penstock.data.table import read_table
from penstock.errors import InputError
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.holdout import Holdout, read_holdout
from penstock.gate.policy import Policy
from penstock.gate.rules.fairness.measure import measure_fairness
from penstock.gate.rules.fairness.spec import Fairness, FairnessSpec
from penstock.records.decision import RuleResult

ROWS = 2000


@pytest.fixture(scope="module")
def holdouts(worlds, make, tmp_path_factory) -> Any:
    """By task, a holdout with columns that the models do not take; `kind = c` is often positive."""
    home = tmp_path_factory.mktemp("groups")
    built: dict[str, Holdout] = {}

    def get(task: str) -> Holdout:
        if task not in built:
            raw = make.rows(task, ROWS, seed=2)
            random = np.random.default_rng(0)
            raw["sex"] = random.choice(["f", "m"], ROWS).tolist()
            raw["race"] = [None if n % 20 == 0 else "xyz"[n % 3] for n in range(ROWS)]
            raw["rare"] = ["few" if n % 100 == 0 else "many" for n in range(ROWS)]
            raw["age"] = random.integers(18, 90, ROWS).tolist()
            folder = make.write(home / task, raw)
            world = worlds(task)
            built[task] = read_holdout(folder, model=world.model, baselines=None, champion=None)
        return built[task]

    return get


def measured(holdout: Holdout, **rule: Any) -> Fairness:
    bound = {"difference_at_most": 0.1} if "ratio_at_least" not in rule else {}
    return measure_fairness(
        holdout, FairnessSpec(**bound, **rule), confidence=0.95, resamples=500, seed=0
    )


def judged(holdout: Holdout, worlds, folder: Path, **rule: Any) -> RuleResult:
    policy = Policy.parse({"fairness": [rule], "slices": None}, where="gate")
    world = worlds(holdout.record.task)
    found = evaluate(
        holdout.folder,
        model=world.model,
        baselines=None,
        policy=policy,
        spec=EvaluationSpec(resamples=100),
        output=folder / "evaluation.json",
        report=folder / "report.html",
    ).evaluation
    rules = decide(found, policy=policy).rules
    return next(one for one in rules if one.rule.startswith("fairness"))


@pytest.mark.parametrize(
    ("metric", "difference", "ratio"),
    [
        (
            "selection_rate",
            fairlearn.demographic_parity_difference,
            fairlearn.demographic_parity_ratio,
        ),
        (
            "true_positive_rate",
            fairlearn.equal_opportunity_difference,
            fairlearn.equal_opportunity_ratio,
        ),
        (
            "false_positive_rate",
            fairlearn.false_positive_rate_difference,
            fairlearn.false_positive_rate_ratio,
        ),
        ("equalized_odds", fairlearn.equalized_odds_difference, fairlearn.equalized_odds_ratio),
        ("accuracy", fairlearn.accuracy_score_difference, fairlearn.accuracy_score_ratio),
    ],
)
def test_the_spread_is_fairlearns(holdouts, metric, difference, ratio) -> None:
    holdout = holdouts("binary")
    found = measured(holdout, columns=["kind"], metric=metric)
    given = {
        "y_true": holdout.truth,
        "y_pred": holdout.predicted("candidate"),
        "sensitive_features": read_table(holdout.folder, ["kind"]).to_pandas()["kind"],
    }
    assert found.difference.value == pytest.approx(difference(**given))
    assert found.ratio.value == pytest.approx(ratio(**given))
    for one in (found.difference, found.ratio):
        assert 0 <= one.low <= one.value <= one.high <= 1
    assert {group.name for group in found.groups} == {"kind = a", "kind = b", "kind = c"}
    assert sum(group.rows for group in found.groups) == ROWS


def test_a_group_that_differs_is_told_from_chance_and_one_that_does_not_is_not(holdouts) -> None:
    holdout = holdouts("binary")
    assert measured(holdout, columns=["kind"]).difference.low > 0.1
    for columns in (["sex"], ["sex", "race"]):
        found = measured(holdout, columns=columns)
        assert found.difference.low == 0
        assert found.ratio.high == 1


def test_a_missing_value_is_a_group_and_columns_are_crossed(holdouts) -> None:
    found = measured(holdouts("binary"), columns=["race"], min_rows=20)
    missing = next(group for group in found.groups if group.name == "race is missing")
    assert (missing.rows, missing.small) == (ROWS // 20, False)
    crossed = measured(holdouts("binary"), columns=["sex", "race"])
    assert len(crossed.groups) == 8
    assert all(" and " in group.name for group in crossed.groups)


def test_small_groups_are_flagged_by_name_and_left_out(holdouts) -> None:
    found = measured(holdouts("binary"), columns=["rare"], min_rows=10)
    assert found.difference is not None
    found = measured(holdouts("binary"), columns=["rare"])
    assert [group.small for group in found.groups] == [False, True]
    assert found.groups[1].figures["selection_rate"] is not None
    assert (found.difference, found.ratio) == (None, None)
    assert "rare = few" in found.notes[0]


def test_what_counts_for_a_rate_are_the_rows_that_it_rests_on(holdouts) -> None:
    holdout = holdouts("binary")
    groups = {
        metric: {
            group.name: group
            for group in measured(holdout, columns=["rare"], metric=metric, min_rows=15).groups
        }
        for metric in ("selection_rate", "true_positive_rate", "equalized_odds")
    }
    assert not groups["selection_rate"]["rare = few"].small
    assert groups["true_positive_rate"]["rare = few"].small
    assert groups["equalized_odds"]["rare = few"].small


def test_a_group_without_a_positive_has_no_true_positive_rate(worlds, make, tmp_path) -> None:
    raw = make.rows("binary", 600, seed=3)
    raw["part"] = ["none" if y == "no" and n % 2 else "both" for n, y in enumerate(raw["y"])]
    world = worlds("binary")
    holdout = read_holdout(
        make.write(tmp_path / "h", raw), model=world.model, baselines=None, champion=None
    )
    found = measured(holdout, columns=["part"], metric="true_positive_rate")
    group = next(group for group in found.groups if group.name == "part = none")
    assert group.figures == {"true_positive_rate": None}
    assert group.small


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("multiclass", "accuracy"),
        ("regression", "mean_error"),
        ("regression", "mean_absolute_error"),
    ],
)
def test_other_tasks(holdouts, task, metric) -> None:
    holdout = holdouts(task)
    found = measured(holdout, columns=["kind"], metric=metric)
    truth, predicted = holdout.truth, holdout.predicted("candidate")
    row = {
        "accuracy": predicted == truth,
        "mean_error": predicted - truth,
        "mean_absolute_error": np.abs(predicted - truth),
    }[metric]
    kinds = read_table(holdout.folder, ["kind"]).to_pandas()["kind"].to_numpy()
    expected = {f"kind = {kind}": row[kinds == kind].mean() for kind in "abc"}
    assert {g.name: g.figures[metric] for g in found.groups} == pytest.approx(expected)
    spread = max(expected.values()) - min(expected.values())
    assert found.difference.value == pytest.approx(spread)
    assert (found.ratio is None) == (metric == "mean_error")


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [
        pytest.param({"difference_at_most": 0.9}, "pass", marks=pytest.mark.long),
        ({"difference_at_most": 0.01}, "fail"),
        ({"ratio_at_least": 0.01}, "pass"),
        pytest.param({"ratio_at_least": 0.99}, "fail", marks=pytest.mark.long),
        ({"difference_at_most": 0.9, "ratio_at_least": 0.99}, "fail"),
        pytest.param(
            {"difference_at_most": 0.9, "ratio_at_least": 0.01}, "pass", marks=pytest.mark.long
        ),
    ],
)
def test_the_rule_passes_and_blocks_with_the_groups_named(
    holdouts, worlds, tmp_path, bound, verdict
) -> None:
    rule = judged(holdouts("binary"), worlds, tmp_path, columns=["kind"], **bound)
    assert (rule.verdict, rule.severity) == (verdict, "block")
    assert "95% interval" in rule.sentence
    assert "for kind = c" in rule.sentence
    assert rule.bound in bound.values()
    html = (tmp_path / "report.html").read_text().partition(">Groups</h2>")[2]
    assert "kind = c" in html
    assert "Largest minus smallest" in html


def test_fewer_than_two_groups_cannot_pass(holdouts, worlds, tmp_path) -> None:
    rule = judged(holdouts("binary"), worlds, tmp_path, columns=["rare"], difference_at_most=0.99)
    assert rule.verdict == "fail"
    assert "1 of 2 groups" in rule.sentence
    assert "there is no spread" in (tmp_path / "report.html").read_text()


def test_a_figure_of_other_groups_does_not_pass(holdouts, worlds, tmp_path) -> None:
    holdout = holdouts("binary")
    given = {"columns": ["kind"], "difference_at_most": 0.9}
    policy = Policy.parse({"fairness": [given], "slices": None}, where="gate")
    found = evaluate(
        holdout.folder,
        model=worlds("binary").model,
        baselines=None,
        policy=policy,
        spec=EvaluationSpec(resamples=100),
        output=tmp_path / "evaluation.json",
        report=None,
    ).evaluation
    assert _verdict(found, policy) == "pass"
    for change in ({"columns": ("sex",)}, {"metric": "accuracy"}, {"min_rows": 1}):
        other = (found.fairness[0].model_copy(update=change),)
        assert _verdict(found.model_copy(update={"fairness": other}), policy) == "fail", change


def _verdict(found: Evaluation, policy: Policy) -> str:
    rules = decide(found, policy=policy).rules
    return next(one.verdict for one in rules if one.rule.startswith("fairness"))


@pytest.mark.parametrize(
    ("task", "rule", "message"),
    [
        ("binary", {"columns": ["nowhere"]}, "no column 'nowhere'"),
        ("multiclass", {"columns": ["sex"]}, "'selection_rate' is not a figure of a multiclass"),
        ("regression", {"columns": ["sex"], "metric": "accuracy"}, "of a regression model"),
        ("binary", {"columns": ["sex"], "metric": "mean_error"}, "of a binary model"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(holdouts, task, rule, message) -> None:
    with pytest.raises(InputError, match=message):
        measured(holdouts(task), **rule)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"columns": ["sex"]}, "difference_at_most, ratio_at_least or both"),
        ({"columns": ["sex", "sex"], "difference_at_most": 0.1}, "each column once"),
        ({"columns": ["sex"], "metric": "mean_error", "ratio_at_least": 0.8}, "above and below 0"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule, message) -> None:
    with pytest.raises(InputError, match=message):
        Policy.parse({"fairness": [rule]}, where="gate")
