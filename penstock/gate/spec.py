"""The project file's section on the gate: the policy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from penstock.records.spec import Spec

Severity = Literal["block", "warn"]


class MarginRule(Spec):
    """A bound on the candidate's advantage over another model on the same holdout rows."""

    margin: float = Field(description="In units of the primary metric")
    severity: Severity = "block"


class Floor(Spec):
    """A bound on one metric of the candidate."""

    metric: str = Field(min_length=1)
    at_least: float | None = Field(default=None, description="For metrics where more is better")
    at_most: float | None = Field(default=None, description="For metrics where less is better")
    on: Literal["estimate", "interval"] = Field(
        default="estimate",
        description="estimate compares the figure, interval the unfavourable end of its interval",
    )
    severity: Severity = "block"

    @model_validator(mode="after")
    def _one_bound(self) -> Floor:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of at_least and at_most")
        return self


class Policy(Spec):
    """What a candidate must show to be released."""

    baseline: MarginRule = Field(
        default=MarginRule(margin=0.0),
        description="The lower end of the interval of the advantage over the majority class (or "
        "the mean) must lie above the margin",
    )
    linear: MarginRule = Field(
        default=MarginRule(margin=0.02, severity="warn"),
        description="The advantage over a plain linear model must not be below minus the margin",
    )
    champion: MarginRule = Field(
        default=MarginRule(margin=0.01),
        description="Not worse than the champion by more than the margin: the lower end of the "
        "interval of the advantage must lie above minus the margin. Not applicable while there is "
        "no champion",
    )
    floors: tuple[Floor, ...] = ()
