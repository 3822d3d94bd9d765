"""Which features a prediction may only rise, or only fall, with."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.errors import InputError
from penstock.records.features import Features
from penstock.records.model import Label, Task
from penstock.training.spec import CandidateName, Direction

FAMILIES: frozenset[CandidateName] = frozenset({"hist_gradient_boosting", "xgboost", "lightgbm"})
"""Families that can keep a constraint."""


def directions(
    wanted: Mapping[str, Direction],
    *,
    features: Features,
    task: Task,
    classes: tuple[Label, ...],
    positive: Label | None,
) -> dict[int, int]:
    """Return 1 or -1 by feature: how what an estimator adds up may go with it.

    Args:
        wanted: By raw column: of two classes the direction of the positive one's probability.
        features: The fitted features.
        task: What is predicted.
        classes: In the order of `predict_proba`, of which an estimator adds up the second's.
        positive: The class that is scored.

    Raises:
        InputError: If there are more than two classes, or a column is not a feature that is a
            number or true and false.
    """
    if not wanted:
        return {}
    if task == "multiclass":
        raise InputError(
            "of more than two classes none can rise with a column alone: the others would fall",
            where="training.monotonic",
            remedy="Leave it out, or predict two classes or a number.",
        )
    if features.code is not None:
        raise InputError(
            "which column a feature comes from is not known of the project's own transformer",
            where="training.monotonic",
            remedy="Leave it out, or leave out features.transformer.",
        )
    sign = -1 if task == "binary" and positive == classes[0] else 1
    known = {column.name: column for column in features.columns}
    found = {}
    for name, direction in wanted.items():
        column = known.get(name)
        if column is None or column.kind not in ("number", "boolean"):
            kind = "no column of the table" if column is None else f"taken for: {column.kind}"
            raise InputError(
                f"{name!r} is {kind}; a constraint needs a number, or true and false",
                where="training.monotonic",
                remedy="Name another column, or declare its kind in features.columns.",
            )
        found[features.outputs.index(column.outputs[0])] = sign * _SIGNS[direction]
    return found


def check_families(candidates: tuple[CandidateName, ...], wanted: Mapping[str, Direction]) -> None:
    """Refuse families that cannot keep a constraint.

    Raises:
        InputError: If a candidate besides the linear baseline cannot, or there is none but it.
    """
    if not wanted:
        return
    others = set(candidates) - FAMILIES - {"linear"}
    if others or not FAMILIES & set(candidates):
        what = f"{', '.join(sorted(others))} cannot keep" if others else "no candidate can keep"
        raise InputError(
            f"{what} monotonic constraints",
            where="training.candidates",
            remedy=f"Give some of {', '.join(sorted(FAMILIES))} as candidates.",
        )


_SIGNS: Mapping[Direction, int] = {"increasing": 1, "decreasing": -1}
