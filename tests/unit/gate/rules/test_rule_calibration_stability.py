"""Calibration and stability on real models: what is measured, and the rules on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.errors import InputError
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.holdout import read_holdout
from penstock.gate.policy import Policy
from penstock.metrics.calibration import calibration_error
from penstock.records.decision import RuleResult


def judged(
    folder: Path, world: Any, *, model: Path | None = None, page: bool = False, **policy: Any
) -> tuple[dict[str, RuleResult], Evaluation]:
    asked = Policy.parse({"slices": None, **policy}, where="gate")
    found = evaluate(
        world.holdout,
        model=model or world.model,
        baselines=None,
        policy=asked,
        spec=EvaluationSpec(resamples=200),
        output=folder / "evaluation.json",
        report=folder / "report.html" if page else None,
    ).evaluation
    return {rule.rule: rule for rule in decide(found, policy=asked).rules}, found


def stated(rows: int, *, sharper: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what happened and what was said of it, too sure of itself by a factor."""
    random = np.random.default_rng(seed)
    logit = 1.5 * random.normal(size=rows)
    happened = random.random(rows) < 1 / (1 + np.exp(-logit))
    return happened, 1 / (1 + np.exp(-logit * sharper))


def test_in_few_rows_chance_is_not_taken_for_miscalibration() -> None:
    found = [
        calibration_error(*stated(400, sharper=1.0, seed=seed), bins=10, confidence=0.95, seed=0)
        for seed in range(60)
    ]
    assert np.mean([one.plain for one in found]) > 0.04
    assert np.mean([one.estimate.value for one in found]) < 0.02
    assert np.mean([one.estimate.low == 0 for one in found]) > 0.9


@pytest.mark.long
@pytest.mark.parametrize("rows", [400, 4000])
def test_the_interval_of_the_calibration_error_holds_the_truth(rows) -> None:
    happened, said = stated(400_000, sharper=1.6, seed=0)
    truth = calibration_error(happened, said, bins=10, confidence=0.95, seed=0).plain
    found = [
        calibration_error(*stated(rows, sharper=1.6, seed=s), bins=10, confidence=0.95, seed=0)
        for s in range(1, 101)
    ]
    held = np.mean([one.estimate.low <= truth <= one.estimate.high for one in found])
    assert held > 0.88
    assert np.mean([one.estimate.value for one in found]) == pytest.approx(truth, rel=0.12)


def test_two_classes_are_judged_by_the_positive_one(worlds, tmp_path) -> None:
    rules, found = judged(
        tmp_path,
        worlds("binary"),
        calibration={"brier_at_most": 0.9, "ece_at_most": 0.5},
        page=True,
    )
    assert found.calibration.of == "positive class"
    assert found.calibration.brier == found.candidate.metrics["brier"]
    assert {rules[f"calibration {name}"].verdict for name in ("brier", "ece")} == {"pass"}
    html = (tmp_path / "report.html").read_text()
    assert ">Calibration</h2>" in html
    assert "that the row is of the positive class" in html


def test_several_classes_are_judged_by_the_predicted_one(worlds, tmp_path) -> None:
    world = worlds("multiclass")
    _, found = judged(tmp_path, world, calibration={"brier_at_most": 1.9})
    rows = read_holdout(world.holdout, model=world.model, baselines=None, champion=None)
    scores, truth = rows.scores["candidate"], rows.truth
    expected = ((scores - np.eye(3)[truth]) ** 2).sum(axis=1).mean()
    assert found.calibration.of == "top label"
    assert found.calibration.brier.value == pytest.approx(expected)
    assert found.calibration.brier.low < expected < found.calibration.brier.high
    plain = calibration_error(
        scores.argmax(axis=1) == truth, scores.max(axis=1), bins=10, confidence=0.95, seed=20
    )
    assert found.calibration.plain_ece == plain.plain


def test_a_model_that_is_too_sure_is_blocked(worlds, make, tmp_path) -> None:
    from sklearn.tree import DecisionTreeClassifier

    sure = make.save(tmp_path / "sure", "binary", DecisionTreeClassifier(random_state=0))
    bounds = {"brier_at_most": 0.22, "ece_at_most": 0.1}
    rules, _ = judged(tmp_path, worlds("binary"), model=sure, calibration=bounds)
    for name in ("calibration brier", "calibration ece"):
        assert (rules[name].verdict, rules[name].severity) == ("fail", "block")
        assert "is not at most" in rules[name].sentence
    rules, _ = judged(tmp_path, worlds("binary"), calibration=bounds)
    assert {rules[f"calibration {name}"].verdict for name in ("brier", "ece")} == {"pass"}


def test_the_upper_end_can_be_asked_for(worlds, tmp_path) -> None:
    world = worlds("binary")
    rules, found = judged(tmp_path, world, calibration={"brier_at_most": 0.9})
    between = (found.calibration.brier.value + found.calibration.brier.high) / 2
    for on, verdict in (("estimate", "pass"), ("interval", "fail")):
        rules, _ = judged(tmp_path, world, calibration={"brier_at_most": between, "on": on})
        assert rules["calibration brier"].verdict == verdict


