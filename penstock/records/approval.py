"""What people said of a version."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from penstock.common.people import NAME_LENGTH
from penstock.records.base import Record, Value

Means = Literal["platform header", "kubernetes user", "operating system user", "stated"]


class Identity(Value):
    """Who somebody is, and how that was established."""

    name: str = Field(min_length=1, max_length=NAME_LENGTH)
    means: Means


REASON_LENGTH = 1000
"""Characters of a reason: a registry's tag holds the whole record in 5,000."""


class Approval(Record):
    """One person's word on one version."""

    KIND: ClassVar[str] = "approval"

    uri: str = Field(description="`models:/name/version`")
    model: str = Field(description="Digest of the model's folder")
    decision: str = Field(description="Digest of the decision that let it in")
    verdict: Literal["approved", "rejected"]
    by: Identity
    reason: str = Field(min_length=1, max_length=REASON_LENGTH)
    time: AwareDatetime
    expires: AwareDatetime


class ApprovalOutcome(Record):
    """What waiting for people's word on a version came to."""

    KIND: ClassVar[str] = "approval-outcome"

    uri: str = Field(description="`models:/name/version`")
    model: str
    decision: str
    approved: bool
    sentence: str = Field(description="Why, in words")
    asked: datetime | None = Field(
        default=None, description="When it was first asked for; None: the policy asks nobody"
    )
    deadline: datetime | None = None
    approvals: tuple[Approval, ...] = Field(default=(), description="What people said")

    def reason(self) -> str:
        """Return why it ended as it did."""
        return self.sentence
