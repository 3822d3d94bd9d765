"""What decisions about rows are worth to a business: a matrix by outcome, or an expression.

The policy's rule on it is `penstock.gate.rules.business_value`; training sets the threshold by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from penstock.errors import InputError
from penstock.metrics.abstention import band_of
from penstock.metrics.expression import Expression, parse
from penstock.records.model import Abstention, Task
from penstock.records.spec import Spec

if TYPE_CHECKING:
    import numpy as np

Amount = float | str
"""A number, or an expression over the columns of the table, for example `0.9 * amount - 5`."""

PER = 1000
"""Decisions that a value is given for."""

TRUTH = "truth"
PREDICTED = "predicted"
"""What an expression calls the true label or value, and the predicted one."""


class Matrix(Spec):
    """What one decision about a row is worth; a cost is below 0."""

    true_positive: Amount = 0.0
    false_positive: Amount = 0.0
    false_negative: Amount = 0.0
    true_negative: Amount = 0.0

    def expressions(self) -> dict[str, Expression]:
        """Return the value of each outcome as an expression, by the names of the fields."""
        return {name: parse(str(getattr(self, name))) for name in type(self).model_fields}

    def check(self, at_least: float | None) -> None:
        """Refuse values by which a decision makes no difference, or a mistake is worth more.

        Args:
            at_least: The bound on the value of 1,000 decisions, if there is one.

        Raises:
            ValueError: If they are such, or the bound can never be missed or met. What expressions
                amount to is not looked at.
        """
        given = [getattr(self, name) for name in type(self).model_fields]
        pairs = (("true_positive", "false_negative"), ("true_negative", "false_positive"))
        if all(getattr(self, right) == getattr(self, wrong) for right, wrong in pairs):
            raise ValueError("right or wrong, every decision about a row is worth the same")
        if any(isinstance(amount, str) for amount in given):
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


class DecisionValue(Spec):
    """How the value of a row's decision is computed: by a matrix, or by an expression."""

    matrix: Matrix | None = Field(default=None, description="Two classes: value by outcome")
    expression: str = Field(
        default="",
        description="Any task: value of a row, over its columns and `truth` and `predicted`, for "
        "example `-abs(truth - predicted)`",
    )
    unit: str = Field(default="", max_length=20, description="For example EUR")
    review: float | None = Field(
        default=None,
        # A policy that does not ask for it keeps its digest.
        exclude_if=lambda cost: cost is None,
        description="What it costs that a person decides a row, above 0; rows for which that is "
        "cheaper than the model's mistakes are left to people. Needs a matrix of numbers",
    )

    @model_validator(mode="after")
    def _reviewed(self) -> DecisionValue:
        self.abstention()
        return self

    def abstention(self) -> Abstention | None:
        """Return where a row is left to a person; None: the model decides every row.

        Raises:
            ValueError: If what mistakes cost is not the same for every row, or a person is cheaper
                nowhere.
        """
        if self.review is None:
            return None
        amounts = {} if self.matrix is None else self.matrix.model_dump()
        if not amounts or any(isinstance(amount, str) for amount in amounts.values()):
            raise ValueError("review: needs a matrix of numbers, by which mistakes are compared")
        return band_of(
            miss=amounts["true_positive"] - amounts["false_negative"],
            false_alarm=amounts["true_negative"] - amounts["false_positive"],
            review=self.review,
        )

    @model_validator(mode="after")
    def _one_form(self) -> DecisionValue:
        if (self.matrix is None) == (not self.expression):
            raise ValueError("give exactly one of matrix and expression")
        try:
            self.names()
        except InputError as error:
            raise ValueError(str(error)) from error
        return self

    def depends_on_the_model(self) -> bool:
        """Return whether one model's decisions can be worth less than another's."""
        return self.matrix is not None or PREDICTED in parse(self.expression).names

    def text(self) -> str:
        """Return what is computed, for an error."""
        if self.matrix is None:
            return self.expression
        return ", ".join(f"{name.replace('_', ' ')}: {amount}" for name, amount in self.matrix)

    def names(self) -> frozenset[str]:
        """Return the columns that the value of a row depends on, besides its outcome."""
        if self.matrix is None:
            return parse(self.expression).names - {TRUTH, PREDICTED}
        return frozenset().union(*(one.names for one in self.matrix.expressions().values()))


def values_of(
    value: DecisionValue,
    *,
    task: Task,
    columns: Mapping[str, np.ndarray],
    truth: np.ndarray,
    predicted: np.ndarray,
    positive: object = None,
    negative: object = None,
) -> np.ndarray:
    """Return the value of every row, shape (n,): NaN where a column that it takes is missing.

    Args:
        value: How it is computed.
        task: A matrix needs two classes.
        columns: Those that `value.names()` names, shape (n,): numbers (a boolean is 1 or 0), NaN
            for missing; or texts, None for missing.
        truth: True labels or values, shape (n,).
        predicted: Predicted ones, shape (n,).
        positive: Binary: the label of the positive class.
        negative: Binary: that of the other. A row whose true label is neither has no outcome in a
            matrix, and so no value.

    Raises:
        InputError: If the rule does not fit the task, names a column that is not there, every row
            lacks one, or a value is infinite.
    """
    import numpy as np

    if value.matrix is not None:
        if task != "binary":
            raise InputError(
                f"a matrix has the outcomes of two classes, the task is {task}",
                where="gate.cost.matrix",
                remedy="Give gate.cost.expression, over truth and predicted.",
            )
        actual, called = truth == positive, predicted == positive
        known_class = actual | (truth == negative)
        outcomes = {
            "true_positive": actual & called,
            "false_positive": ~actual & called,
            "false_negative": actual & ~called,
            "true_negative": ~actual & ~called,
        }
        found = np.zeros(len(truth))
        for name, expression in value.matrix.expressions().items():
            here = outcomes[name]
            found[here] = np.broadcast_to(expression.of(columns), here.shape)[here]
        return _checked(found, value, columns, missing=~known_class)
    known = {**columns, TRUTH: _plain(truth), PREDICTED: _plain(predicted)}
    found = np.array(np.broadcast_to(parse(value.expression).of(known), truth.shape))
    return _checked(found, value, columns, missing=np.zeros(len(truth), dtype=bool))


def _checked(
    found: np.ndarray,
    value: DecisionValue,
    columns: Mapping[str, np.ndarray],
    *,
    missing: np.ndarray,
) -> np.ndarray:
    import numpy as np

    for name in value.names():
        values = columns[name]
        if values.dtype.kind == "f":
            missing |= np.isnan(values)
        elif values.dtype == object:
            missing |= np.array([value is None for value in values])
    wrong = ~missing & ~np.isfinite(found)
    if wrong.any():
        raise InputError(
            f"the value of row {int(wrong.argmax()) + 1:,} is not finite: something is divided by "
            "0, or too large",
            where="gate.cost",
            remedy="Keep the divisor away from 0, for example by max(column, 1).",
        )
    if missing.all():
        raise InputError(
            "no row has a value: each lacks one of "
            f"{', '.join(sorted(value.names())) or 'nothing'} "
            "or is of a class that the rule does not know",
            where="gate.cost",
            remedy="Name columns that are known.",
        )
    found[missing] = np.nan
    return found


def _plain(labels: np.ndarray) -> np.ndarray:
    """Return labels as an expression takes them: texts, or numbers (a boolean is 1 or 0)."""
    import numpy as np

    if labels.dtype.kind in "OU":
        return labels.astype(object)
    return labels.astype(np.float64)
