"""One entry of feedback: the row that it is about, and the value that an experiment counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from penstock.serving.request_body import MAX_ROW
from penstock.serving.request_errors import RequestError, kind, show
from penstock.serving.request_headers import MAX_ID_LENGTH


def check_value(value: Any, where: str) -> None:
    """Return if the value of an entry, the KPI of an experiment, can be counted.

    Raises:
        RequestError: If it is no finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RequestError(f"{where}.value must be a finite number, got {show(value)}")


def request_and_row(entry: Mapping[str, Any], where: str) -> tuple[str, int]:
    """Return which row of which request an entry of feedback is about.

    Raises:
        RequestError: Naming the field that does not fit.
    """
    if "request_id" not in entry:
        raise RequestError(f'{where}: the field "request_id" is missing')
    request_id, row = entry["request_id"], entry.get("row", 0)
    if not isinstance(request_id, str):
        raise RequestError(f"{where}.request_id must be text, not {kind(request_id)}")
    if not request_id:
        raise RequestError(f"{where}.request_id is empty, and no request has such an id")
    if len(request_id) > MAX_ID_LENGTH:
        raise RequestError(f"{where}.request_id is longer than any id: {MAX_ID_LENGTH} characters")
    # 0.0 is as whole a number in JSON as 0.
    if (
        isinstance(row, bool)
        or not isinstance(row, int | float)
        or not 0 <= row < MAX_ROW
        or row % 1
    ):
        raise RequestError(f"{where}.row must be a row's index, counted from 0, got {show(row)}")
    return request_id, int(row)
