"""Past decisions judged by another policy: what is known must be what deciding anew would say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from penstock.common import files
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.history import PastDecision, judge_again, replays
from penstock.gate.policy import Policy
from penstock.pipelines.cli import main
from penstock.pipelines.gate_history import _refused_here
from penstock.records.decision import Decision
from penstock.records.operations import Operations
from penstock.registry.evidence import Grounds
from penstock.registry.past_decisions import Unread
from penstock.registry.register import register

GOLDEN = Path(__file__).parent / "golden"

MEASURED: dict[str, Any] = {
    "floors": [{"metric": "roc_auc", "at_least": 0.6}],
    "slices": {"columns": ["region"], "at_least": 0.2, "metric": "accuracy", "find": 0},
    "fairness": [{"columns": ["sex"], "difference_at_most": 0.9}],
    "calibration": {"brier_at_most": 0.9},
    "stability": {"drop_at_most": 0.5, "noise": 0.02, "severity": "block"},
    "leakage": {"overlap": False},
    "training_data": {"drift_at_most": None},
}

STRICTER: list[dict[str, Any]] = [
    {"floors": [{"metric": "roc_auc", "at_least": 0.999}]},
    {"fairness": [{"columns": ["sex"], "difference_at_most": 0.0001}]},
    {"calibration": {"brier_at_most": 0.001, "on": "interval"}},
    {"stability": {"drop_at_most": 0.0, "noise": 0.02, "severity": "block"}},
    {"leakage": {"overlap": False, "single_column": 0.51, "single_column_severity": "block"}},
    {"classes": {"recall_at_least": 1.0, "recall_severity": "block"}},
    {"training_data": {"drift_at_most": None, "label_noise_at_most": 1e-6, "severity": "block"}},
    {"slices": MEASURED["slices"] | {"severity": "warn", "because": "Only shown."}},
    {"baseline": {"margin": 0.49}},
]

OTHERWISE: list[tuple[dict[str, Any], str]] = [
    ({"slices": MEASURED["slices"] | {"at_least": 0.99}}, "slices"),
    ({"slices": MEASURED["slices"] | {"alpha": 0.2}}, "slices"),
    ({"fairness": [{"columns": ["region"], "difference_at_most": 0.9}]}, "fairness"),
    ({"calibration": {"ece_at_most": 0.5, "bins": 4}}, "calibration ece"),
    ({"stability": MEASURED["stability"] | {"noise": 0.5}}, "stability noise"),
    ({"leakage": {"overlap": True}}, "leakage"),
    ({"leakage": {"overlap": False, "not_at_serving": ["income"]}}, "leakage"),
    ({"operations": {"p99_at_most": 1.0}}, "operations"),
    ({"training_data": {"drift_at_most": 0.2, "severity": "block"}}, "training data"),
    ({"cost": {"matrix": {"false_positive": -1.0}, "at_least": -10.0}}, "cost"),
]


def _policy(changes: Mapping[str, Any] = MappingProxyType({})) -> Policy:
    return Policy.parse(MEASURED | dict(changes), where="test")


def _evaluated(gate_world: Any, place: Path, policy: Policy) -> Evaluation:
    evaluate(
        gate_world.holdout,
        model=gate_world.good,
        baselines=gate_world.baselines,
        policy=policy,
        spec=EvaluationSpec(resamples=100),
        output=place / "evaluation.json",
        report=None,
    )
    return Evaluation.read(place / "evaluation.json")


@pytest.fixture(scope="module")
def past(gate_world: Any, tmp_path_factory: pytest.TempPathFactory) -> PastDecision:
    """An approved decision, on the policy `MEASURED`."""
    policy = _policy()
    evaluation = _evaluated(gate_world, tmp_path_factory.mktemp("past"), policy)
    decision = decide(evaluation, policy=policy)
    assert decision.approved, decision.reason()
    return PastDecision("models:/loans/1", decision, evaluation, policy)


def test_an_unchanged_policy_decides_as_it_did_and_nothing_is_unknown(past: PastDecision) -> None:
    assert past.policy is not None
    found = judge_again(past, policy=past.policy)
    assert (found.after, found.changes, found.unknown) == (True, (), ())
    assert replays(past)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, id=next(iter(change)), marks=() if at % 3 == 0 else pytest.mark.long)
        for at, change in enumerate(STRICTER)
    ],
)
def test_a_rule_with_another_bound_is_judged_as_if_it_were_measured_anew(
    past: PastDecision, gate_world: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    policy = _policy(change)
    anew = decide(_evaluated(gate_world, tmp_path, policy), policy=policy)
    found = judge_again(past, policy=policy)
    assert found.after == anew.approved
    assert not found.unknown
    before = {one.rule: (one.verdict, one.severity) for one in past.decision.rules}
    changed = {r.rule for r in anew.rules if before.get(r.rule) != (r.verdict, r.severity)}
    assert changed
    assert len(found.changes) == len(changed)
    assert all(any(words.startswith(f"{name}: ") for words in found.changes) for name in changed)


@pytest.mark.parametrize(("change", "rule"), OTHERWISE, ids=lambda value: str(value)[:40])
def test_a_rule_that_was_measured_otherwise_is_not_known(
    past: PastDecision, change: dict[str, Any], rule: str
) -> None:
    found = judge_again(past, policy=_policy(change))
    assert found.after is None
    assert not found.flips
    assert any(words.startswith(rule) for words in found.unknown), found.unknown


def test_a_rule_that_fails_for_certain_refuses_whatever_else_is_unknown(past: PastDecision) -> None:
    floor = {"floors": [{"metric": "roc_auc", "at_least": 0.999}]}
    found = judge_again(past, policy=_policy(floor | OTHERWISE[0][0]))
    assert found.flips
    assert found.unknown


def test_a_warning_that_is_unknown_changes_no_decision(past: PastDecision) -> None:
    found = judge_again(
        past, policy=_policy({"cost": {"matrix": {"false_positive": -1.0}, "severity": "warn"}})
    )
    assert found.after is True
    assert found.unknown


def test_without_its_policy_only_what_every_evaluation_measures_is_known(
    past: PastDecision,
) -> None:
    forgotten = replace(past, policy=None)
    assert replays(forgotten) is None
    found = judge_again(forgotten, policy=_policy())
    assert found.after is None
    assert {words.partition(":")[0].split()[0] for words in found.unknown} == {
        "slices",
        "fairness",
        "calibration",
        "stability",
        "leakage",
        "training",
    }


def test_a_record_of_an_earlier_release_is_replayed_to_the_bit() -> None:
    raw = json.loads((GOLDEN / "policy.json").read_text())["given"]
    past = PastDecision(
        "models:/old/1",
        Decision.read(GOLDEN / "decision.json"),
        Evaluation.read(GOLDEN / "evaluation.json"),
        Policy.parse(raw, where="gate"),
        Operations.read(GOLDEN / "operations.json"),
    )
    assert replays(past)
    altered = past.decision.model_copy(update={"rules": past.decision.rules[1:]})
    assert replays(replace(past, decision=altered)) is False


def test_a_policy_that_lacks_a_later_setting_is_replayed(past: PastDecision) -> None:
    assert past.policy is not None
    raw = {name: value for name, value in past.policy.recorded().items() if name != "approval"}
    digest = files.digest_of_text(files.canonical_json(raw))
    assert digest != past.policy.digest()
    evaluation = past.evaluation.model_copy(update={"policy": digest})
    decision = past.decision.model_copy(
        update={"policy": digest, "evaluation": evaluation.digest()}
    )
    read = Policy.decided_on(raw, where="policy.json")
    old = PastDecision("models:/loans/0", decision, evaluation, read)
    assert replays(old)
    stricter = read.model_copy(update={"floors": _policy(STRICTER[0]).floors})
    assert replays(replace(old, policy=stricter)) is False


def test_a_refusal_of_a_run_whose_evaluation_was_made_again_is_not_judged(
    past: PastDecision, tmp_path: Path
) -> None:
    refused = past.decision.model_copy(update={"approved": False})
    for name, evaluation in (("a", past.evaluation), ("b", past.evaluation), ("c", None)):
        made = tmp_path / "runs" / name / "kfp" / "release"
        refused.write(made / "decide" / "decision")
        if evaluation is not None:
            other = evaluation.model_copy(update={"commit": "later"}) if name == "b" else evaluation
            other.write(made / "evaluate" / "evaluation")
    unread: list[Unread] = []
    found = list(_refused_here(tmp_path, {}, unread))
    assert [one.name for one in found] == ["run a"]
    assert sorted(one.name for one in unread) == ["run b", "run c"]
    assert all("the evaluation that was decided on is" in one.reason for one in unread)


def test_the_command_judges_the_versions_of_a_registry(
    past: PastDecision,
    gate_world: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    warned = MEASURED["slices"] | {"severity": "warn"}
    other = _policy({"slices": warned})
    evaluation = past.evaluation.model_copy(update={"policy": other.digest()})
    for judged, grounds in (
        (past.evaluation, Grounds(policy=past.policy)),
        (evaluation, Grounds()),
    ):
        register(
            gate_world.good,
            decision=decide(judged, policy=grounds.policy or other),
            evaluation=judged,
            name="loans",
            tracking_uri=store,
            grounds=grounds,
        )
    given = ["gate", "--model", "models:/loans", "--tracking-uri", store, "--against-history"]
    (tmp_path / "policy.yaml").write_text("floors: [{metric: roc_auc, at_least: 0.999}]\n")
    capsys.readouterr()
    code = main(
        [*given, "--policy", str(tmp_path / "policy.yaml"), "--json", str(tmp_path / "what.json")]
    )
    out = capsys.readouterr().out
    assert code == 3, out
    assert "models:/loans/1: approved -> refused" in out
    assert "floor roc_auc: pass (block) -> fail (block). roc_auc must be at least 0.999." in out
    assert "models:/loans/2: cannot be judged again." in out
    assert "Of 2 past decisions 1 would be other, 1 cannot be known." in out
    written = json.loads((tmp_path / "what.json").read_text())
    assert [one["flips"] for one in written["decisions"]] == [True]
    assert written["decisions"][0]["replayed"] is True
    assert written["not_judged"][0]["name"] == "models:/loans/2"
    given[2] = "models:/laons"
    assert main([*given, "--policy", str(tmp_path / "policy.yaml")]) == 1
    assert "no decision on models:/laons is known" in capsys.readouterr().err
