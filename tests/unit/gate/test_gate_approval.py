"""What people's words come to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from penstock.gate.approval import ApprovalSpec, judge
from penstock.records.approval import Approval, Identity

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = 24 * 60

SAME = {
    "case": "Ann@Example.com",
    "zero width space": "an\u200bn@example.com",
    "zero width joiner": "ann\u200d@example.com",
    "soft hyphen": "ann@exam\xadple.com",
    "direction": "\u202eann@example.com",
    "variation selector": "ann\ufe0f@example.com",
    "filler": "ann\u3164@example.com",
    "no-break space": "ann@example.com\xa0",
    "Cyrillic a": "\u0430nn@example.com",
    "Cyrillic e": "ann@\u0435xample.com",
    "capital Cyrillic em": "ANN@EXA\u041cPLE.COM",
    "full width": "\uff41nn@example.com",
    "mathematical": "\U0001d41ann@example.com",
    "a one for an l": "ann@examp1e.com",
    "rn for m": "ann@exarnple.com",
    "without domain": "ann",
    "with the cluster's prefix": "oidc:ann@example.com",
    "with a Windows domain": "CORP\\ann@example.com",
}
"""Names under which one person could speak twice, each for `ann@example.com`."""


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
        ([], {"people": 0}, True, "The policy requires no approval."),
        ([], {}, False, "Not approved: 0 of 1 person approved."),
        ([word("ann")], {}, True, "Approved by ann."),
        ([word("ann")], {"people": 2}, False, "1 of 2 different people approved"),
        ([word("ann"), word(" ANN ")], {"people": 2}, False, "1 of 2 different people"),
        ([word("ann"), word("bob")], {"people": 2}, True, "Approved by ann, bob."),
        ([word("Trainer")], {}, False, "trainer trained it and cannot be the only one"),
        ([word("trainer"), word("ann")], {"people": 2}, True, "Approved by ann, trainer."),
        ([word("ann", days=0.001)], {}, False, "the approval of ann expired on 2026-11-21 11:51"),
        ([word("ann", minutes=5)], {}, True, "Approved by ann."),
        ([word("ann", minutes=23 * 60)], {}, True, "Approved by ann."),
        ([word("ann", minutes=25 * 60)], {}, False, "the approval of ann has a time in the future"),
        ([word("ann", minutes=-3 * DAY, days=36_500)], {}, True, "Approved by ann."),
        (
            [word("ann", minutes=-8 * DAY, days=36_500)],
            {},
            False,
            "the approval of ann expired on 2026-11-20 12:00 UTC",
        ),
        ([word("ann", minutes=-2 * DAY)], {"valid_days": 1}, False, "approval of ann expired"),
        ([word("ann", minutes=-2 * DAY)], {"valid_days": 1e9}, True, "Approved by ann."),
        (
            [word("bob", verdict="rejected", minutes=9 * DAY), word("ann")],
            {},
            False,
            "Rejected by bob",
        ),
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
            [word("bob", verdict="rejected"), word("bob", minutes=-300)],
            {},
            True,
            "Approved by bob.",
        ),
        (
            [word("bob"), word("bob", minutes=-300, verdict="rejected")],
            {},
            False,
            "Rejected by bob",
        ),
        (
            [word("bob", verdict="rejected"), word("bob", minutes=-9 * DAY, days=36_500)],
            {},
            False,
            "Not approved: 0 of 1 person approved. Not counted: the approval of bob expired",
        ),
        (
            [word("bob", verdict="rejected"), word("bob", means="stated"), word("ann")],
            {},
            False,
            "Rejected by bob",
        ),
        ([word("b\u043eb", verdict="rejected"), word("bob")], {}, False, "Rejected by b\u043eb"),
        (
            [word("bob", verdict="rejected", means="stated"), word("ann")],
            {},
            False,
            "Rejected by bob",
        ),
        (
            [word("bob", means="stated"), word("ann@x")],
            {"people": 2},
            False,
            "1 of 2 different people approved. Not counted: the identity of bob was stated",
        ),
        (
            [word("bob", means="stated"), word("ann@x")],
            {"people": 2, "trust_explicit": True},
            True,
            "Approved by ann@x, bob.",
        ),
        ([word("uid 1000"), word("ann")], {"people": 2}, False, "uid 1000 names nobody"),
        ([word("b\u043eb")], {"approvers": ("bob",)}, False, "is not one of the approvers"),
        ([word("jose\u0301")], {"approvers": ("JOS\xc9",)}, True, "Approved by jose"),
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


def judged_of(*words: Approval, trained_by: str = "trainer", **spec: Any) -> tuple[bool, str]:
    found = judge(
        words,
        spec=ApprovalSpec(**spec),
        model="sha256:m",
        decision="sha256:d",
        trained_by=trained_by,
        now=NOW,
    )
    return found.approved, found.sentence


@pytest.mark.parametrize("name", SAME.values(), ids=SAME)
def test_one_person_is_one_whatever_the_name_is_written_with(name: str) -> None:
    ann = "ann@example.com"
    approved, sentence = judged_of(word(ann), word(name), people=2)
    assert not approved
    assert "1 of 2 different people approved" in sentence
    approved, sentence = judged_of(word(name), people=1, trained_by=ann)
    assert not approved
    assert f"{ann} trained it and cannot be the only one" in sentence
    assert not judged_of(word(ann), people=1, trained_by=name)[0]
    assert judged_of(word(name), word("bob"), people=2)[0]


@pytest.mark.parametrize(
    "other", ["ann@example.org", "anna@example.com", "ana@example.com", "\u0410\u043d\u043d\u0430"]
)
def test_different_people_are_two(other: str) -> None:
    assert judged_of(word("ann@example.com"), word(other), people=2)[0]


def test_one_name_without_a_domain_does_not_make_one_of_two_others() -> None:
    words = (word("ann@x"), word("ann"), word("ann@y"))
    assert judged_of(*words, people=2)[0]
    assert not judged_of(*words, people=3)[0]


def test_a_platform_leaves_stated_names_out_unless_the_policy_says_so() -> None:
    def approved(platform: bool, **spec: Any) -> bool:
        return judge(
            [word("ann", means="stated")],
            spec=ApprovalSpec(people=1, **spec),
            model="sha256:m",
            decision="sha256:d",
            trained_by="trainer",
            now=NOW,
            platform=platform,
        ).approved

    assert approved(False)
    assert not approved(True)
    assert approved(True, trust_explicit=True)
    assert not approved(False, trust_explicit=False)


@pytest.mark.parametrize("trained_by", ["uid 1000", "unknown"])
def test_what_names_nobody_says_not_who_trained(trained_by: str) -> None:
    assert not judged_of(word("ann"), people=1, trained_by=trained_by)[0]
    assert judged_of(word("ann"), word("bob"), people=1, trained_by=trained_by)[0]


@pytest.mark.parametrize("approvers", [("ann", "ANN"), ("ann", "an\u200bn")])
def test_approvers_who_are_one_are_not_enough_for_two(approvers: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"approvers names 1|characters that nobody sees: U\+200B"):
        ApprovalSpec(people=2, approvers=approvers)
