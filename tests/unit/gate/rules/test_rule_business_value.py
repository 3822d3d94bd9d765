"""The business value of decisions: what it is, that it sets the threshold, that it is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from health_world import Made, customers, dataset, make

from penstock.data.table import read_table
from penstock.errors import InputError
from penstock.gate.policy import Policy
from penstock.gate.rules.business_value import BusinessValue
from penstock.model import load

MATRIX = {
    "true_positive": "0.5 * spend - 2",
    "false_positive": -2,
    "false_negative": "-spend",
}
COST = {"cost": {"matrix": MATRIX, "unit": "EUR"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("cost") / "made", customers(), policy=COST)


def by_hand(made: Made, *, threshold: float | None = None) -> float:
    """The value of 1,000 decisions about the holdout, row by row."""
    table = read_table(made.holdout)
    model = load(made.model)
    scores = model.scores(model.frame(table))
    cut = model.record.threshold if threshold is None else threshold
    total = 0.0
    for score, row in zip(scores, table.to_pylist(), strict=True):
        called, left = score >= cut, row["left"] == "yes"
        if called:
            total += 0.5 * row["spend"] - 2 if left else -2
        elif left:
            total -= row["spend"]
    return 1000 * total / len(scores)


def kpi(made: Made, policy: dict[str, Any], **changes: Any) -> BusinessValue:
    found = made.evaluation(Policy.parse(policy, where="gate"), **changes).kpi
    assert found is not None
    return found


def test_it_is_the_mean_value_with_an_interval_beside_the_others(made: Made) -> None:
    found = kpi(made, COST, page=True)
    assert found.per_thousand.value == pytest.approx(by_hand(made))
    assert found.per_thousand.low < found.per_thousand.value < found.per_thousand.high
    assert set(found.others) == {"linear", "majority"}
    assert found.others["majority"].value < found.per_thousand.value
    page = made.page()
    assert ">Business value</h2>" in page
    assert "true positive: 0.5 * spend - 2" in page


def test_the_threshold_maximises_the_value_on_rows_that_training_held_out(
    made: Made, tmp_path: Path
) -> None:
    plain = make(tmp_path / "plain", customers())
    cut, usual = load(made.model).record.threshold, load(plain.model).record.threshold
    # A missed one costs more than an alarm, so fewer are to be missed.
    assert cut is not None
    assert usual is not None
    assert cut < usual - 0.1
    report = (made.folder / "training.html").read_text()
    assert "maximises value per 1,000 decisions in EUR" in report
    assert "the holdout was not looked at" in report
    assert "gate.cost" in report


def test_the_best_threshold_is_the_best_of_all() -> None:
    from penstock.training.threshold import best_threshold

    draw = np.random.default_rng(4)
    scores = draw.random(300).round(2)
    truth = (draw.random(300) < scores).astype(int)
    called = np.where(truth == 1, draw.random(300) * 9, -2.0)
    left_alone = np.where(truth == 1, -5.0, 0.5)
    found, reached = best_threshold(truth, scores, objective="cost", gains=(called, left_alone))
    every = [np.where(scores >= cut, called, left_alone).mean() for cut in np.arange(0, 1.02, 0.01)]
    assert reached == pytest.approx(1000 * max(every))
    assert 1000 * np.where(scores >= found, called, left_alone).mean() == pytest.approx(reached)


def test_a_given_objective_is_kept_and_cost_needs_a_rule(tmp_path: Path) -> None:
    made = make(tmp_path / "f1", customers(400), policy=COST, training={"threshold": "f1"})
    assert "maximises f1" in (made.folder / "training.html").read_text()
    with pytest.raises(InputError, match=r"does not say what decisions are worth"):
        make(tmp_path / "none", customers(400), training={"threshold": "cost"})
    assert not (tmp_path / "none" / "model").exists()


def test_rows_that_people_decide_cheaper_are_stated_with_an_interval(made: Made) -> None:
    numbers = {"true_positive": 1, "false_positive": -2, "false_negative": -10}
    policy = {"cost": {"matrix": numbers, "unit": "EUR", "review": 0.55}}
    found = kpi(made, policy, page=True)
    reviewed = found.reviewed
    assert reviewed is not None
    # A miss costs 11, a false alarm 2.
    assert (reviewed.band.low, reviewed.band.high) == pytest.approx((0.05, 0.725))
    table, model = read_table(made.holdout), load(made.model)
    scores = model.scores(model.frame(table))
    left = (scores > 0.05) & (scores < 0.725)
    assert left.any()
    assert reviewed.share.value == pytest.approx(left.mean())
    assert 0 < reviewed.share.low < left.mean() < reviewed.share.high < 1
    truth = np.array(table.column("left").to_pylist()) == "yes"
    called = scores >= model.record.threshold
    alone = np.select([truth & called, ~truth & called, truth], [1, -2, -10], 0)
    decided = np.where(left, np.where(truth, 1, 0) - 0.55, alone)
    assert found.per_thousand.value == pytest.approx(1000 * alone.mean())
    assert reviewed.per_thousand.value == pytest.approx(1000 * decided.mean())
    page = made.page()
    assert "Candidate, with people" in page
    assert f"{left.mean():.1%} of the holdout" in page
    assert kpi(made, {"cost": {"matrix": numbers}}).reviewed is None


@pytest.mark.parametrize(
    ("at_least", "on", "verdict"),
    [
        (-1e6, "interval", "pass"),
        (1e6, "interval", "fail"),
        ("just below the figure", "estimate", "pass"),
        ("just below the figure", "interval", "fail"),
        (None, "interval", "not applicable"),
    ],
)
def test_the_rule_passes_and_blocks(made: Made, at_least: Any, on: str, verdict: str) -> None:
    if isinstance(at_least, str):
        at_least = by_hand(made) - 1
    policy = {"cost": {**COST["cost"], "at_least": at_least, "on": on}}
    rule = made.rules(policy)["cost"]
    assert (rule.verdict, rule.severity) == (verdict, "block")
    assert rule.sentence.startswith("The value per 1,000 decisions is ")
    assert " EUR (95% interval " in rule.sentence


def test_the_champion_is_worth_something_too(made: Made) -> None:
    rule = made.rules(COST, champion=made.model, champion_uri="models:/m/1")["cost"]
    assert f"the champion's {by_hand(made):,.2f} EUR" in rule.sentence


def test_rows_without_a_value_are_left_out_and_said(made: Made, tmp_path: Path) -> None:
    frame = customers(400, seed=8)
    frame.loc[:99, "spend"] = np.nan
    holdout = dataset(tmp_path / "gaps", frame)
    found = kpi(made, COST, holdout=holdout, page=True)
    assert found.rows == 300
    assert "100 rows lack one of spend" in found.notes[0]
    assert found.notes[0] in made.page()
    whole = dataset(tmp_path / "whole", frame[100:])
    assert kpi(made, COST, holdout=whole).per_thousand == found.per_thousand


def test_an_expression_over_truth_and_predicted(tmp_path: Path) -> None:
    frame = customers(500)
    classes = frame.assign(left=np.array(["a", "b", "c"])[np.digitize(frame["age"], [40, 50])])
    many = make(tmp_path / "many", classes)
    policy = {"cost": {"expression": "(truth == predicted) - 3 * (predicted == 'c')"}}
    table = read_table(many.holdout)
    model = load(many.model)
    said = model.labels(model.frame(table))
    expected = 1000 * np.mean((said == table["left"].to_numpy()) - 3.0 * (said == "c"))
    assert kpi(many, policy).per_thousand.value == pytest.approx(expected)

    numbers = make(tmp_path / "numbers", frame.assign(left=frame["age"] * 2 + 1.5))
    table = read_table(numbers.holdout)
    model = load(numbers.model)
    errors = model.scores(model.frame(table)) - table["left"].to_numpy()
    found = kpi(numbers, {"cost": {"expression": "-abs(truth - predicted)"}})
    assert found.per_thousand.value == pytest.approx(-1000 * np.abs(errors).mean())
    with pytest.raises(InputError, match="outcomes of two classes"):
        kpi(numbers, COST)


def test_a_column_called_like_a_word_of_the_expression_is_no_secret(
    made: Made, tmp_path: Path
) -> None:
    rows = read_table(made.holdout).to_pandas()
    taken = dataset(tmp_path / "taken", rows.assign(predicted=1.0))
    with pytest.raises(InputError, match="'predicted' means the predicted label or value here"):
        kpi(made, {"cost": {"expression": "(truth == predicted) * 2"}}, holdout=taken)
    assert kpi(made, COST, holdout=taken).per_thousand.value == pytest.approx(by_hand(made))


def test_a_class_that_the_matrix_does_not_know_has_no_value(made: Made, tmp_path: Path) -> None:
    rows = read_table(made.holdout).to_pandas()
    more = pd.concat([rows, rows.head(40).assign(left="maybe")])
    found = kpi(made, COST, holdout=dataset(tmp_path / "more", more))
    assert found.per_thousand.value == pytest.approx(by_hand(made))
    assert "40 rows lack one of spend or are of a class" in found.notes[0]


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        ({"matrix": {"true_positive": "spent * 2"}}, r"no column 'spent'\. Did you mean 'spend'\?"),
        ({"matrix": {"true_positive": "1 / (age - age)"}}, r"value of row \d+ is not finite"),
        ({"expression": "when * 2"}, "holds times"),
        ({"expression": "region * 2"}, "uses a text as a number"),
    ],
)
def test_what_cannot_be_measured_is_said(made: Made, cost: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kpi(made, {"cost": cost})


@pytest.mark.parametrize(
    "cost",
    [
        {},
        {"matrix": {}, "expression": "1"},
        {"expression": "__import__('os')"},
        {"matrix": {"false_positive": "exec('1')"}},
    ],
)
def test_a_policy_that_cannot_be_computed_is_refused_when_it_is_read(cost: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"exactly one of|is not allowed"):
        Policy.parse({"cost": cost}, where="gate")
