"""The gate: every rule is seen to pass and to block, and nothing passes for lack of a figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import InputError, IntegrityError, NotApprovedError
from penstock.gate.decision import decide, run
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.gate.rules.classes.spec import Classes, ClassFigures
from penstock.gate.rules.leakage.spec import Leakage
from penstock.gate.rules.training_data.spec import TrainingData
from penstock.records.decision import Decision
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Comparison, Scores
from penstock.records.health import ColumnFigure, TrainingHealth


def estimate(value: float, spread: float = 0.01) -> Estimate:
    return Estimate(value=value, low=value - spread, high=value + spread)


def evaluation(
    *,
    baseline: float | None = 0.3,
    linear: float = 0.05,
    champion: float | None = None,
    spread: float = 0.01,
    policy: Policy = Policy(),
    rows_of: str = "rows:1",
    state: str = "",
    note: str = "",
) -> Evaluation:
    comparisons = [Comparison(against="linear", metric="roc_auc", advantage=estimate(linear))]
    scores = [
        Scores(
            name="candidate",
            description="trees",
            model="sha256:c",
            dataset="rows:1",
            metrics={"roc_auc": estimate(0.9), "log_loss": estimate(0.3)},
        )
    ]
    if baseline is not None:
        scores.append(Scores(name="majority", description="", model="sha256:m", metrics={}))
        comparisons.append(
            Comparison(against="majority", metric="roc_auc", advantage=estimate(baseline, spread))
        )
    if champion is not None:
        scores.append(
            Scores(name="champion", description="", model="sha256:p", dataset=rows_of, metrics={})
        )
        comparisons.append(
            Comparison(against="champion", metric="roc_auc", advantage=estimate(champion, spread))
        )
    return Evaluation(
        task="binary",
        metric="roc_auc",
        higher_is_better={"roc_auc": True, "log_loss": False},
        dataset="rows:1",
        model="sha256:c",
        rows=1000,
        confidence=0.95,
        resamples=1000,
        seed=1,
        champion="models:/m/1" if champion is not None else "",
        champion_state=state or ("none" if champion is None else "compared"),
        champion_note=note,
        policy=policy.digest(),
        scores=tuple(scores),
        comparisons=tuple(comparisons),
        classes=classes(champion=champion is not None),
        leakage=Leakage(
            single_columns=(ColumnFigure(column="age", value=0.7),),
            overlap="",
            proof="by the split",
            rows_in_both=0,
        ),
        training_data=TrainingData(
            health=TrainingHealth(rows=900, label_noise=0.01, flipped_labels=0.0, parts=40),
            drift=() if champion is None else (ColumnFigure(column="age", value=0.01),),
        ),
    )


def classes(*, champion: bool) -> Classes:
    found = [
        ClassFigures(
            name=name, rows=rows, called=rows, recall=estimate(0.8), precision=estimate(0.8)
        )
        for name, rows in (("no", 800), ("yes", 200))
    ]
    return Classes(
        positive="yes",
        threshold=0.4,
        classes=tuple(found),
        balanced_accuracy=estimate(0.8),
        advantage=estimate(0.0) if champion else None,
    )


def verdicts(decision: Decision) -> dict[str, str]:
    return {rule.rule: rule.verdict for rule in decision.rules}


def test_a_clear_improvement_is_approved_and_tied_to_what_was_judged() -> None:
    measured = evaluation()
    decision = decide(measured, policy=Policy())
    assert decision.approved
    assert verdicts(decision) == {
        "baseline": "pass",
        "linear": "pass",
        "champion": "not applicable",
        "classes: guessing": "pass",
        "classes: recall": "pass",
        "classes: champion": "not applicable",
        "slices": "fail",  # not measured is not passed, but by default it only warns
        "leakage: one column": "pass",
        "leakage: overlap": "pass",
        "training data: label noise": "pass",
        "training data: flipped labels": "pass",
        "training data: drift": "not applicable",
    }
    assert decision.model == measured.model
    assert decision.evaluation == measured.digest()


@pytest.mark.parametrize(
    ("figures", "policy", "blocker"),
    [
        ({"baseline": 0.005}, {}, "baseline"),  # its interval reaches below 0
        ({"baseline": None}, {}, "baseline"),  # not measured is not passed
        ({"champion": -0.02}, {}, "champion"),
        ({"champion": -0.001, "spread": 0.02}, {}, "champion"),  # inconclusive is no pass
        ({"linear": -0.03}, {"linear": {"margin": 0.02, "severity": "block"}}, "linear"),
        ({}, {"floors": [{"metric": "roc_auc", "at_least": 0.95}]}, "floor roc_auc"),
        (
            {},
            {"floors": [{"metric": "roc_auc", "at_least": 0.895, "on": "interval"}]},
            "floor roc_auc",
        ),
        ({}, {"floors": [{"metric": "log_loss", "at_most": 0.2}]}, "floor log_loss"),
        ({}, {"floors": [{"metric": "mae", "at_most": 1.0}]}, "floor mae"),  # not measured
    ],
)
def test_each_rule_blocks(figures: dict, policy: dict, blocker: str) -> None:
    asked = Policy.parse(policy, where="gate")
    decision = decide(evaluation(**figures, policy=asked), policy=asked)
    assert not decision.approved
    assert verdicts(decision)[blocker] == "fail"
    assert decision.reason().startswith("Refused: ")
    with pytest.raises(NotApprovedError, match="refuses this model"):
        decision.require_approval_of("sha256:c")


@pytest.mark.parametrize(
    "policy",
    [
        {"floors": [{"metric": "roc_auc", "at_least": 0.9}]},
        {"floors": [{"metric": "log_loss", "at_most": 0.31, "on": "interval"}]},
        {"linear": {"margin": 0.02, "severity": "block"}},
        {"champion": {"margin": 0.05}},
    ],
)
def test_each_rule_passes(policy: dict) -> None:
    strict = Policy.parse({"champion": {"margin": 0.05}, **policy}, where="gate")
    assert decide(evaluation(champion=-0.01, policy=strict), policy=strict).approved


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("unloadable", "not possible to load"),
        ("different", "not possible to compare"),
        ("gone", "no version is it now"),
    ],
)
def test_a_champion_that_was_not_compared_blocks_and_says_why(state: str, said: str) -> None:
    decision = decide(evaluation(state=state, note="Its disk died."), policy=Policy())
    assert not decision.approved
    assert said in decision.reason()
    assert "Its disk died." in decision.reason()


def test_a_champion_that_is_named_but_has_no_state_blocks() -> None:
    measured = evaluation(champion=0.1).model_copy(update={"champion_state": "none"})
    assert verdicts(decide(measured, policy=Policy()))["champion"] == "fail"


def test_models_that_were_measured_on_different_rows_are_not_compared() -> None:
    decision = decide(evaluation(champion=0.1, rows_of="rows:2"), policy=Policy())
    assert "measured on the same rows (rows:1)" in decision.reason()


@pytest.mark.parametrize(("advantage", "verdict"), [(0.02, "pass"), (0.005, "fail")])
def test_superiority_needs_an_interval_above_zero(advantage: float, verdict: str) -> None:
    policy = Policy.parse({"champion": {"superiority": True}}, where="gate")
    decision = decide(evaluation(champion=advantage, policy=policy), policy=policy)
    assert verdicts(decision)["champion"] == "pass"
    assert verdicts(decision)["champion superiority"] == verdict
    assert decision.approved == (verdict == "pass")


def test_what_was_left_out_of_the_evaluation_is_said_with_its_reason() -> None:
    why = "roc_auc is left out: only 7 rows are of class yes."
    measured = evaluation(baseline=None).model_copy(update={"notes": ("A note.", why)})
    rules = {rule.rule: rule for rule in decide(measured, policy=Policy()).rules}
    assert rules["baseline"].verdict == "fail"
    assert rules["baseline"].sentence.endswith(f"so the rule cannot pass. {why}")


def test_a_warning_does_not_block() -> None:
    decision = decide(evaluation(linear=-0.5), policy=Policy())
    assert decision.approved
    assert verdicts(decision)["linear"] == "fail"


def test_a_policy_in_which_nothing_blocks_approves_nothing() -> None:
    warn = {"margin": 0.0, "severity": "warn"}
    policy = Policy.parse(
        {
            "baseline": warn,
            "linear": warn,
            "champion": warn,
            "classes": {"severity": "warn"},
            "leakage": {"severity": "warn"},
            "without_quality": "accepted",
        },
        where="gate",
    )
    assert not decide(evaluation(policy=policy), policy=policy).approved


def test_figures_that_were_measured_for_another_policy_are_refused() -> None:
    softer = Policy.parse({"champion": {"margin": 0.5}}, where="gate")
    with pytest.raises(IntegrityError, match="made for policy"):
        decide(evaluation(), policy=softer)


def test_an_edited_approval_opens_nothing(tmp_path: Path) -> None:
    refused = decide(evaluation(baseline=0.0), policy=Policy())
    refused.write(tmp_path / "decision.json")
    edited = json.loads((tmp_path / "decision.json").read_text())
    edited["approved"] = True
    (tmp_path / "decision.json").write_text(json.dumps(edited))
    forged = Decision.read(tmp_path / "decision.json")
    with pytest.raises(NotApprovedError, match="its own rules do not"):
        forged.require_approval_of("sha256:c")


def test_an_approval_is_for_one_model() -> None:
    decision = decide(evaluation(), policy=Policy())
    decision.require_approval_of("sha256:c")
    with pytest.raises(NotApprovedError, match="not this one"):
        decision.require_approval_of("sha256:other")


def test_the_page_says_why(tmp_path: Path) -> None:
    evaluation(baseline=0.0).write(tmp_path / "evaluation.json")
    run(
        tmp_path / "evaluation.json",
        policy=Policy(),
        name="m",
        output=tmp_path / "decision.json",
        report=tmp_path / "decision.html",
    )
    page = (tmp_path / "decision.html").read_text()
    assert "Refused" in page
    assert "does not lie above" in page
    assert not Decision.read(tmp_path / "decision.json").approved


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"florrs": []}, "florrs.*Known fields here: .*floors"),
        ({"baseline": {"margin": "high"}}, "baseline.margin.*'high'"),
        ({"floors": [{"metric": "f1"}]}, "exactly one of at_least and at_most"),
        ({"baseline": {"margin": float("inf")}}, "baseline.margin.*finite"),
        ({"floors": [{"metric": "f2", "at_least": 0.5}]}, "floors.0: metric: there is no 'f2'"),
        ({"floors": [{"metric": "roc_auc", "at_most": 0.9}]}, "floors.0: at_most: .*Give at_least"),
        ({"floors": [{"metric": "rmse", "at_least": 3}]}, "floors.0: at_least: .*Give at_most"),
        ({"floors": [{"metric": "accuracy", "at_least": 80}]}, "never be met. Did you mean 0.8"),
        ({"floors": [{"metric": "accuracy", "at_least": 1.2}]}, "so 1.2 can never be met, got"),
        ({"floors": [{"metric": "r2", "at_least": 1.5}]}, "r2 is at most 1, so 1.5 can never"),
        ({"floors": [{"metric": "log_loss", "at_most": -1}]}, "at least 0, so -1 can never"),
        ({"floors": [{"metric": "recall", "at_least": 0}]}, "so 0 is always met"),
        ({"floors": [{"metric": "brier", "at_most": 1}]}, "so 1 is always met"),
        ({"slices": {"metric": "recall", "at_most": 0.5}}, "slices: at_most: .*Give at_least"),
        ({"slices": {"metric": "brier", "margin": 5}}, "slices: margin: .*Did you mean 0.05"),
        ({"fairness": [{"columns": ["a"], "difference_at_most": 10}]}, "difference_at_most: .*met"),
        ({"fairness": [{"columns": ["a"], "ratio_at_least": 0}]}, "ratio_at_least: .*always met"),
        ({"calibration": {"ece_at_most": 1}}, "calibration.ece_at_most"),
        ({"training_data": {"label_noise_at_most": 1}}, "training_data.label_noise_at_most"),
        ({"approval": {"people": 2, "approvers": ["a", "a"]}}, "approval: people: .*names 1"),
        ({"cost": {"matrix": {"false_positive": 150}}}, "cost: false_positive: .*below 0"),
        ({"cost": {"matrix": {}}}, "every decision about a row is worth the same"),
        (
            {"cost": {"matrix": {"true_positive": 10}, "at_least": 20_000}},
            "cost: at_least: .*worth 0 to 10,000, so 20,000 is never reached",
        ),
        (
            {"cost": {"matrix": {"true_positive": 10}, "at_least": -1}},
            "cost: at_least: .*so -1 is always reached",
        ),
    ],
)
def test_a_policy_that_cannot_do_what_it_says_is_refused_by_field(
    policy: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Policy.parse(policy, where="gate")


@pytest.mark.parametrize(
    ("policy", "task", "metric", "message"),
    [
        ({"floors": [{"metric": "r2", "at_least": 0.5}]}, "binary", "roc_auc", "floors.0.metric"),
        ({"floors": [{"metric": "recall", "at_least": 0.5}]}, "multiclass", "f1_macro", "recall"),
        ({"champion": {"margin": 2}}, "binary", "roc_auc", "champion.margin.*mean 0.02"),
        ({"linear": {"margin": 1}}, "binary", "roc_auc", "linear.margin"),
        ({"baseline": {"margin": 1.5}}, "multiclass", "f1_macro", "baseline.margin"),
        ({"stability": {"drop_at_most": 5}}, "binary", "roc_auc", "stability.drop_at_most"),
        ({"calibration": {"brier_at_most": 1.2}}, "binary", "roc_auc", "brier_at_most"),
    ],
)
def test_a_policy_that_does_not_fit_the_task_is_refused_by_field(
    policy: dict, task: Any, metric: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Policy.parse(policy, where="gate").check_fit(task=task, metric=metric)
    free = {"champion": {"margin": 50}, "floors": [{"metric": "rmse", "at_most": 90}]}
    Policy.parse(free, where="gate").check_fit(task="regression", metric="rmse")


def test_a_record_of_another_kind_is_refused(tmp_path: Path) -> None:
    evaluation().write(tmp_path / "evaluation.json")
    with pytest.raises(IntegrityError, match="expected record penstock/decision"):
        Decision.read(tmp_path / "evaluation.json")
