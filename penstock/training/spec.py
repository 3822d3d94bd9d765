"""The project file's section on training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from penstock.own_code.reference import CodeSpec, ReferenceText
from penstock.records.spec import Spec

CandidateName = Literal[
    "linear", "hist_gradient_boosting", "random_forest", "extra_trees", "xgboost", "lightgbm", "own"
]

_FOREST = {"n_estimators": True, "max_depth": True, "max_features": False, "min_samples_leaf": True}
_SHARES = ("learning_rate", "subsample", "colsample_bytree", "reg_lambda", "reg_alpha")

PARAMETERS: Mapping[CandidateName, Mapping[str, bool]] = {
    "linear": {"C": False, "alpha": False},
    "hist_gradient_boosting": {
        "learning_rate": False,
        "max_iter": True,
        "max_leaf_nodes": True,
        "max_depth": True,
        "min_samples_leaf": True,
        "l2_regularization": False,
        "max_features": False,
    },
    "random_forest": _FOREST,
    "extra_trees": _FOREST,
    "xgboost": {
        **dict.fromkeys((*_SHARES, "gamma", "min_child_weight", "max_delta_step"), False),
        **dict.fromkeys(("n_estimators", "max_depth", "max_leaves", "max_bin"), True),
    },
    "lightgbm": {
        **dict.fromkeys((*_SHARES, "min_split_gain", "min_child_weight", "path_smooth"), False),
        **dict.fromkeys(
            ("n_estimators", "num_leaves", "max_depth", "min_child_samples", "max_bin"), True
        ),
    },
}
"""By family, the parameters that a project file may search, and whether each is a whole number.
Those of `own` are known once its code is there."""


Direction = Literal["increasing", "decreasing"]


class RangeSpec(Spec):
    """A range of a parameter, ends included."""

    low: float
    high: float
    log: bool = Field(
        default=False, description="Whether to draw evenly over the orders of magnitude"
    )

    @model_validator(mode="after")
    def _holds_numbers(self) -> RangeSpec:
        if self.low >= self.high:
            raise ValueError(f"low, {self.low:g}, must lie below high, {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}: orders of magnitude need a number above 0")
        return self


Searched = RangeSpec | tuple[bool | float | str, ...] | bool | float | str


class EarlyStoppingSpec(Spec):
    """How many trees `xgboost` and `lightgbm` grow, where `training.search` does not say it."""

    most_trees: int = Field(
        default=500, ge=1, description="Rounds of boosting at most, in each fold"
    )
    patience: int = Field(
        default=25,
        ge=1,
        description="Rounds in a row that do not lower the loss on the rows set aside, after which "
        "a fold stops",
    )


class FoldsSpec(Spec):
    """How the training part is cut for cross-validation. A number alone is `number`."""

    number: int = Field(default=4, ge=2, description="How many folds")
    kind: Literal["auto", "random", "stratified", "group", "time"] = Field(
        default="auto",
        description="auto: as the split was cut; then there are fewer folds where rows do not "
        "suffice. Each other kind is kept to the letter, or refused: random; stratified, the same "
        "share of each class; group, no group in two folds; time, each fold is scored on rows "
        "later than those it was fitted on",
    )
    column: str = Field(
        default="",
        description="Of group and time: the column; empty takes the split's, where it is of that "
        "kind",
    )
    gap: float = Field(
        default=0,
        ge=0,
        description="Of time: how much earlier than the first row that is scored a row must be to "
        "be fitted on, in days, or in the column's own unit where that is a number",
    )

    @model_validator(mode="after")
    def _fits_the_kind(self) -> FoldsSpec:
        if self.column and self.kind not in ("group", "time"):
            raise ValueError(f"folds have a column by group or by time, not with kind {self.kind}")
        if self.gap and self.kind != "time":
            raise ValueError(f"folds have a gap with kind time, not {self.kind}")
        return self


class TrainingSpec(Spec):
    """Which models are tried and how hard."""

    candidates: tuple[CandidateName, ...] = Field(
        default=("linear", "hist_gradient_boosting", "random_forest"),
        min_length=1,
        description="Families to search: linear (logistic regression or ridge), "
        "hist_gradient_boosting, random_forest, extra_trees; xgboost and lightgbm, which need the "
        "extra `boosting`. The linear one is always tried, and so is `own` where there is an "
        "`estimator`",
    )
    estimator: ReferenceText = Field(
        default="",
        description="A function or class of the project's own, `package.module:name`, which "
        "returns an unfitted scikit-learn estimator; the package lies beside this file. It is the "
        "family `own`. See docs/own-code.md",
    )
    code: CodeSpec | None = Field(
        default=None, description="Which code that is; filled in when a run is ordered"
    )
    search: dict[CandidateName, dict[str, Searched]] = Field(
        default_factory=dict,
        description="By family and parameter what to search instead of its default space: "
        "`{low: 3, high: 8}` with `log: true` where orders of magnitude count, a list of values, "
        "or one value. See docs/training.md",
    )
    early_stopping: EarlyStoppingSpec = EarlyStoppingSpec()
    trials: int = Field(
        default=20, ge=1, description="Parameter settings tried at most, all families"
    )
    patience: int | None = Field(
        default=8,
        ge=1,
        description="The search ends when so many settings in a row did not improve on the best by "
        "more than one standard error; null tries all `trials`",
    )
    folds: FoldsSpec = Field(
        default=FoldsSpec(),
        description="Cross-validation folds on the training part: their number, or number, kind "
        "(auto, random, stratified, group, time), column and gap. See docs/training.md",
    )
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
    weights: str = Field(
        default="",
        description="Column that says how much each row counts while models are fitted, 0 or more. "
        "It is no feature, and scores are not weighted",
    )
    monotonic: dict[str, Direction] = Field(
        default_factory=dict,
        description="By column, whether the prediction (of two classes the positive one's "
        "probability) may only be increasing or decreasing with it. The families that keep it: "
        "hist_gradient_boosting, xgboost, lightgbm",
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

    @field_validator("folds", mode="before")
    @classmethod
    def _takes_a_number(cls, folds: Any) -> Any:
        return {"number": folds} if isinstance(folds, int | float | str) else folds

    @field_validator("search")
    @classmethod
    def _searches_what_there_is(cls, search: Any) -> Any:
        for family, parameters in search.items():
            if family == "own":
                continue
            known = PARAMETERS[family]
            for name, searched in parameters.items():
                if name not in known:
                    raise ValueError(
                        f"{family} has no parameter {name!r} that is searched; it has "
                        f"{', '.join(sorted(known))}"
                    )
                if searched == ():
                    raise ValueError(f"{family}.{name} has no value")
                if known[name] and not all(_is_whole(value) for value in _numbers(searched)):
                    raise ValueError(f"{family}.{name} takes whole numbers, not {searched!r}")
        return search

    @model_validator(mode="after")
    def _names_its_own(self) -> TrainingSpec:
        if not self.estimator and ("own" in self.candidates or "own" in self.search):
            raise ValueError("own is the family of training.estimator, which is not given")
        return self

    @property
    def families(self) -> tuple[CandidateName, ...]:
        """Every family that is tried: the linear one always, an own one where there is one."""
        own: tuple[CandidateName, ...] = ("own",) if self.estimator else ()
        return tuple(dict.fromkeys(("linear", *self.candidates, *own)))


def _numbers(searched: Searched) -> tuple[Any, ...]:
    if isinstance(searched, RangeSpec):
        return searched.low, searched.high
    return searched if isinstance(searched, tuple) else (searched,)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | float) and float(value).is_integer()
