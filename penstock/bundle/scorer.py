"""Scores rows by a model in this folder; needs onnxruntime and numpy alone, Python 3.9 or later.

    python scorer.py < rows.jsonl            one JSON object a line, an answer a line

    from scorer import Model
    Model("folder").predict([{"age": 30, "job": "pilot"}])

Values mean what they mean to the model's server; one that it would refuse raises ValueError.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]

_MINUS, _SPACES, _LEAST = "\u2212", "\u0020\u00a0\u202f", -(2**63)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)  # noqa: UP017 - Python 3.9 has no dt.UTC
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[ T]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?)?"
    r"(?: ?([Zz]|UTC|([+-])([0-9]{1,2})(?::?([0-9]{2}))?))?)?"
)


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
        feeds: dict[str, dict[int, np.ndarray]] = {}
        for at, row in enumerate(rows):
            if not isinstance(row, dict) or set(row) != names:
                raise ValueError(f"row {at}: the columns must be {sorted(names)}")
        for column in self.rules["columns"]:
            values = [_value(row[column["name"]], column, at) for at, row in enumerate(rows)]
            feeds.setdefault(column["input"], {})[column["index"]] = _array(values, column["kind"])
        given = {
            name: np.stack([arrays[index] for index in sorted(arrays)]).T
            for name, arrays in feeds.items()
        }
        return self._answer(self._session.run(["scores"], given)[0])

    def _answer(self, scores: np.ndarray) -> dict[str, Any]:
        classes = self.rules["classes"]
        if self.rules["task"] == "regression":
            return {"predictions": scores.tolist()}
        if self.rules["task"] == "multiclass":
            labels = [classes[index] for index in scores.argmax(axis=1).tolist()]
            return {"predictions": labels, "probabilities": scores.tolist()}
        positive, threshold = self.rules["positive"], self.rules["threshold"]
        last = classes[1] == positive
        other = classes[0] if last else classes[1]
        labels = [positive if score >= threshold else other for score in scores.tolist()]
        pairs = [[1 - p, p] if last else [p, 1 - p] for p in scores.tolist()]
        return {"predictions": labels, "probabilities": pairs}


def _value(value: Any, column: dict[str, Any], at: int) -> Any:
    """Return what a JSON value means in a column: None where it is missing."""
    kind = column["type"]
    try:
        if value is None or value != value:
            return None
        if not isinstance(value, str):
            return _plain(value, kind)
        if column["texts"]:
            value = value.strip(" \t") if column["strip"] else value
            if value in column["missing"] or (not value and kind != "string"):
                return None
        if kind == "string":
            return value
        if kind == "datetime":
            return _moment(value, column["time"])
        if not column["texts"]:
            raise ValueError(value)
        return _text(value, column)
    except (ValueError, OverflowError, KeyError):
        where = f"row {at}, column {column['name']!r}"
        raise ValueError(f"{where}: {value!r:.80} is no {kind}") from None


def _plain(value: Any, kind: str) -> float:
    if kind == "boolean" and isinstance(value, (int, float)) and value in (0, 1):
        return float(value)
    if kind in ("string", "datetime", "boolean") or isinstance(value, (bool, list, dict)):
        raise ValueError(value)
    if kind == "integer" and (value != math.trunc(value) or not _LEAST <= value < -_LEAST):
        raise ValueError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _text(text: str, column: dict[str, Any]) -> float | None:
    """Return a text that stands for a number or a boolean."""
    if column["type"] == "boolean":
        return float(column["booleans"][text])
    if not re.match(column["number"], text):
        raise ValueError(text)
    text = text.replace(_MINUS, "-")
    if column["affix"]:
        text = text.replace(column["affix"], "", 1).strip(_SPACES)
        text = f"-{text[1:-1].strip(_SPACES)}" if text.startswith("(") else text
    spaces = f"[{_SPACES}]" if column["thousands"] == " " else re.escape(column["thousands"])
    text = re.sub(spaces, "", text) if spaces else text
    text = text.replace(column["decimal"], ".")
    if column["type"] == "integer":
        return _plain(int(text), "integer")
    number = float(text)
    return None if math.isnan(number) else _plain(number, "number")


def _moment(text: str, form: str) -> int:
    """Return a time in microseconds since 1970 UTC; one without a zone is UTC."""
    if form:
        try:
            moment = dt.datetime.strptime(text, form)
            zone = moment.tzinfo or _EPOCH.tzinfo
            return (moment.replace(tzinfo=zone) - _EPOCH) // dt.timedelta(microseconds=1)
        except ValueError:
            pass
    found = _ISO.fullmatch(text)
    if found is None:
        raise ValueError(text)
    parts = [int(part or 0) for part in found.groups()[:6]]
    micros = int((found[7] or "")[:6].ljust(6, "0"))
    year, month, day, hour, minute, second = parts
    moment = dt.datetime(year, month, day, hour, minute, second, micros, _EPOCH.tzinfo)
    if found[9]:
        hours, minutes = int(found[10]), int(found[11] or 0)
        if hours > 23 or minutes > 59:
            raise ValueError(text)
        away = dt.timedelta(hours=hours, minutes=minutes)
        moment += -away if found[9] == "+" else away
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


def _array(values: list[Any], kind: str) -> np.ndarray:
    if kind == "text":
        texts = ["(missing)" if value is None else value for value in values]
        # Half a character is no UTF-8; no level of a model holds one.
        texts = [text.encode("utf-8", "backslashreplace").decode() for text in texts]
        return np.array(texts, dtype=object)
    if kind == "time":
        return np.array([_LEAST if value is None else value for value in values], dtype=np.int64)
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


if __name__ == "__main__":
    model = Model(Path(__file__).parent)
    for number, line in enumerate(sys.stdin, start=1):
        if line.strip():
            try:
                answer = model.predict([json.loads(line)])
            except ValueError as error:
                sys.exit(f"line {number}: {error}")
            print(json.dumps(answer, ensure_ascii=False), flush=True)  # noqa: T201
