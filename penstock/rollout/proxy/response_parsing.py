"""Response parsing: labels and scores from the response of a model server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from penstock.serving.binary_tensors import SIZE, decode


@dataclass(frozen=True, slots=True)
class PredictedRows:
    """The rows of one response.

    Attributes:
        labels: What was predicted, one a row.
        scores: One a row: probability of the positive class (binary), of the predicted class
            (multiclass), or the value (regression). Empty if the client requested labels alone.
        classes: The model's classes; empty for a regression.
        of: How many rows the answer had.
    """

    labels: Sequence[Any]
    scores: Sequence[float]
    classes: Sequence[Any]
    of: int = 0

    def row(self, draw: float) -> PredictedRows:
        """Return one row alone: the one that lies at `draw`, in [0, 1), of all rows."""
        rows = len(self.labels)
        place = slice(int(draw * rows), int(draw * rows) + 1)
        return PredictedRows(self.labels[place], self.scores[place], self.classes, of=rows)


def parse(body: bytes, *, header_length: int | None = None) -> PredictedRows | None:
    """Return the rows of a KServe v1 or Open Inference v2 answer; None if it is neither.

    A response that cannot be read must not break the proxy: it is left out of the stats.

    Args:
        body: The answer.
        header_length: How many bytes of it are JSON, binary tensors being the rest; None: all are.
    """
    try:
        whole = memoryview(body)
        length = len(whole) if header_length is None else header_length
        answer = orjson.loads(whole[:length])
        if "specversion" in answer:
            # A CloudEvent, which the request was too.
            answer = answer["data"]
        found = _v2(answer, whole[length:]) if "outputs" in answer else _v1(answer)
        scores = [float(score) for score in found.scores]
        return replace(found, labels=list(found.labels), scores=scores)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None


def _v1(answer: dict[str, Any]) -> PredictedRows:
    labels, classes = answer["predictions"], answer.get("classes") or ()
    if not classes:
        return PredictedRows(labels, [float(label) for label in labels], ())
    rows = answer.get("probabilities") or ()
    return PredictedRows(labels, _scores(labels, rows, classes, answer.get("positive")), classes)


def _v2(answer: dict[str, Any], rest: memoryview) -> PredictedRows:
    tensors: dict[str, Sequence[Any]] = {}
    for tensor in answer["outputs"]:
        size = (tensor.get("parameters") or {}).get(SIZE)
        if size is None:
            tensors[tensor["name"]] = tensor["data"]
        else:
            tensors[tensor["name"]] = _decoded(tensor, rest[:size])
            rest = rest[size:]
    parameters = answer.get("parameters") or {}
    labels = tensors["predictions"]
    classes = orjson.loads(parameters["classes"]) if "classes" in parameters else ()
    if not classes:
        return PredictedRows(labels, [float(label) for label in labels], ())
    flat, width = tensors.get("probabilities") or (), len(classes)
    rows = [flat[start : start + width] for start in range(0, len(flat), width)]
    return PredictedRows(
        labels, _scores(labels, rows, classes, parameters.get("positive")), classes
    )


def _decoded(tensor: dict[str, Any], raw: memoryview) -> list[Any]:
    values = decode(tensor["datatype"], raw, count=math.prod(tensor["shape"]))
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def _scores(
    labels: Sequence[Any], rows: Sequence[Sequence[float]], classes: Sequence[Any], positive: Any
) -> list[float]:
    if positive is not None:
        column = list(classes).index(positive)
        return [row[column] for row in rows]
    columns = {label: index for index, label in enumerate(classes)}
    return [row[columns[label]] for label, row in zip(labels, rows, strict=False)]
