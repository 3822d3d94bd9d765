"""What each decision about the rows of a table is worth, by the policy's rule on cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.errors import InputError
from penstock.policy.cost import PREDICTED, TRUTH, CostRule
from penstock.policy.expression import parse
from penstock.records.model import Task

if TYPE_CHECKING:
    import numpy as np

PER = 1000
"""Decisions that a worth is given for."""


def worths(
    rule: CostRule,
    *,
    task: Task,
    columns: Mapping[str, np.ndarray],
    truth: np.ndarray,
    predicted: np.ndarray,
    positive: object = None,
    negative: object = None,
) -> np.ndarray:
    """Return the worth of every row, shape (n,): NaN where a column that it takes is missing.

    Args:
        rule: The policy's rule.
        task: A matrix needs two classes.
        columns: Those that `rule.names()` names, shape (n,): numbers (a boolean is 1 or 0), NaN
            for missing; or texts, None for missing.
        truth: True labels or values, shape (n,).
        predicted: Predicted ones, shape (n,).
        positive: Binary: the label of the positive class.
        negative: Binary: that of the other. A row whose true label is neither has no outcome in a
            matrix, and so no worth.

    Raises:
        InputError: If the rule does not fit the task, names a column that is not there, every row
            lacks one, or a worth is infinite.
    """
    import numpy as np

    if rule.matrix is not None:
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
        for name, expression in rule.matrix.expressions().items():
            here = outcomes[name]
            found[here] = np.broadcast_to(expression.of(columns), here.shape)[here]
        return _checked(found, rule, columns, missing=~known_class)
    known = {**columns, TRUTH: _plain(truth), PREDICTED: _plain(predicted)}
    found = np.array(np.broadcast_to(parse(rule.expression).of(known), truth.shape))
    return _checked(found, rule, columns, missing=np.zeros(len(truth), dtype=bool))


def _checked(
    found: np.ndarray, rule: CostRule, columns: Mapping[str, np.ndarray], *, missing: np.ndarray
) -> np.ndarray:
    import numpy as np

    for name in rule.names():
        values = columns[name]
        if values.dtype.kind == "f":
            missing |= np.isnan(values)
        elif values.dtype == object:
            missing |= np.array([value is None for value in values])
    wrong = ~missing & ~np.isfinite(found)
    if wrong.any():
        raise InputError(
            f"the worth of row {int(wrong.argmax()) + 1:,} is not finite: something is divided by "
            "0, or too large",
            where="gate.cost",
            remedy="Keep the divisor away from 0, for example by max(column, 1).",
        )
    if missing.all():
        raise InputError(
            f"no row has a worth: each lacks one of {', '.join(sorted(rule.names())) or 'nothing'} "
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
