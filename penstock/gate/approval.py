"""What people's words on a version come to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from penstock.policy.approval import ApprovalSpec
from penstock.records.approval import Approval

_ESTABLISHED = frozenset({"platform header", "kubernetes user"})


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
) -> Judgement:
    """Say whether people have approved a model on a decision.

    Each person's latest word counts. A rejection stands until the same person approves. An approval
    counts until it expires, for the model and the decision that it names and for no other.

    Args:
        approvals: What was said of the version.
        spec: What the policy asks for.
        model: Digest of the model's folder.
        decision: Digest of the decision.
        trained_by: Who trained it, as their identity is written; empty: not known. Then one person
            alone is not enough, as it might be that one.
        now: The moment to judge at.
    """
    if spec.people == 0:
        return Judgement(approved=True, rejected=False, sentence="The policy asks nobody.")
    said = tuple(approvals)
    words = [word for word in said if word.model == model and word.decision == decision]
    others = len(said) - len(words)
    latest: dict[str, Approval] = {}
    for word in sorted(words, key=lambda word: word.time):
        latest[_key(word.by.name)] = word
    uncounted = {name: _uncounted(word, spec=spec, now=now) for name, word in latest.items()}
    rejecting = [
        word for name, word in latest.items() if word.verdict == "rejected" and not uncounted[name]
    ]
    if rejecting:
        why = "; ".join(f"{word.by.name}: {word.reason}" for word in rejecting).rstrip(".")
        return Judgement(approved=False, rejected=True, sentence=f"Rejected by {why}.")
    counted = {
        name: word.by.name
        for name, word in latest.items()
        if word.verdict == "approved" and not uncounted[name]
    }
    missing = _missing(counted, spec=spec, trained_by=trained_by)
    notes = [note for note in uncounted.values() if note]
    if others:
        notes.append(f"{others} for another model or decision")
    by = tuple(sorted(counted.values()))
    if missing:
        aside = f" Not counted: {'; '.join(notes)}." if notes else ""
        return Judgement(
            approved=False, rejected=False, sentence=f"Not approved: {missing}.{aside}", by=by
        )
    return Judgement(approved=True, rejected=False, sentence=f"Approved by {', '.join(by)}.", by=by)


def _key(name: str) -> str:
    return name.strip().casefold()


def _uncounted(word: Approval, *, spec: ApprovalSpec, now: datetime) -> str:
    """Return why a word does not count; empty: it does."""
    who = word.by.name
    if spec.approvers and _key(who) not in {_key(name) for name in spec.approvers}:
        return f"{who} is not one of the approvers"
    if not spec.trust_explicit and word.by.means not in _ESTABLISHED:
        return f"the identity of {who} was stated ({word.by.means}), not verified"
    if word.time > now:
        return f"the approval of {who} has a time in the future ({word.time:%Y-%m-%d %H:%M} UTC)"
    if word.verdict == "approved" and word.expires <= now:
        return f"the approval of {who} expired on {word.expires:%Y-%m-%d %H:%M} UTC"
    return ""


def _missing(counted: dict[str, str], *, spec: ApprovalSpec, trained_by: str) -> str:
    """Return what is missing from those who approved; empty: nothing."""
    if len(counted) < spec.people:
        people = "person" if spec.people == 1 else "different people"
        return f"{len(counted)} of {spec.people} {people} approved"
    if trained_by and not counted.keys() - {_key(trained_by)}:
        return f"{trained_by} trained it and cannot be the only one who approves"
    if not trained_by and len(counted) < 2:
        return "it is not known who trained it, so one person alone is not enough"
    return ""
