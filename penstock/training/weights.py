"""The column that says how much each row of the training part counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def read_weights(
    table: pa.Table,
    name: str,
    *,
    target: str,
    inputs: Sequence[str],
    classes: np.ndarray | None,
    chosen: np.ndarray | None = None,
) -> np.ndarray | None:
    """Return the weight of each row, float64 with mean 1, shape (n,); None where there are none.

    Args:
        table: The training part.
        name: The column; empty: every row counts once.
        target: The column to predict.
        inputs: The raw columns that are features.
        classes: The class of each row that is learned from; None for a regression.
        chosen: Places of those rows, where they are a sample; None: all.

    Raises:
        InputError: If the column is absent, no number, the target or a feature; a weight is
            missing, infinite or below 0; or all weights, or all of one class, are 0.
    """
    import numpy as np
    import pyarrow.types as kinds

    if not name:
        return None
    where, leave_out = "training.weights", f"Declare features.columns: {{{name}: drop}}."
    if name not in table.column_names:
        raise InputError(
            f"the table has no column {name!r}",
            where=where,
            remedy="Name a column of the training part, or leave training.weights out.",
        )
    if name == target:
        raise InputError(
            f"{name!r} is the target, which says nothing of how much its row counts",
            where=where,
            remedy="Name a column of weights, or leave training.weights out.",
        )
    if name in inputs:
        raise InputError(f"{name!r} is a feature as well", where=where, remedy=leave_out)
    column = table.column(name)
    if not (kinds.is_integer(column.type) or kinds.is_floating(column.type)):
        raise InputError(
            f"{name!r} holds no numbers",
            where=where,
            remedy="Weights are finite numbers, 0 or more: name a column of numbers, or declare "
            f"source.types: {{{name}: number}}.",
        )
    values = np.asarray(column.to_pandas(), dtype=np.float64)
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        at = int(wrong.argmax())
        raise InputError(
            f"{int(wrong.sum()):,} rows have no weight of 0 or more; row {at + 1} of the training "
            f"part has {values[at]:g}",
            where=f"column {name!r}",
            remedy="Correct the weights in the source: each is a finite number, 0 or more.",
        )
    values = values if chosen is None else values[chosen]
    _refuse_nothing(values, classes, name)
    return np.asarray(values / values.mean())


def _refuse_nothing(values: np.ndarray, classes: np.ndarray | None, name: str) -> None:
    import numpy as np

    if not values.any():
        raise InputError(
            "every weight is 0",
            where=f"column {name!r}",
            remedy="Give rows that are to be learned from a weight above 0.",
        )
    if classes is None:
        return
    for label in np.unique(classes):
        if not values[classes == label].any():
            raise InputError(
                f"every row of the class {label.item()!r} has the weight 0",
                where=f"column {name!r}",
                remedy="Give some of its rows a weight, or leave the class out of the table.",
            )