def test_a_regression_states_no_probabilities(worlds, tmp_path) -> None:
    world = worlds("regression")
    with pytest.raises(InputError, match="a regression states no probabilities"):
        judged(tmp_path, world, calibration={"ece_at_most": 0.1})


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_little_noise_costs_little_and_much_costs_much(worlds, task, tmp_path) -> None:
    world = worlds(task)
    little, found = judged(tmp_path, world, stability={"noise": 0.01, "missing": 0})
    assert little["stability noise"].verdict == "pass"
    assert "stability missing" not in little
    (quiet,) = found.stability
    assert quiet.before == found.candidate.metrics[found.metric].value
    assert quiet.drop.low <= quiet.drop.value <= quiet.drop.high
    noise = {"noise": 1.0, "missing": 0}
    much, found = judged(tmp_path, world, stability=noise, page=True)
    assert much["stability noise"].verdict == "fail"
    assert much["stability noise"].severity == "warn"
    loud = found.stability[0]
    assert loud.drop.value == pytest.approx(loud.before - loud.value.value)
    assert loud.drop.low > quiet.drop.high
    html = (tmp_path / "report.html").read_text()
    assert ">Stability</h2>" in html
    # Seeded: the same again.
    assert judged(tmp_path, world, stability=noise)[1] == found


@pytest.fixture(scope="module")
def numeric(make, tmp_path_factory) -> Path:
    """A model that takes numbers alone, and missing ones too."""
    from sklearn.linear_model import LogisticRegression

    columns = tuple(column for column in make.columns if column.type == "number")
    home = tmp_path_factory.mktemp("numeric")
    return make.save(home / "m", "binary", LogisticRegression(), columns=columns)


def test_missing_values_cost_what_they_carry(worlds, numeric, tmp_path) -> None:
    world = worlds("binary")
    few, _ = judged(tmp_path, world, model=numeric, stability={"noise": 0, "missing": 0.02})
    assert few["stability missing"].verdict == "pass"
    rule = {"noise": 0, "missing": 0.7, "severity": "block"}
    many, found = judged(tmp_path, world, model=numeric, stability=rule, page=True)
    assert (many["stability missing"].verdict, many["stability missing"].severity) == (
        "fail",
        "block",
    )
    assert found.stability[0].drop.low > 0
    assert "70.0 % of all values missing" in (tmp_path / "report.html").read_text()


def test_a_model_that_cannot_take_a_missing_value_is_said_to_and_fails(worlds, tmp_path) -> None:
    # Its encoder knows the kinds that it was fitted on, and no missing one.
    missing = {"noise": 0, "missing": 0.2}
    rules, found = judged(tmp_path, worlds("binary"), stability=missing, page=True)
    assert rules["stability missing"].verdict == "fail"
    assert "the model does not answer: ValueError" in rules["stability missing"].sentence
    assert found.stability[0].drop is None
    assert "no answer" in (tmp_path / "report.html").read_text()


def test_a_code_that_is_a_category_gets_no_noise(make, tmp_path) -> None:
    from health_world import customers
    from health_world import make as trained

    frame = customers(600).drop(columns=["age", "spend", "when"])
    frame["code"] = np.where(frame["left"] == "yes", 7, 3) + np.arange(600) % 2
    spec = {"columns": {"code": "category"}}
    made = trained(tmp_path, frame, features=spec)
    rules = made.rules({"stability": {"noise": 1.0, "missing": 0}})
    assert rules["stability noise"].verdict == "not applicable"
    assert "no number that varies" in rules["stability noise"].sentence


def test_of_many_rows_a_sample_is_disturbed(worlds, make, numeric, tmp_path) -> None:
    raw = make.rows("binary", 25_000, seed=9)

    class World:
        holdout = make.write(tmp_path / "holdout", raw)

    _, found = judged(tmp_path, World, model=numeric, stability={"noise": 0.01, "missing": 0})
    (one,) = found.stability
    assert one.rows == 20_000
    assert one.before == pytest.approx(found.candidate.metrics["roc_auc"].value, abs=0.01)
    assert abs(one.drop.value) < 0.005


def test_what_was_not_measured_does_not_pass(worlds, tmp_path) -> None:
    asked = {"calibration": {"ece_at_most": 0.5}, "stability": {"missing": 0}}
    policy = Policy.parse({"slices": None, **asked}, where="gate")
    rules, found = judged(tmp_path, worlds("binary"), **asked)
    assert {rules["calibration ece"].verdict, rules["stability noise"].verdict} == {"pass"}
    other = found.stability[0].model_copy(update={"amount": 0.0001})
    for change, name in (
        ({"calibration": None}, "calibration ece"),
        ({"stability": ()}, "stability noise"),
        ({"stability": (other,)}, "stability noise"),
    ):
        decided = decide(found.model_copy(update=change), policy=policy).rules
        assert next(one for one in decided if one.rule == name).verdict == "fail"


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"calibration": {}}, "brier_at_most, ece_at_most or both"),
        ({"stability": {"noise": 0, "missing": 0}}, "noise or missing be above 0"),
    ],
)
def test_a_rule_that_asks_nothing_is_refused(policy, message) -> None:
    with pytest.raises(InputError, match=message):
        Policy.parse(policy, where="gate")
