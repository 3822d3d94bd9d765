"""What people's words on a version come to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from penstock.common import people
from penstock.policy.approval import ApprovalSpec
from penstock.records.approval import Approval

_ESTABLISHED = frozenset({"platform header", "kubernetes user"})

CLOCKS = timedelta(days=1)
"""By which the clock of who approved may be ahead of the one that judges: two of them disagree by
hours where a time zone is wrong."""


@dataclass(frozen=True)
class Judgement:
    """Whether people have approved.

    Attributes:
        approved: As many as the policy asks for have, and nobody objects.
        rejected: Somebody objects, and has not taken it back.
        sentence: Why, in words.
        by: Who approved, as far as it counts.
    """

    approved: bool
    rejected: bool
    sentence: str
    by: tuple[str, ...] = ()


def judge(
    approvals: Iterable[Approval],
    *,
    spec: ApprovalSpec,
    model: str,
    decision: str,
    trained_by: str,
    now: datetime,
    platform: bool = False,
) -> Judgement:
    """Say whether people have approved a model on a decision.

    Each person's latest word counts. A rejection stands until the same person approves, also where
    the policy asks nobody. An approval
    counts for the model and the decision that it names and for no other, until it expires: by what
    it says itself, and at the latest after the policy's `valid_days`.

    A rejection counts whatever its clock, and however it is known who says it. What is required is
    required of those who let a model in.

    Args:
        approvals: What was said of the version, in the order in which it was said: clocks are not
            asked for that.
        spec: What the policy asks for.
        model: Digest of the model's folder.
        decision: Digest of the decision.
        trained_by: Who trained it, as their identity is written; empty: not known. Then one person
            alone is not enough, as it might be that one.
        now: The moment to judge at.
        platform: Whether there is a platform that says who people are, where the policy leaves it
            to that whether stated names count.
    """
    said = tuple(approvals)
    words = [word for word in said if (word.model, word.decision) == (model, decision)]
    stated = spec.trust_explicit
    if stated is None:
        # Where one of them was established, a platform is there, wherever this is judged.
        stated = not platform and all(word.by.means not in _ESTABLISHED for word in words)
    latest: dict[str, Approval] = {}
    notes = []
    for word in words:
        doubt = _doubt(word, spec=spec, stated=stated, now=now)
        if doubt:
            notes.append(doubt)
        else:
            latest[people.key_of(word.by.name)] = word
    rejecting = [word for word in latest.values() if word.verdict == "rejected"]
    if rejecting:
        why = "; ".join(f"{word.by.name}: {word.reason}" for word in rejecting).rstrip(".")
        return Judgement(approved=False, rejected=True, sentence=f"Rejected by {why}.")
    if spec.people == 0:
        return Judgement(approved=True, rejected=False, sentence="The policy asks nobody.")
    expired = {key: end for key, word in latest.items() if (end := _end(word, spec)) <= now}
    notes += [
        f"the approval of {latest[key].by.name} expired on {end:%Y-%m-%d %H:%M} UTC"
        for key, end in expired.items()
    ]
    names = [word.by.name for key, word in latest.items() if key not in expired]
    by = people.told_apart(names)
    notes += _merged(names, by)
    missing = _missing(by, spec=spec, trained_by=trained_by)
    if len(said) > len(words):
        notes.append(f"{len(said) - len(words)} for another model or decision")
    if missing:
        aside = f" Not counted: {'; '.join(dict.fromkeys(notes))}." if notes else ""
        return Judgement(
            approved=False, rejected=False, sentence=f"Not approved: {missing}.{aside}", by=by
        )
    return Judgement(approved=True, rejected=False, sentence=f"Approved by {', '.join(by)}.", by=by)


def _doubt(word: Approval, *, spec: ApprovalSpec, stated: bool, now: datetime) -> str:
    """Return why a word is as if it had not been said; empty: it is not."""
    who = word.by.name
    if spec.approvers and people.key_of(who) not in map(people.key_of, spec.approvers):
        return f"{who} is not one of the approvers"
    if word.verdict == "rejected":
        return ""
    if not people.is_known(who):
        return f"{who} names nobody"
    if not stated and word.by.means not in _ESTABLISHED:
        return f"the identity of {who} was stated ({word.by.means}), not verified"
    if word.time - CLOCKS > now:
        return f"the approval of {who} has a time in the future ({word.time:%Y-%m-%d %H:%M} UTC)"
    return ""


def _end(word: Approval, spec: ApprovalSpec) -> datetime:
    try:
        return min(word.expires, word.time + timedelta(days=spec.valid_days)).astimezone(UTC)
    except OverflowError:
        return word.expires.astimezone(UTC)


def _merged(names: list[str], by: tuple[str, ...]) -> list[str]:
    """Return of each name that is not counted whose it may be."""
    return [
        f"{name} may be {next(other for other in by if people.may_be_one(name, other))}"
        for name in names
        if name not in by
    ]


def _missing(by: tuple[str, ...], *, spec: ApprovalSpec, trained_by: str) -> str:
    """Return what is missing from those who approved; empty: nothing."""
    if len(by) < spec.people:
        asked = "person" if spec.people == 1 else "different people"
        return f"{len(by)} of {spec.people} {asked} approved"
    if not people.is_known(trained_by):
        return (
            "it is not known who trained it, so one person alone is not enough"
            if len(by) < 2
            else ""
        )
    if all(people.may_be_one(name, trained_by) for name in by):
        return f"{trained_by} trained it and cannot be the only one who approves"
    return ""
