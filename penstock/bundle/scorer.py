"""Scores rows by a model in this folder; needs onnxruntime and numpy alone, Python 3.10 or later.

    python scorer.py < rows.jsonl            one JSON object a line, an answer a line

    from scorer import Model
    Model("folder").predict([{"age": 30, "job": "pilot"}])

Values mean what they mean to the model's server; one that it would refuse raises ValueError.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]

_EPOCH, _LEAST = dt.datetime(1970, 1, 1), -(2**63)
_KINDS = {"number": (float, math.nan), "time": (np.int64, _LEAST), "text": (object, "(missing)")}


class Model:
    """A model in a folder: `model.onnx` and `rules.json`."""

    def __init__(self, folder: str | Path = ".") -> None:
        self.rules = json.loads((Path(folder) / "rules.json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(Path(folder) / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return labels, and of a classification probabilities in the order of the classes."""
        names = {column["name"] for column in self.rules["columns"]}
        for at, row in enumerate(rows):
            if not isinstance(row, dict) or set(row) != names:
                raise ValueError(f"row {at}: the columns must be {sorted(names)}")
        feeds: dict[str, list[Any]] = {}
        for column in self.rules["columns"]:
            values = _array([row[column["name"]] for row in rows], column)
            feeds.setdefault(column["input"], []).append(values)
        given = {name: np.stack(arrays).T for name, arrays in feeds.items()}
        scores = self._session.run(["scores"], given)[0]
        if self.rules["task"] == "regression":
            return {"predictions": scores.tolist()}
        places = scores.argmax(axis=-1)
        if self.rules["task"] == "binary":
            positive = self.rules["classes"].index(self.rules["positive"])
            places = np.where(scores >= self.rules["threshold"], positive, 1 - positive)
            pair = (1 - scores, scores) if positive else (scores, 1 - scores)
            scores = np.stack(pair, axis=1)
        labels = [self.rules["classes"][place] for place in places.tolist()]
        return {"predictions": labels, "probabilities": scores.tolist()}


def _array(values: list[Any], column: dict[str, Any]) -> np.ndarray:
    """Return what values mean in a column, as the graph takes them."""
    form, missing = _KINDS[column["kind"]]
    if column["type"] == "number" and set(map(type, values)) == {float}:
        array = np.array(values)
        if np.isfinite(array).all():
            return array
    texts: dict[str, Any] = {}
    found: list[Any] = []
    for at, value in enumerate(values):
        try:
            if not isinstance(value, str):
                meant = _plain(value, column["type"])
            elif value not in texts:
                meant = texts[value] = _text(value, column)
            else:
                meant = texts[value]
        except (ValueError, OverflowError):
            said = f"{value!r:.80} is no {column['type']}"
            raise ValueError(f"row {at}, column {column['name']!r}: {said}") from None
        found.append(missing if meant is None else meant)
    return np.array(found, dtype=form)


def _plain(value: Any, kind: str) -> float | None:
    """Return a value that is no text: None where it is missing."""
    if value is None or value != value:
        return None
    if kind == "boolean" and isinstance(value, (int, float)) and value in (0, 1):
        return float(value)
    if kind not in ("integer", "number") or isinstance(value, (bool, list, dict)):
        raise ValueError(value)
    whole = kind == "number" or (value == math.trunc(value) and _LEAST <= value < -_LEAST)
    if not whole or not math.isfinite(float(value)):
        raise ValueError(value)
    return float(value)


def _text(text: str, column: dict[str, Any]) -> Any:
    """Return what a text stands for: None where it is missing."""
    text = text.strip(column["strip"])
    if text in column["words"]:
        return column["words"][text]
    if column["type"] == "string":
        # Half a character is no UTF-8; no level of a model holds one.
        return text.encode("utf-8", "backslashreplace").decode()
    if column["type"] == "datetime":
        return _moment(text, column)
    if not re.match(column["number"], text):
        raise ValueError(text)
    for pattern, put in column["rewrite"]:
        text = re.sub(pattern, put, text)
    return _plain(int(text) if column["type"] == "integer" else float(text), column["type"])


def _moment(text: str, column: dict[str, Any]) -> int:
    """Return a time in microseconds since 1970 UTC; one without a zone is UTC."""
    for form in column["forms"]:
        with contextlib.suppress(ValueError):
            moment = dt.datetime.strptime(text, form)
            return _micros(moment.replace(tzinfo=None), moment.utcoffset() or dt.timedelta())
    found = re.fullmatch(column["iso"], text)
    if not found:
        raise ValueError(text)
    *parts, fraction, _, sign, hours, minutes = found.groups("0")
    numbers = [*map(int, parts), int(fraction[:6].ljust(6, "0"))]
    away = dt.timedelta(hours=int(hours), minutes=int(minutes))
    return _micros(dt.datetime(*numbers), -away if sign == "-" else away)  # type: ignore[arg-type]


def _micros(moment: dt.datetime, away: dt.timedelta) -> int:
    return (moment - away - _EPOCH) // dt.timedelta(microseconds=1)


if __name__ == "__main__":
    model = Model(Path(__file__).parent)
    for number, line in enumerate(filter(str.strip, sys.stdin), start=1):
        try:
            print(json.dumps(model.predict([json.loads(line)]), ensure_ascii=False), flush=True)  # noqa: T201
        except ValueError as error:
            sys.exit(f"line {number}: {error}")
