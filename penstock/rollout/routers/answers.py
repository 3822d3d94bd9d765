"""Reading labels and scores out of what a model server answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Answered:
    """The rows of one answer.

    Attributes:
        labels: What was predicted, one a row.
        scores: One a row: probability of the positive class (binary), of the predicted class
            (multiclass), or the value (regression). Empty if the client asked for labels alone.
        classes: The model's classes; empty for a regression.
    """

    labels: Sequence[Any]
    scores: Sequence[float]
    classes: Sequence[Any]


def read(body: bytes) -> Answered | None:
    """Return the rows of a KServe v1 or Open Inference v2 answer; None if it is neither.

    An answer is evidence and nothing more: one that cannot be read must not break the front.
    """
    try:
        answer = orjson.loads(body)
        return _v2(answer) if "outputs" in answer else _v1(answer)
    except (LookupError, TypeError, ValueError):
        return None


def _v1(answer: dict[str, Any]) -> Answered:
    labels, classes = answer["predictions"], answer.get("classes") or ()
    if not classes:
        return Answered(labels, [float(label) for label in labels], ())
    rows = answer.get("probabilities") or ()
    return Answered(labels, _scores(labels, rows, classes, answer.get("positive")), classes)


def _v2(answer: dict[str, Any]) -> Answered:
    tensors = {tensor["name"]: tensor["data"] for tensor in answer["outputs"]}
    parameters = answer.get("parameters") or {}
    labels = tensors["predictions"]
    classes = orjson.loads(parameters["classes"]) if "classes" in parameters else ()
    if not classes:
        return Answered(labels, [float(label) for label in labels], ())
    flat, width = tensors.get("probabilities") or (), len(classes)
    rows = [flat[start : start + width] for start in range(0, len(flat), width)]
    return Answered(labels, _scores(labels, rows, classes, parameters.get("positive")), classes)


def _scores(
    labels: Sequence[Any], rows: Sequence[Sequence[float]], classes: Sequence[Any], positive: Any
) -> list[float]:
    if positive is not None:
        column = list(classes).index(positive)
        return [row[column] for row in rows]
    columns = {label: index for index, label in enumerate(classes)}
    return [row[columns[label]] for label, row in zip(labels, rows, strict=False)]
