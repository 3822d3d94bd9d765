"""What KServe's request logger sends: a request and its response, each as a CloudEvent.

The two are joined by the event's id into captured rows. What they hold is another server's, so
columns and answers are read as the v1 protocol and the Open Inference Protocol have them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.serving.capture import Rows
from penstock.serving.request_errors import RequestError, kind
from penstock.serving.request_headers import MAX_ID_LENGTH

Side = Literal["request", "response"]

_TYPE = "org.kubeflow.serving.inference."
_SIDES: tuple[Side, ...] = ("request", "response")
_VECTORS = 2


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        id: The request's.
        side: Which of the two it is.
        payload: The body of the request, or of its response.
        size: Bytes of it.
    """

    id: str
    side: Side
    payload: Mapping[str, Any]
    size: int


@dataclass
class Pairs:
    """Events whose other half has not come, bounded in number, bytes and age.

    Attributes:
        number: Events that wait at most.
        bytes: Bytes of them at most.
        remembered: Requests that were paired, and are known if they come again, at most.
        seconds: How long one waits at most.
        unpaired: Events that were given up.
        repeated: Events of a request that was paired already.
    """

    number: int = 10_000
    bytes: int = 64 << 20
    remembered: int = 100_000
    seconds: float = 300.0
    unpaired: int = 0
    repeated: int = 0
    _paired: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _waiting: OrderedDict[str, tuple[Event, float]] = field(default_factory=OrderedDict)
    _size: int = 0

    def add(self, event: Event) -> tuple[Event, Event] | None:
        """Return request and response once both have come."""
        if event.id in self._paired:
            # Who sends at least once sends some twice.
            self.repeated += 1
            return None
        waiting = self._waiting.get(event.id)
        if waiting is not None and waiting[0].side != event.side:
            self._take(event.id)
            self._note(event.id)
            pair = {waiting[0].side: waiting[0], event.side: event}
            return pair["request"], pair["response"]
        if waiting is not None:
            # The first of a side counts.
            self.repeated += 1
            return None
        self._waiting[event.id] = event, time.monotonic()
        self._size += event.size
        self.expire()
        return None

    def expire(self) -> None:
        """Give up what has waited too long, and the oldest of too many."""
        now = time.monotonic()
        while self._waiting:
            name, (_, since) = next(iter(self._waiting.items()))
            beyond = len(self._waiting) > self.number or self._size > self.bytes
            if not beyond and now - since <= self.seconds:
                return
            self._take(name)
            self.unpaired += 1

    def close(self) -> None:
        """Give up everything."""
        self.unpaired += len(self._waiting)
        self._waiting.clear()

    def _note(self, name: str) -> None:
        self._paired[name] = None
        if len(self._paired) > self.remembered:
            self._paired.popitem(last=False)

    def _take(self, name: str) -> None:
        event, _ = self._waiting.pop(name)
        self._size -= event.size


def event_of(attributes: Mapping[str, Any], payload: Any, *, size: int) -> Event:
    """Return the event that attributes and data make.

    Args:
        attributes: By name, without `ce-`.
        payload: Its data.
        size: Bytes of it.

    Raises:
        RequestError: Naming the attribute that is missing or is not the logger's.
    """
    name, given = attributes.get("id"), str(attributes.get("type", ""))
    if not isinstance(name, str) or not name:
        raise RequestError("the event has no id (ce-id)")
    if len(name) > MAX_ID_LENGTH:
        raise RequestError(f"the event's id is longer than {MAX_ID_LENGTH} characters")
    side = next((side for side in _SIDES if given == _TYPE + side), None)
    if side is None:
        raise RequestError(
            f"the event's type must be {_TYPE}request or {_TYPE}response, got {given[:80]!r}"
        )
    if not isinstance(payload, dict):
        raise RequestError(f"the event's data must be a JSON object, not {kind(payload)}")
    return Event(name, side, payload, size)


def rows_of(request: Event, response: Event, *, version: str, columns: Sequence[str]) -> Rows:
    """Return the rows that a request and its response make.

    Args:
        request: The request.
        response: Its response.
        version: The model's, where the response names none.
        columns: Names of the inputs that are sent without names; further ones are named by number.

    Raises:
        RequestError: If they are of no protocol that is known, or of different numbers of rows.
    """
    inputs = _inputs(request.payload, columns)
    labels, vectors = _answers(response.payload)
    if any(isinstance(label, list | dict) for label in labels):
        raise RequestError(f"a prediction of the response {request.id} is no single value")
    count = len(next(iter(inputs.values()), ()))
    if count != len(labels):
        raise RequestError(
            f"the request {request.id} holds {count} rows and its response {len(labels)}"
        )
    if vectors is not None and not (_is_vectors(vectors) and len(vectors) == count):
        raise RequestError(f"the scores of the response {request.id} are not numbers for each row")
    scores = [max(v) for v in vectors] if vectors else [_number(label) for label in labels]
    return Rows(
        request_id=request.id,
        time=time.time(),
        version=str(response.payload.get("model_version") or version),
        mirrored=False,
        replayed=False,
        inputs=inputs,
        scores=scores,
        labels=labels,
        vectors=vectors,
    )


