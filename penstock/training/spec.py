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
        "rarer is below 10 %; roc_auc_ovr for more classes, log_loss when the rarest has too few "
        "rows to be ranked; r2 for numbers",
    )
    threshold: (
        Literal["auto", "f1_macro", "accuracy", "f1", "balanced_accuracy", "cost"] | float
    ) = Field(
        default="auto",
        description="Two classes: what the score threshold maximises, or the threshold itself. "
        "cost: the worth of decisions by gate.cost. auto: cost where the gate has that rule, else "
        "f1_macro, the mean of the F1 scores of both classes",
    )
    class_weight: Literal["none", "balanced"] = Field(
        default="none",
        description="balanced weighs rows by the rarity of their class; it spoils probabilities, "
        "and a threshold usually serves better",
    )
    max_rows: int = Field(
        default=1_000_000,
        ge=1_000,
        description="Rows of the training part that models learn from at most: of more, a sample "
        "drawn by `seed` with the same share of each class. The report and the card say so",
    )
    seed: int = Field(default=20, ge=0)
    carry_rows: bool = Field(
        default=True,
        description="Whether the model carries rows of its training part: 50 that `:explain` "
        "compares with, 3 as MLflow's example, hashes of all, and rare values of categories; and "
        "whether three rows are explained for the registry. See docs/training.md",
    )
