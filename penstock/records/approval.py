"""What people said of a version."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value

Means = Literal["platform header", "kubernetes user", "operating system user", "stated"]


class Identity(Value):
    """Who somebody is, and how that was established."""

    name: str = Field(min_length=1)
    means: Means


class Approval(Record):
    """One person's word on one version."""

    KIND: ClassVar[str] = "approval"

    uri: str = Field(description="`models:/name/version`")
    model: str = Field(description="Digest of the model's folder")
    decision: str = Field(description="Digest of the decision that let it in")
    verdict: Literal["approved", "rejected"]
    by: Identity
    reason: str = Field(min_length=1)
    time: datetime
    expires: datetime
