"""The project file's section on training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock.records.spec import Spec

CandidateName = Literal["linear", "hist_gradient_boosting", "random_forest", "extra_trees"]


class TrainingSpec(Spec):
    """Which models are tried and how hard."""

    candidates: tuple[CandidateName, ...] = Field(
        default=("linear", "hist_gradient_boosting", "random_forest"),
        min_length=1,
        description="Families to search: linear (logistic regression or ridge), "
        "hist_gradient_boosting, random_forest, extra_trees. The linear one is always tried",
    )
    trials: int = Field(
        default=20, ge=1, description="Parameter settings tried at most, all families"
    )
    patience: int | None = Field(
        default=8,
        ge=1,
        description="The search ends when so many settings in a row did not improve on the best by "
        "more than one standard error; null tries all `trials`",
    )
    folds: int = Field(default=4, ge=2, description="Cross-validation folds on the training part")
    metric: str = Field(
        default="auto",
        description="What to optimise. auto: roc_auc for two classes, average_precision when the "
        "rarer is below 10 %, accuracy for more classes, r2 for numbers",
    )
    threshold: Literal["auto", "accuracy", "f1", "balanced_accuracy", "cost"] | float = Field(
        default="auto",
        description="Two classes: what the score threshold maximises, or the threshold itself. "
        "cost: the worth of decisions by gate.cost. auto: cost where the gate has that rule, else "
        "accuracy, or f1 when the rarer class is below 10 %",
    )
    class_weight: Literal["none", "balanced"] = Field(
        default="none",
        description="balanced weighs rows by the rarity of their class; it spoils probabilities, "
        "and a threshold usually serves better",
    )
    seed: int = Field(default=20, ge=0)
    carry_rows: bool = Field(
        default=True,
        description="Whether the model carries rows of its training part: 50 that `:explain` "
        "compares with, 3 as MLflow's example, hashes of all, and rare values of categories; and "
        "whether three rows are explained for the registry. See docs/training.md",
    )
