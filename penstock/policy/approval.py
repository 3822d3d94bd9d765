"""Who must say yes, besides the rules."""

from __future__ import annotations

from pydantic import Field, model_validator

from penstock.records.spec import Spec


class ApprovalSpec(Spec):
    """People whose word a release needs. The one who trained is never the only one."""

    people: int = Field(
        default=0,
        ge=0,
        le=5,
        description="How many different people must approve; 0: the rules alone decide",
    )
    approvers: tuple[str, ...] = Field(
        default=(), description="Who may approve, as their identity is written; empty: anyone"
    )
    trust_explicit: bool = Field(
        default=True,
        description="Count identities that were only stated (`--as`), not established by the "
        "platform or the cluster",
    )
    valid_days: float = Field(default=7.0, gt=0, description="After which an approval expires")
    wait_hours: float = Field(
        default=24.0, gt=0, description="How long a pipeline waits before it gives up"
    )

    @model_validator(mode="after")
    def _enough(self) -> ApprovalSpec:
        named = len(set(self.approvers))
        if self.approvers and named < self.people:
            raise ValueError(f"people: {self.people} must approve, and approvers names {named}")
        return self
