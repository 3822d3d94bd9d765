"""What people's words come to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from penstock.gate.approval import judge
from penstock.policy.approval import ApprovalSpec
from penstock.records.approval import Approval, Identity

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def word(name: str, *, minutes: float = -10, days: float = 7, **changes: Any) -> Approval:
    time = NOW + timedelta(minutes=minutes)
    fields = {
        "uri": "models:/adult/1",
        "model": "sha256:m",
        "decision": "sha256:d",
        "verdict": "approved",
        "by": Identity(name=name, means=changes.pop("means", "kubernetes user")),
        "reason": "Because.",
        "time": time,
        "expires": time + timedelta(days=days),
    }
    return Approval(**(fields | changes))


@pytest.mark.parametrize(
    ("words", "spec", "approved", "sentence"),
    [
        ([], {"people": 0}, True, "The policy asks nobody."),
        ([], {}, False, "Not approved: 0 of 1 person approved."),
        ([word("ann")], {}, True, "Approved by ann."),
        ([word("ann")], {"people": 2}, False, "1 of 2 different people approved"),
        ([word("ann"), word(" ANN ")], {"people": 2}, False, "1 of 2 different people"),
        ([word("ann"), word("bob")], {"people": 2}, True, "Approved by ann, bob."),
        ([word("Trainer")], {}, False, "trainer trained it and cannot be the only one"),
        ([word("trainer"), word("ann")], {"people": 2}, True, "Approved by ann, trainer."),
        ([word("ann", days=0.001)], {}, False, "the approval of ann expired on 2026-11-21 11:51"),
        ([word("ann", minutes=5)], {}, False, "the approval of ann has a time in the future"),
        ([word("ann")], {"approvers": ("bob",)}, False, "ann is not one of the approvers"),
        ([word("Bob")], {"approvers": ("bob",)}, True, "Approved by Bob."),
        ([word("ann", means="stated")], {}, True, "Approved by ann."),
        (
            [word("ann", means="stated")],
            {"trust_explicit": False},
            False,
            "the identity of ann was stated (stated), not verified",
        ),
        (
            [word("ann", means="operating system user")],
            {"trust_explicit": False},
            False,
            "the identity of ann was stated (operating system user)",
        ),
        (
            [word("ann", means="platform header")],
            {"trust_explicit": False},
            True,
            "Approved by ann.",
        ),
        ([word("ann", model="sha256:x")], {}, False, "1 for another model or decision"),
        ([word("ann", decision="sha256:x")], {}, False, "1 for another model or decision"),
        (
            [word("ann"), word("bob", verdict="rejected")],
            {},
            False,
            "Rejected by bob: Because.",
        ),
        (
            [word("bob", verdict="rejected", days=0.001), word("ann")],
            {},
            False,
            "Rejected by bob: Because.",
        ),
        (
            [word("bob"), word("bob", minutes=-20, verdict="rejected")],
            {},
            True,
            "Approved by bob.",
        ),
        ([word("bob", verdict="rejected", minutes=-5), word("bob")], {}, False, "Rejected by bob"),
        (
            [word("eve", verdict="rejected"), word("bob")],
            {"approvers": ("bob",)},
            True,
            "Approved by bob.",
        ),
    ],
)
def test_words_are_judged(
    words: list[Approval], spec: dict[str, Any], approved: bool, sentence: str
) -> None:
    found = judge(
        iter(words),
        spec=ApprovalSpec(**({"people": 1} | spec)),
        model="sha256:m",
        decision="sha256:d",
        trained_by="trainer",
        now=NOW,
    )
    assert found.approved == approved
    assert sentence in found.sentence
    assert found.rejected == found.sentence.startswith("Rejected")


def test_who_trained_may_be_anybody_where_it_is_not_known() -> None:
    def judged(*words: Approval) -> tuple[bool, str]:
        found = judge(
            words,
            spec=ApprovalSpec(people=1),
            model="sha256:m",
            decision="sha256:d",
            trained_by="",
            now=NOW,
        )
        return found.approved, found.sentence

    assert judged(word("ann"))[0] is False
    assert "not known who trained it" in judged(word("ann"))[1]
    assert judged(word("ann"), word("bob"))[0] is True
