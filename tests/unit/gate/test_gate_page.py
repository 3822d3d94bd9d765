"""The decision's page: a reviewer with it and the policy alone can say why."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
import yaml

from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.gate.report import decision_page
from penstock.records.decision import Decision
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Comparison, Scores

EVERYTHING = {
    "baseline": {"margin": 0.1, "because": "A guess <costs> nothing."},
    "linear": {"margin": 0.02},
    "champion": {"margin": 0.01, "superiority": True},
    "floors": [
        {"metric": "roc_auc", "at_least": 0.9},
        {"metric": "log_loss", "at_most": 0.1, "on": "interval", "severity": "warn"},
    ],
    "slices": {"columns": ["region"], "at_least": 0.7, "margin": None},
    "fairness": [{"columns": ["sex", "race"], "difference_at_most": 0.1, "ratio_at_least": 0.8}],
    "calibration": {"ece_at_most": 0.05},
    "stability": {"drop_at_most": 0.03},
    "leakage": {"not_at_serving": ["repaid_on"]},
    "training_data": {"label_noise_at_most": 0.1},
    "cost": {"expression": "-abs(truth - predicted)", "at_least": 5.0, "unit": "EUR"},
    "operations": {"p99_at_most": 0.05},
    "approval": {"people": 2},
}


UNASKED = {"classes": None, "slices": None, "leakage": None, "training_data": None}
"""What the defaults ask that the evaluation here does not measure."""


def near(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01)


def measured(policy: Policy, *, baseline: float = 0.3, auc: float = 0.95) -> Evaluation:
    return Evaluation(
        task="binary",
        metric="roc_auc",
        higher_is_better={"roc_auc": True, "log_loss": False},
        dataset="rows:1",
        model="sha256:" + "c" * 64,
        rows=1234,
        confidence=0.95,
        resamples=100,
        seed=1,
        policy=policy.digest(),
        scores=(
            Scores(
                name="candidate",
                description="trees",
                model="sha256:" + "c" * 64,
                metrics={"roc_auc": near(auc), "log_loss": near(0.3)},
            ),
            Scores(name="majority", description="", model="sha256:m", metrics={}),
        ),
        comparisons=(
            Comparison(against="majority", metric="roc_auc", advantage=near(baseline)),
            Comparison(against="linear", metric="roc_auc", advantage=near(0.1)),
        ),
        notes=("Only a few rows.",),
    )


def shown(policy: Policy, **figures: float) -> tuple[Decision, str]:
    evaluation = measured(policy, **figures)
    decision = decide(evaluation, policy=policy)
    return decision, decision_page(decision, evaluation=evaluation, policy=policy, name="loans")


def text(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_verdict_and_what_decided_come_first() -> None:
    policy = Policy.parse(EVERYTHING, where="test")
    decision, page = shown(policy, baseline=0.05)
    body = text(page.split("<body>")[1])
    assert body.startswith("Decision Gate: loans Refused ")
    assert decision.grounds() in body
    failed = sum(rule.verdict == "fail" for rule in decision.rules)
    assert f" not apply, {failed} failed: baseline (block), " in body[:200]
    order = [body.index(title) for title in ("Refused by", "Warnings", "Passed")]
    assert order == sorted(order)


def test_each_rule_says_what_it_asks_what_was_found_and_why() -> None:
    policy = Policy.parse(EVERYTHING, where="test")
    decision, page = shown(policy, baseline=0.05)
    body = text(page)
    assert "A guess <costs> nothing." in body
    assert "<costs>" not in page
    for rule in decision.rules:
        assert policy.describe()[rule.rule] in body
        assert rule.sentence in body
    assert "Only a few rows." in body
    assert "Chance that a row of the positive class scores above" in body


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"floors": [{"metric": "f1", "at_least": 0.5}]}, "f1 on the holdout must be at least 0.5"),
        (
            {"floors": [{"metric": "mae", "at_most": 3, "on": "interval"}]},
            "worse end of the confidence interval of mae",
        ),
        ({"champion": {"margin": 0.03}}, "no more than 0.03"),
        ({"baseline": {"margin": 0.07}}, "must exceed 0.07"),
    ],
)
def test_what_is_asked_follows_the_policy(changes: dict[str, Any], words: str) -> None:
    policy = Policy.parse(changes, where="test")
    _, page = shown(policy)
    assert words in text(page)


def test_an_approval_says_what_passed_and_what_was_warned_of() -> None:
    policy = Policy.parse(
        UNASKED | {"floors": [{"metric": "log_loss", "at_most": 0.1, "severity": "warn"}]},
        where="test",
    )
    decision, page = shown(policy)
    assert decision.approved
    body = text(page.split("<body>")[1])
    assert body.startswith("Decision Gate: loans Warning: floor log_loss. log_loss must be ")
    counts = "2 rules passed, 1 does not apply, 1 failed: floor log_loss (warn)."
    assert f" Approved {counts} " in body
    assert decision.reason() == f"Approved: {counts}"


def test_the_policy_on_the_page_is_the_policy() -> None:
    for given in (EVERYTHING, UNASKED, {}, {"floors": [{"metric": "f1", "at_least": 0.1}]}):
        policy = Policy.parse(given, where="test")
        decision, page = shown(policy)
        block = html.unescape(re.search(r"<pre[^>]*><code>(.*?)</code>", page, re.S).group(1))
        again = Policy.parse(yaml.safe_load(block), where="page")
        assert again == policy
        assert again.digest() == decision.policy


def test_a_policy_can_be_a_file_of_its_own(tmp_path: Any) -> None:
    policy = Policy.parse(EVERYTHING, where="test")
    (tmp_path / "policy.yaml").write_text(policy.text())
    assert Policy.load(tmp_path / "policy.yaml").digest() == policy.digest()


def test_machines_get_counts_and_values() -> None:
    policy = Policy.parse(UNASKED | {"floors": [{"metric": "f1", "at_least": 0.1}]}, where="test")
    decision, _ = shown(policy)
    figures = decision.figures()
    assert figures["rules_passed"] == 2
    assert figures["rules_failed"] == 1
    assert figures["rules_blocking"] == 1
    assert figures["rules_warning"] == 0
    assert figures["rules_not_applicable"] == 1
    assert figures["baseline"] == pytest.approx(0.29)
    assert "floor f1" not in figures


def test_a_policy_in_which_nothing_passed_says_so() -> None:
    warn = {"margin": 0.0, "severity": "warn"}
    policy = Policy.parse(
        UNASKED
        | {"baseline": warn, "linear": warn, "champion": warn, "without_quality": "accepted"},
        where="test",
    )
    decision, page = shown(policy)
    assert not decision.approved
    assert "only if at least one rule of severity block passes" in text(page)
