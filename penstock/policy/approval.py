"""Who must say yes, besides the rules."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from penstock.common.people import check_name, key_of
from penstock.errors import InputError
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
            return tuple(check_name(name, where="approvers") for name in approvers)
        except InputError as error:
            raise ValueError(f"{error.what}. {error.remedy}".strip()) from error

    @model_validator(mode="after")
    def _enough(self) -> ApprovalSpec:
        named = len({key_of(name) for name in self.approvers})
        if self.approvers and named < self.people:
            raise ValueError(f"people: {self.people} must approve, and approvers names {named}")
        return self
