"""Records of the release before the rules were modules: they read, verify and are judged alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.errors import FormerNameWarning, InputError
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.records.decision import Decision
from penstock.records.operations import Operations

GOLDEN = Path(__file__).parent / "golden"
EVALUATION = "sha256:21c27ee8c95a091fb32586262355698d49a582b0401f11441d3e6a8a09cbbc1e"


def test_a_policy_keeps_its_digest_its_fields_and_their_order() -> None:
    golden = json.loads((GOLDEN / "policy.json").read_text())
    policy = Policy.parse(golden["given"], where="gate")
    assert policy.digest() == golden["digest"]
    assert Policy().digest() == golden["default_digest"]
    assert json.dumps(policy.recorded()) == json.dumps(golden["read"])


def test_a_policy_with_the_former_name_of_a_setting_is_the_same_policy() -> None:
    present = {"training_data": {"flipped_labels_at_most": 0.01}}
    with pytest.warns(FormerNameWarning, match="poisoned_at_most is called flipped_labels_at_most"):
        policy = Policy.parse({"training_data": {"poisoned_at_most": 0.01}}, where="gate")
    assert policy == Policy.parse(present, where="gate")
    assert "flipped_labels_at_most: 0.01" in policy.text()
    with pytest.warns(FormerNameWarning):
        assert Policy.parse(policy.recorded(), where="policy.json").digest() == policy.digest()
    with pytest.raises(InputError, match=r"training_data: poisoned_at_most is the former name"):
        Policy.parse(
            {"training_data": present["training_data"] | {"poisoned_at_most": 0.3}}, where="gate"
        )


def test_an_evaluation_is_written_byte_for_byte_as_it_was_read() -> None:
    evaluation = Evaluation.read(GOLDEN / "evaluation.json")
    assert evaluation.dumps() == (GOLDEN / "evaluation.json").read_text()
    assert evaluation.digest() == EVALUATION


def test_it_is_judged_as_it_was() -> None:
    golden = Decision.read(GOLDEN / "decision.json")
    policy = Policy.parse(json.loads((GOLDEN / "policy.json").read_text())["given"], where="gate")
    evaluation = Evaluation.read(GOLDEN / "evaluation.json")
    operations = Operations.read(GOLDEN / "operations.json")
    decision = decide(evaluation, policy=policy, operations=operations)
    assert [rule.rule for rule in decision.rules] == [rule.rule for rule in golden.rules]
    # Of the release that decided nothing else may differ.
    assert decision.model_copy(update={"code": golden.code}) == golden
