"""Approvals and rejections of a version, and what waiting for them gave."""

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
    """One person's approval or rejection of one version."""

    KIND: ClassVar[str] = "approval"

    uri: str = Field(description="`models:/name/version`")
    model: str = Field(description="Digest of the model's folder")
    decision: str = Field(description="Digest of the decision that approves it")
    verdict: Literal["approved", "rejected"]
    by: Identity
    reason: str = Field(min_length=1, max_length=REASON_LENGTH)
    time: AwareDatetime
    expires: AwareDatetime


class ApprovalOutcome(Record):
    """The result of waiting for approvals of a version."""

    KIND: ClassVar[str] = "approval-outcome"

    uri: str = Field(description="`models:/name/version`")
    model: str
    decision: str
    approved: bool
    sentence: str = Field(description="Why, in words")
    asked: datetime | None = Field(
        default=None, description="When it was first requested; None: the policy requires none"
    )
    deadline: datetime | None = None
    approvals: tuple[Approval, ...] = Field(default=(), description="In the order of the log")

    @property
    def version(self) -> int:
        """The version's number."""
        return int(self.uri.rpartition("/")[2])

    def reason(self) -> str:
        """Return why it ended as it did."""
        return self.sentence
