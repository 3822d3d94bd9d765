"""A policy that cannot refuse a bad model says so, in whatever way it comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock import project
from penstock.errors import InputError
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.gate.rules.leakage.spec import Leakage
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Comparison, Scores

SOFT: dict[str, Any] = {
    "baseline": {"margin": 0.0, "severity": "warn"},
    "linear": {"margin": 0.02, "severity": "warn"},
    "classes": None,
}
"""What blocks by default and is about how good a model is, made to warn."""

BLIND: dict[str, dict[str, Any]] = {
    "leakage alone": {"champion": {"severity": "warn"}},
    "champion and leakage": {},
    "a baseline to be missed": {"baseline": {"margin": -0.5}},
    "classes that warn": {"classes": {"severity": "warn"}},
    "classes without guessing": {"classes": {"better_than_guessing": False}},
    "a floor that guessing meets": {"floors": [{"metric": "roc_auc", "at_least": 0.5}]},
    "a floor below the mean's": {"floors": [{"metric": "r2", "at_least": -5}]},
    "a Brier score of a coin": {"floors": [{"metric": "brier", "at_most": 0.25}]},
    "always yes": {"floors": [{"metric": "recall", "at_least": 0.99}]},
    "a floor that warns": {"floors": [{"metric": "f1", "at_least": 0.5, "severity": "warn"}]},
    "slices beside the champion": {"slices": {"severity": "block"}},
    "slices that guessing passes": {
        "slices": {"severity": "block", "metric": "recall", "at_least": 0.5}
    },
    "groups alike": {"fairness": [{"columns": ["sex"], "difference_at_most": 0.1}]},
    "calibration of a coin": {"calibration": {"brier_at_most": 0.25, "ece_at_most": 0.1}},
    "stability": {"stability": {"severity": "block"}},
    "training data": {"training_data": {"severity": "block"}},
    "the server": {"operations": {"p99_at_most": 0.1}},
    "a worth that is reported": {"cost": {"matrix": {"true_positive": 1}}},
    "a worth of a constant": {"cost": {"expression": "1", "at_least": 0}},
    "nothing blocks": {"champion": {"severity": "info"}, "leakage": {"severity": "info"}},
}

SIGHTED: dict[str, dict[str, Any]] = {
    "baseline": {"baseline": {"margin": 0.0}},
    "linear": {"linear": {"margin": 0.02}},
    "classes: guessing": {"classes": {}},
    "floor roc_auc": {"floors": [{"metric": "roc_auc", "at_least": 0.51}]},
    "floor rmse": {"floors": [{"metric": "rmse", "at_most": 90}]},
    "slices": {"slices": {"severity": "block", "metric": "accuracy", "at_least": 0.7}},
    "calibration brier": {"calibration": {"brier_at_most": 0.1}},
    "cost": {"cost": {"expression": "-abs(truth - predicted)", "at_least": -9}},
}


@pytest.mark.parametrize("policy", BLIND.values(), ids=BLIND)
def test_a_policy_that_lets_any_model_in_is_refused(policy: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="without_quality: no rule refuses a model that is no"):
        Policy.parse(SOFT | policy, where="gate")
    wanted = SOFT | policy | {"without_quality": "accepted"}
    assert Policy.parse(wanted, where="gate").quality_rules() == ()


@pytest.mark.parametrize("name", SIGHTED)
def test_one_rule_that_guessing_does_not_pass_is_enough(name: str) -> None:
    assert Policy.parse(SOFT | SIGHTED[name], where="gate").quality_rules() == (name,)


def test_a_policy_that_was_decided_on_keeps_its_digest() -> None:
    strict = Policy.parse({}, where="gate")
    for raw in (SOFT, SOFT | {"without_quality": "accepted"}):
        found = Policy.decided_on(raw, where="gate")
        assert found.without_quality == raw.get("without_quality")
    assert Policy.decided_on(strict.model_dump(mode="json"), where="gate") == strict
    assert Policy.decided_on({}, where="gate").digest() == strict.digest()


def test_it_is_said_in_whatever_way_a_policy_comes_in(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(SOFT))
    with pytest.raises(InputError, match=r"without_quality: .* what blocks is champion, leakage"):
        Policy.load(path)
    raw = {"name": "m", "target": "y", "source": {"uri": "t.csv"}, "gate": SOFT}
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(InputError, match="gate: without_quality: no rule refuses"):
        project.load(path)
    path.write_text(yaml.safe_dump(raw | {"gate": {}}))
    with pytest.raises(InputError, match="without_quality: no rule refuses"):
        project.load(path, settings=["gate.baseline.severity=info", "gate.classes=null"])


@pytest.mark.parametrize(
    ("policy", "task", "metric"),
    [
        (SIGHTED["classes: guessing"], "regression", "rmse"),
        ({"floors": [{"metric": "accuracy", "at_least": 0.5}]}, "binary", "roc_auc"),
        ({"floors": [{"metric": "log_loss", "at_most": 0.7}]}, "binary", "roc_auc"),
        ({"calibration": {"brier_at_most": 1.5}}, "multiclass", "log_loss"),
    ],
)
def test_what_depends_on_the_task_is_said_once_it_is_known(
    policy: dict[str, Any], task: Any, metric: str
) -> None:
    free = {**SOFT, **policy, "without_quality": "accepted"}
    Policy.parse(free, where="gate").check_fit(task=task, metric=metric)
    with pytest.raises(InputError, match=r"no rule refuses a model .*no better than guessing"):
        Policy.parse(SOFT | policy, where="gate").check_fit(task=task, metric=metric)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"baseline": {"margin": -1.0}, "classes": {}}, "baseline.margin.*is always exceeded"),
        ({"champion": {"margin": 1.0}}, "champion.margin.*is never exceeded"),
    ],
)
def test_a_margin_as_wide_as_its_metric_is_refused_once_that_is_known(
    policy: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Policy.parse(policy, where="gate").check_fit(task="binary", metric="roc_auc")
    given = {"name": "m", "target": "y", "source": {"uri": "t.csv"}, "gate": policy}
    known = {"task": "binary", "training": {"metric": "roc_auc"}}
    with pytest.raises(InputError, match="gate"):
        project.Project.parse(given | known, where="project.yaml")
    project.Project.parse(given, where="project.yaml")


def test_a_log_loss_that_no_model_reaches_is_always_met() -> None:
    for bound in (36.05, 1e9):
        floors = [{"metric": "log_loss", "at_most": bound}]
        with pytest.raises(InputError, match=r"floors.0: at_most: .* is always met"):
            Policy.parse({"floors": floors}, where="gate")


def measured(policy: Policy, *, task: Any = "regression", champion: bool = False) -> Evaluation:
    """What evaluate finds of a model that answers as the mean does."""
    none = Estimate(value=0.0, low=-0.001, high=0.001)
    others = ["mean", "linear", *(["champion"] if champion else [])]
    return Evaluation(
        task=task,
        metric="rmse",
        higher_is_better={"rmse": False},
        dataset="rows:1",
        model="sha256:c",
        rows=1000,
        confidence=0.95,
        resamples=100,
        seed=0,
        champion="models:/m/1" if champion else "",
        champion_state="compared" if champion else "none",
        policy=policy.digest(),
        scores=tuple(
            Scores(
                name=name,
                description="",
                model="sha256:c",
                dataset="rows:1",
                metrics={"rmse": Estimate(value=9.0, low=8.0, high=10.0)},
            )
            for name in ("candidate", *others)
        ),
        comparisons=tuple(
            Comparison(against=name, metric="rmse", advantage=none) for name in others
        ),
        leakage=Leakage(overlap="", rows_in_both=0, proof="by the split"),
    )


def test_a_floor_that_the_mean_meets_lets_nothing_in() -> None:
    floor = {"floors": [{"metric": "rmse", "at_most": 1e9}]}
    policy = Policy.parse(SOFT | floor, where="gate")
    decision = decide(measured(policy), policy=policy)
    assert not decision.approved
    assert "that guessing does not pass" in decision.reason()
    tighter = Policy.parse(SOFT | {"floors": [{"metric": "rmse", "at_most": 9.5}]}, where="gate")
    good = measured(tighter)
    mean = good.scores[1].model_copy(
        update={"metrics": {"rmse": Estimate(value=20, low=19, high=21)}}
    )
    good = good.model_copy(update={"scores": (good.scores[0], mean, *good.scores[2:])})
    assert decide(good, policy=tighter).approved


def test_where_only_leakage_passes_nothing_is_let_in_unless_the_policy_wants_it() -> None:
    blind = Policy.parse(SOFT | {"without_quality": "accepted"}, where="gate")
    assert decide(measured(blind), policy=blind).approved
    strict = blind.model_copy(update={"without_quality": None})
    assert not decide(measured(strict), policy=strict).approved
    # Not worse than a champion, which was let in, is a word on how good it is.
    assert decide(measured(strict, champion=True), policy=strict).approved
