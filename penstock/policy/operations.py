"""The rule on how a model serves: latency, size, and that the server answers as the model does."""

from __future__ import annotations

from pydantic import Field, model_validator

from penstock.policy.rules import Rule


class OperationsRule(Rule):
    """Measured by the model server itself, started with the candidate."""

    p99_at_most: float | None = Field(
        default=None, gt=0, description="Seconds: 99th percentile of one row's answer"
    )
    size_at_most: int | None = Field(
        default=None, gt=0, description="Bytes of what the server loads"
    )
    agreement: bool = Field(
        default=True,
        description="The server's answers must equal the model's own on the same rows",
    )
    requests: int = Field(default=300, ge=100, le=100_000, description="Single rows timed")

    @model_validator(mode="after")
    def _asks(self) -> OperationsRule:
        if self.p99_at_most is None and self.size_at_most is None and not self.agreement:
            raise ValueError("give p99_at_most, size_at_most or agreement: nothing is asked")
        return self
