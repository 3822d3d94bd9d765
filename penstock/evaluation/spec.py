"""The project file's section on evaluation."""

from __future__ import annotations

from pydantic import Field

from penstock.records.spec import Spec


class EvaluationSpec(Spec):
    """How the holdout is judged."""

    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description="Of every interval in the report"
    )
    resamples: int = Field(
        default=1000,
        ge=100,
        description="Bootstrap resamples, for figures of which no interval in closed form is known",
    )
    seed: int = Field(default=20, ge=0)
