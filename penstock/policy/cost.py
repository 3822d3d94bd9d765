"""The rule on what decisions are worth: a business figure from costs and benefits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from penstock.errors import InputError
from penstock.policy.expression import Expression, parse
from penstock.policy.rules import Rule
from penstock.records.spec import Spec

Worth = float | str
"""A number, or an expression over the columns of the table, for example `0.9 * amount - 5`."""

PER = 1000
"""Decisions that a worth is given for."""

TRUTH = "truth"
PREDICTED = "predicted"
"""What an expression calls the true label or value, and the predicted one."""


class Matrix(Spec):
    """What one decision about a row is worth; a cost is below 0."""

    true_positive: Worth = 0.0
    false_positive: Worth = 0.0
    false_negative: Worth = 0.0
    true_negative: Worth = 0.0

    def expressions(self) -> dict[str, Expression]:
        """Return the worth of each outcome as an expression, by the names of the fields."""
        return {name: parse(str(getattr(self, name))) for name in type(self).model_fields}

    def check(self, at_least: float | None) -> None:
        """Refuse worths by which a decision makes no difference, or a mistake is worth more.

        Args:
            at_least: The bound on the worth of 1,000 decisions, if there is one.

        Raises:
            ValueError: If they are such, or the bound can never be missed or met. What expressions
                amount to is not looked at.
        """
        given = [getattr(self, name) for name in type(self).model_fields]
        pairs = (("true_positive", "false_negative"), ("true_negative", "false_positive"))
        if all(getattr(self, right) == getattr(self, wrong) for right, wrong in pairs):
            raise ValueError("right or wrong, every decision about a row is worth the same")
        if any(isinstance(worth, str) for worth in given):
            return
        for right, wrong in pairs:
            if getattr(self, right) < getattr(self, wrong):
                raise ValueError(
                    f"{wrong}: {getattr(self, wrong):g} is worth more than {right}, "
                    f"{getattr(self, right):g}, so that mistakes would pay. A cost is below 0"
                )
        if at_least is not None and not PER * min(given) < at_least <= PER * max(given):
            often = "never" if at_least > PER * max(given) else "always"
            raise ValueError(
                f"at_least: {PER:,} decisions are worth {PER * min(given):,g} to "
                f"{PER * max(given):,g}, so {at_least:,g} is {often} reached"
            )


class CostRule(Rule):
    """The worth of decisions: measured on the holdout, and in training what sets the threshold."""

    matrix: Matrix | None = Field(default=None, description="Two classes: worth by outcome")
    expression: str = Field(
        default="",
        description="Any task: worth of a row, over its columns and `truth` and `predicted`, for "
        "example `-abs(truth - predicted)`",
    )
    unit: str = Field(default="", max_length=20, description="For example EUR")
    at_least: float | None = Field(
        default=None, description="Worth of 1,000 decisions; null only reports it"
    )
    on: Literal["estimate", "interval"] = Field(
        default="interval",
        description="estimate compares the figure, interval the lower end of its interval",
    )

    @model_validator(mode="after")
    def _one_form(self) -> CostRule:
        if (self.matrix is None) == (not self.expression):
            raise ValueError("give exactly one of matrix and expression")
        try:
            self.names()
        except InputError as error:
            raise ValueError(str(error)) from error
        if self.matrix is not None:
            self.matrix.check(self.at_least)
        return self

    def depends_on_the_model(self) -> bool:
        """Return whether one model's decisions can be worth less than another's."""
        return self.matrix is not None or PREDICTED in parse(self.expression).names

    def text(self) -> str:
        """Return what the rule computes, for an error."""
        if self.matrix is None:
            return self.expression
        return ", ".join(f"{name.replace('_', ' ')}: {worth}" for name, worth in self.matrix)

    def names(self) -> frozenset[str]:
        """Return the columns that the worth of a row depends on, besides its outcome."""
        if self.matrix is None:
            return parse(self.expression).names - {TRUTH, PREDICTED}
        return frozenset().union(*(one.names for one in self.matrix.expressions().values()))
