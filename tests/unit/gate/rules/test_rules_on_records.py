"""The gate's rules on leakage, training data and cost, on records alone."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.gate.rule import Case
from penstock.gate.rules import business_value, training_data
from penstock.gate.rules import leakage as leakage_rule
from penstock.gate.rules.business_value import BusinessValue
from penstock.gate.rules.leakage.spec import Leakage
from penstock.gate.rules.training_data.spec import TrainingData
from penstock.records.decision import RuleResult
from penstock.records.estimate import Estimate
from penstock.records.health import ColumnFigure, Suspect, TrainingHealth
from penstock.reports.blocks import Text


def rules(policy: dict[str, Any], **measured: Any) -> dict[str, RuleResult]:
    asked = Policy.parse(policy, where="gate")
    case = Case(evaluation=an_evaluation(**measured), policy=asked)
    return {
        found.rule: found
        for rule in (leakage_rule.RULE, training_data.RULE, business_value.RULE)
        for settings in rule.settings(asked)
        for found in rule.judge(settings, case)
    }


def an_evaluation(**measured: Any) -> Evaluation:
    return Evaluation(
        **{
            "task": "binary",
            "metric": "roc_auc",
            "higher_is_better": {},
            "dataset": "d",
            "model": "m",
            "rows": 10,
            "confidence": 0.95,
            "resamples": 10,
            "seed": 1,
            "scores": (),
            "comparisons": (),
            **measured,
        }
    )


def leakage(**changes: Any) -> dict[str, Any]:
    figure = {
        "single_columns": (ColumnFigure(column="age", value=0.7),),
        "overlap": "",
        "proof": "by the split",
        "rows_in_both": 0,
    }
    return {"leakage": Leakage(**(figure | changes))}


def training(**changes: Any) -> dict[str, Any]:
    found = {"rows": 100, "label_noise": 0.05, "flipped_labels": 0.0, "parts": 12} | changes
    return {"training_data": TrainingData(health=TrainingHealth(**found))}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "No row of the holdout was trained on: by the split."),
        ({"rows_in_both": 3, "by_chance": 5}, "3 rows of the holdout equal training rows"),
        ({"rows_in_both": 9, "overlap": "9 rows"}, "Some rows of the holdout were trained on: 9"),
        ({"rows_in_both": None, "overlap": "no hashes"}, "It is not proved"),
        ({"rows_in_both": None, "overlap": "not asked"}, "The policy does not require a proof"),
    ],
)
def test_the_card_says_of_the_overlap_what_the_page_says(found: dict[str, Any], said: str) -> None:
    evaluation = an_evaluation(**leakage(**found))
    card = leakage_rule.RULE.card(evaluation, None)
    texts = [block.text for block in card.blocks if isinstance(block, Text)]
    assert texts[0].startswith(said)
    section = leakage_rule.RULE.section(evaluation)
    assert section is not None
    assert said in section.body


@pytest.mark.parametrize(
    ("measured", "rule", "verdict", "said"),
    [
        (leakage(), "leakage: one column", "pass", "age"),
        (leakage(), "leakage: overlap", "pass", "by the split"),
        (
            leakage(single_columns=(ColumnFigure(column="age", value=0.99),)),
            "leakage: one column",
            "fail",
            "known before the outcome",
        ),
        (leakage(single_columns=()), "leakage: one column", "fail", "does not measure"),
        (leakage(rows_in_both=None), "leakage: overlap", "fail", "not proved"),
        (leakage(overlap="the model is old"), "leakage: overlap", "fail", "the model is old"),
        (leakage(rows_in_both=2, overlap="2 rows"), "leakage: overlap", "fail", "2 rows"),
        (leakage(rows_in_both=2), "leakage: overlap", "fail", "trained on"),
        ({}, "leakage", "fail", "does not measure"),
        (training(), "training data: label noise", "pass", "5.0%"),
        (training(label_noise=0.3), "training data: label noise", "fail", "30.0%"),
        (training(label_noise=None), "training data: label noise", "fail", "cannot pass"),
        (training(), "training data: flipped labels", "pass", "none of 12 parts"),
        (
            training(
                flipped_labels=0.1, suspects=(Suspect(name="city = X", rows=10, flipped=1.0),)
            ),
            "training data: flipped labels",
            "fail",
            "city = X (100% of 10 rows)",
        ),
        (training(flipped_labels=None), "training data: flipped labels", "fail", "cannot pass"),
        ({"training_data": TrainingData()}, "training data: label noise", "fail", "Train it again"),
        (training(), "training data: drift", "not applicable", "no champion"),
        (
            training() | {"champion_state": "compared", "champion": "models:/m/1"},
            "training data: drift",
            "fail",
            "not known",
        ),
        (
            {
                "training_data": TrainingData(drift=()),
                "champion_state": "compared",
            },
            "training data: drift",
            "fail",
            "none of the columns",
        ),
        (
            {
                "training_data": TrainingData(drift=(ColumnFigure(column="age", value=0.25),)),
                "champion_state": "compared",
            },
            "training data: drift",
            "pass",
            "0.250",
        ),
        (
            {
                "training_data": TrainingData(
                    drift=tuple(ColumnFigure(column=c, value=0.3) for c in ("age", "spend"))
                ),
                "champion_state": "compared",
            },
            "training data: drift",
            "fail",
            "Above it too: spend",
        ),
        (training() | {"task": "regression"}, "training data: label noise", "pass", "5.0%"),
        (
            training(label_noise=None) | {"task": "regression"},
            "training data: label noise",
            "not applicable",
            "no classes",
        ),
    ],
)
def test_each_part_says_what_it_found(
    measured: dict[str, Any], rule: str, verdict: str, said: str
) -> None:
    found = rules({}, **measured)[rule]
    assert found.verdict == verdict
    assert said in found.sentence
    strict = rules({"training_data": {"severity": "block"}}, **measured)[rule]
    warns = rule == "leakage: one column"
    assert strict.severity == ("warn" if warns else "block")


def test_what_is_not_asked_is_not_judged() -> None:
    assert rules({"leakage": None, "training_data": None}) == {}
    parts = {"single_column": None, "overlap": False}
    assert set(rules({"leakage": parts, "training_data": None}, **leakage())) == set()


@pytest.mark.parametrize(
    ("at_least", "on", "verdict"),
    [(5, "interval", "pass"), (5.01, "interval", "fail"), (9, "estimate", "pass")],
)
def test_a_worth_is_judged_by_its_lower_end_unless_told_otherwise(
    at_least: float, on: str, verdict: str
) -> None:
    policy = {"cost": {"expression": "1", "unit": "EUR", "at_least": at_least, "on": on}}
    worth = BusinessValue(unit="EUR", per_thousand=Estimate(value=9, low=5, high=12))
    found = rules(policy, kpi=worth)["cost"]
    assert found.verdict == verdict
    assert (
        "The value per 1,000 decisions is 9.00 EUR (95% interval 5.00 to 12.00)" in found.sentence
    )
    assert rules(policy)["cost"].verdict == "fail"
