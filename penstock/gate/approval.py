"""Whose approval a release needs besides the rules, and whether it is there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import Field, field_validator, model_validator

from penstock.common import people
from penstock.errors import InputError
from penstock.records.approval import Approval
from penstock.records.spec import Spec

_ESTABLISHED = frozenset({"platform header", "kubernetes user"})

CLOCKS = timedelta(days=1)
"""By which the clock of who approved may be ahead of the one that judges: two of them disagree by
hours where a time zone is wrong."""


class ApprovalSpec(Spec):
    """People whose approval a release needs. The one who trained is never the only one."""

    people: int = Field(
        default=0,
        ge=0,
        le=5,
        description="How many different people must approve; 0: the rules alone decide",
    )
    approvers: tuple[str, ...] = Field(
        default=(), description="Who may approve, as their identity is written; empty: anyone"
    )
    trust_explicit: bool | None = Field(
        default=None,
        description="Count approvals whose identity was only stated (`--as`, the operating "
        "system), not established by the platform or the cluster. null: not where there is one, "
        "that is in a pod, with KUBEFLOW_USERID or KUBECONFIG, or once one approval is established",
    )
    valid_days: float = Field(
        default=7.0,
        gt=0,
        description="After which an approval expires, whatever later date it gives itself",
    )
    wait_hours: float = Field(
        default=24.0, gt=0, description="How long a pipeline waits before it gives up"
    )

    @field_validator("approvers")
    @classmethod
    def _names(cls, approvers: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(people.check_name(name, where="approvers") for name in approvers)
        except InputError as error:
            raise ValueError(f"{error.what}. {error.remedy}".strip()) from error

    @model_validator(mode="after")
    def _enough(self) -> ApprovalSpec:
        named = len({people.key_of(name) for name in self.approvers})
        if self.approvers and named < self.people:
            raise ValueError(f"people: {self.people} must approve, and approvers names {named}")
        return self


@dataclass(frozen=True)
class Judgement:
    """Whether people have approved.

    Attributes:
        approved: As many as the policy requires have approved, and nobody rejects.
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
    """Return whether people have approved a model on a decision.

    Each person's latest approval or rejection counts. A rejection stands until the same person
    approves, also where the policy requires no approval. An approval counts for the model and the
    decision that it names and for no other, until it expires: at the time that it gives, and at the
    latest after the policy's `valid_days`.

    A rejection counts whatever its clock, and however the person's identity is known. Requirements
    are on those who let a model in.

    Args:
        approvals: Approvals and rejections of the version, in their order: clocks are not read
            for that.
        spec: What the policy requires.
        model: Digest of the model's folder.
        decision: Digest of the decision.
        trained_by: Who trained it, as their identity is written; empty: not known. Then one person
            alone is not enough, as it might be that one.
        now: The moment to judge at.
        platform: Whether there is a platform that says who people are, where the policy leaves it
            to that whether stated names count.
    """
    given = tuple(approvals)
    ours = [each for each in given if (each.model, each.decision) == (model, decision)]
    stated = spec.trust_explicit
    if stated is None:
        # Where one of them was established, a platform is there, wherever this is judged.
        stated = not platform and all(each.by.means not in _ESTABLISHED for each in ours)
    latest: dict[str, Approval] = {}
    notes = []
    for approval in ours:
        doubt = _doubt(approval, spec=spec, stated=stated, now=now)
        if doubt:
            notes.append(doubt)
        else:
            latest[people.key_of(approval.by.name)] = approval
    rejecting = [each for each in latest.values() if each.verdict == "rejected"]
    if rejecting:
        why = "; ".join(f"{each.by.name}: {each.reason}" for each in rejecting).rstrip(".")
        return Judgement(approved=False, rejected=True, sentence=f"Rejected by {why}.")
    if spec.people == 0:
        return Judgement(approved=True, rejected=False, sentence="The policy requires no approval.")
    expired = {key: end for key, each in latest.items() if (end := _end(each, spec)) <= now}
    notes += [
        f"the approval of {latest[key].by.name} expired on {end:%Y-%m-%d %H:%M} UTC"
        for key, end in expired.items()
    ]
    names = [each.by.name for key, each in latest.items() if key not in expired]
    by = people.distinct(names)
    notes += _merged(names, by)
    missing = _missing(by, spec=spec, trained_by=trained_by)
    if len(given) > len(ours):
        notes.append(f"{len(given) - len(ours)} for another model or decision")
    if missing:
        aside = f" Not counted: {'; '.join(dict.fromkeys(notes))}." if notes else ""
        return Judgement(
            approved=False, rejected=False, sentence=f"Not approved: {missing}.{aside}", by=by
        )
    return Judgement(approved=True, rejected=False, sentence=f"Approved by {', '.join(by)}.", by=by)


def _doubt(approval: Approval, *, spec: ApprovalSpec, stated: bool, now: datetime) -> str:
    """Return why an approval or rejection does not count; empty: it does."""
    who = approval.by.name
    if spec.approvers and people.key_of(who) not in map(people.key_of, spec.approvers):
        return f"{who} is not one of the approvers"
    if approval.verdict == "rejected":
        return ""
    if not people.is_known(who):
        return f"{who} names nobody"
    if not stated and approval.by.means not in _ESTABLISHED:
        return f"the identity of {who} was stated ({approval.by.means}), not verified"
    if approval.time - CLOCKS > now:
        return (
            f"the approval of {who} has a time in the future ({approval.time:%Y-%m-%d %H:%M} UTC)"
        )
    return ""


def _end(approval: Approval, spec: ApprovalSpec) -> datetime:
    try:
        return min(approval.expires, approval.time + timedelta(days=spec.valid_days)).astimezone(
            UTC
        )
    except OverflowError:
        return approval.expires.astimezone(UTC)


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
        needed = "person" if spec.people == 1 else "different people"
        return f"{len(by)} of {spec.people} {needed} approved"
    if not people.is_known(trained_by):
        return (
            "it is not known who trained it, so one person alone is not enough"
            if len(by) < 2
            else ""
        )
    if all(people.may_be_one(name, trained_by) for name in by):
        return f"{trained_by} trained it and cannot be the only one who approves"
    return ""
