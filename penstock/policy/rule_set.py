"""The rules of a policy, field by field."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock.policy.approval import ApprovalSpec
from penstock.policy.classes import ClassesRule
from penstock.policy.cost import CostRule
from penstock.policy.fairness import FairnessRule
from penstock.policy.operations import OperationsRule
from penstock.policy.rules import ChampionRule, Floor, MarginRule
from penstock.policy.slices import SlicesRule
from penstock.policy.trust import CalibrationRule, LeakageRule, StabilityRule, TrainingDataRule
from penstock.records.spec import Spec


class RuleSet(Spec):
    """The fields of a policy. A rule that is null is not asked."""

    null_sections = False

    baseline: MarginRule = Field(
        default=MarginRule(margin=0.0),
        description="The lower end of the interval of the advantage over the majority class (or "
        "the mean) must lie above the margin",
    )
    linear: MarginRule = Field(
        default=MarginRule(margin=0.02, severity="warn"),
        description="The advantage over a plain linear model must not be below minus the margin",
    )
    champion: ChampionRule = Field(
        default=ChampionRule(),
        description="Not worse than the champion by more than the margin. Not applicable while "
        "there is no champion",
    )
    classes: ClassesRule | None = Field(
        default=ClassesRule(), description="Classification: whether every class is found"
    )
    floors: tuple[Floor, ...] = Field(default=(), description="Bounds on metrics")
    slices: SlicesRule | None = Field(
        default=SlicesRule(severity="warn"), description="Parts of the holdout"
    )
    fairness: tuple[FairnessRule, ...] = Field(
        default=(), description="Bounds on the spread between groups of people"
    )
    calibration: CalibrationRule | None = Field(
        default=None, description="Whether stated probabilities are what happens"
    )
    stability: StabilityRule | None = Field(
        default=None, description="What small noise and missing values cost"
    )
    leakage: LeakageRule | None = Field(
        default=LeakageRule(), description="Whether the figures rest on what will not be there"
    )
    training_data: TrainingDataRule | None = Field(
        default=TrainingDataRule(), description="Whether the rows learned from look right"
    )
    cost: CostRule | None = Field(default=None, description="What decisions are worth")
    operations: OperationsRule | None = Field(
        default=None, description="How the model serves, measured by its server"
    )
    without_quality: Literal["accepted"] | None = Field(
        default=None,
        description="At least one rule that blocks must be one that a model which is no better "
        "than guessing does not pass, and one such rule must have passed. accepted: neither is "
        "asked, so that any model may be let in",
    )
    approval: ApprovalSpec = Field(
        default=ApprovalSpec(), description="Who must say yes, besides the rules"
    )