def _inputs(payload: Mapping[str, Any], columns: Sequence[str]) -> dict[str, list[Any]]:
    rows = payload.get("instances")
    if isinstance(rows, list) and rows:
        return _instances(rows, columns)
    tensors = payload.get("inputs")
    if isinstance(tensors, list) and tensors:
        return _tensors(tensors, columns)
    raise RequestError('a request must have "instances" (v1) or "inputs" (v2) with rows in it')


def _instances(rows: Sequence[Any], columns: Sequence[str]) -> dict[str, list[Any]]:
    if all(isinstance(row, dict) for row in rows):
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in names}
    lists = [row if isinstance(row, list) else [row] for row in rows]
    if len({len(row) for row in lists}) != 1 or not lists[0]:
        raise RequestError("the rows of the request are of different lengths")
    return _named(list(map(list, zip(*lists, strict=True))), columns)


def _tensors(tensors: Sequence[Any], columns: Sequence[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for tensor in tensors:
        name, shape, data = _tensor(tensor)
        width = 1 if len(shape) == 1 else shape[1]
        if width == 1:
            found[name] = data
            continue
        parts = [data[place::width] for place in range(width)]
        found |= _named(
            parts, columns if len(tensors) == 1 else [f"{name}.{i}" for i in range(width)]
        )
    if len({len(values) for values in found.values()}) != 1:
        raise RequestError("the tensors of the request hold different numbers of rows")
    return found


def _named(values: Sequence[list[Any]], columns: Sequence[str]) -> dict[str, list[Any]]:
    names = [columns[i] if i < len(columns) else str(i) for i in range(len(values))]
    return dict(zip(names, values, strict=True))


def _sizes(shape: list[Any]) -> bool:
    return all(type(size) is int and size > 0 for size in shape)


def _tensor(tensor: Any) -> tuple[str, list[int], list[Any]]:
    """Return name, shape (one or two numbers) and flat values."""
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise RequestError("a tensor must be an object with a name")
    name, shape, data = tensor["name"], tensor.get("shape"), tensor.get("data")
    if not isinstance(data, list):
        raise RequestError(f"the tensor {name!r} has no data in JSON; binary ones are not read")
    if not isinstance(shape, list) or not 1 <= len(shape) <= _VECTORS or not _sizes(shape):
        raise RequestError(f"the shape of the tensor {name!r} must be [rows] or [rows, columns]")
    if data and isinstance(data[0], list):
        data = [value for row in data for value in row]
    size = shape[0] * (shape[1] if len(shape) == _VECTORS else 1)
    if len(data) != size:
        raise RequestError(f"the tensor {name!r} holds {len(data)} values, its shape says {size}")
    return name, shape, data


def _answers(payload: Mapping[str, Any]) -> tuple[list[Any], list[list[float]] | None]:
    """Return a label a row, and the scores of each where the response has some."""
    predictions = payload.get("predictions")
    if isinstance(predictions, list):
        probabilities = payload.get("probabilities")
        if isinstance(probabilities, list) and len(probabilities) == len(predictions):
            return predictions, probabilities if _is_vectors(probabilities) else None
        return _labels(predictions)
    outputs = payload.get("outputs")
    if isinstance(outputs, list) and outputs:
        vectors: list[list[float]] | None = None
        labels: list[Any] | None = None
        for output in outputs:
            _, shape, data = _tensor(output)
            if len(shape) == _VECTORS and shape[1] > 1:
                width = shape[1]
                vectors = [data[i : i + width] for i in range(0, len(data), width)]
            elif labels is None:
                labels = data
        return (labels, vectors) if labels is not None else _labels(vectors or [])
    raise RequestError('a response must have "predictions" (v1) or "outputs" (v2)')


def _labels(predictions: list[Any]) -> tuple[list[Any], list[list[float]] | None]:
    """Return scores of classes as the place of the highest, and anything else as it is."""
    if _is_vectors(predictions):
        return [row.index(max(row)) for row in predictions], predictions
    if any(isinstance(value, list | dict) for value in predictions):
        raise RequestError("the predictions must be numbers, texts, booleans, or lists of numbers")
    return predictions, None


def _is_vectors(values: Any) -> bool:
    return (
        isinstance(values, list)
        and bool(values)
        and all(
            isinstance(row, list) and row and all(type(v) in (int, float) for v in row)
            for row in values
        )
    )


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None
