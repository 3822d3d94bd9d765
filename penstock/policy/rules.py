"""The ground of every rule, and the rules on a model's figures over the whole holdout."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from penstock.policy.bounds import check_bounds
from penstock.records.spec import Spec

Severity = Literal["block", "warn", "info"]


class Rule(Spec):
    """What every rule has besides its bound."""

    severity: Severity = Field(
        default="block",
        description="block: a model that fails is refused; warn: the failure is shown as a "
        "warning; info: it is only listed",
    )
    because: str = Field(
        default="", max_length=500, description="Why the rule is there, for whoever reads the page"
    )


class Bounded(Rule):
    """A rule on a metric, bounded from below or from above."""

    metric: str = Field(min_length=1)
    at_least: float | None = Field(default=None, description="For metrics where more is better")
    at_most: float | None = Field(default=None, description="For metrics where less is better")

    @model_validator(mode="after")
    def _one_bound(self) -> Bounded:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of at_least and at_most")
        check_bounds(self.metric, at_least=self.at_least, at_most=self.at_most)
        return self


class Floor(Bounded):
    """A bound on one metric of the candidate."""

    on: Literal["estimate", "interval"] = Field(
        default="estimate",
        description="estimate compares the figure, interval the worse end of its interval",
    )


class MarginRule(Rule):
    """A bound on the candidate's advantage over another model on the same holdout rows."""

    margin: float = Field(description="In units of the primary metric")


class ChampionRule(Rule):
    """How much worse than the champion a candidate may be, and whether it must be better."""

    margin: float = Field(
        default=0.01,
        ge=0,
        description="Non-inferiority margin in units of the primary metric: the lower end of the "
        "interval of the advantage must lie above minus the margin",
    )
    superiority: bool = Field(
        default=False,
        description="Also require that the candidate is better: the lower end must lie above 0",
    )
