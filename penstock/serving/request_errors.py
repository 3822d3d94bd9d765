"""What a client did wrong, in words that name the field, with the HTTP status that says so."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

# Text that does not end matches to the end, so that no text is looked at twice.
_TEXT_OR_NAN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|NaN', re.DOTALL)


class RequestError(Exception):
    """A request that cannot be answered as it is.

    Args:
        message: What is wrong: the field, the offending value, what is expected.
        status: The HTTP status, a 4xx.
        headers: Further response headers.
    """

    def __init__(
        self, message: str, *, status: int = 400, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        self.message = message
        self.status = status
        self.headers = headers
        super().__init__(message)


def parse_object(body: bytes | memoryview) -> dict[str, Any]:
    """Return the JSON object that `body` is; NaN in it counts as null.

    Raises:
        RequestError: If it is not JSON (saying where), or not an object.
    """
    try:
        value = _loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(f"the body must be a JSON object, not {kind(value)}")
    return value


def _loads(body: bytes | memoryview) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # How Python's own writer, and with it the clients of MLflow and Triton, write a missing
        # number, though it is not JSON.
        if b"NaN" not in bytes(body):
            raise
    return orjson.loads(_TEXT_OR_NAN.sub(_null, bytes(body)))


def _null(found: re.Match[bytes]) -> bytes:
    return b"null" if found[0] == b"NaN" else found[0]


def only_fields(request: Mapping[str, Any], *, required: str, allowed: frozenset[str]) -> None:
    """Refuse a field that is not known, and the absence of the one that is required.

    Raises:
        RequestError: Naming the field.
    """
    if not request.keys() <= allowed:
        unknown = min(request.keys() - allowed)
        known = ", ".join(f'"{field}"' for field in sorted(allowed))
        raise RequestError(f"unknown field {show(unknown)}; known here: {known}")
    if required not in request:
        raise RequestError(f'the field "{required}" is missing')


def kind(value: Any) -> str:
    """Return the type of a JSON value, with its article."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def show(value: Any) -> str:
    """Return a JSON value as JSON, cut to 80 characters; a number that JSON has not as its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        # It may be nested deeper than can be written.
        return kind(value)
    return text if len(text) <= 80 else text[:77] + "..."


def listed(names: Sequence[str]) -> str:
    """Return `column "a"`, or `columns "a", "b" and 3 more`."""
    shown = ", ".join(show(name) for name in names[:10])
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{'column' if len(names) == 1 else 'columns'} {shown}{more}"


def difference(given: Collection[str], expected: Sequence[str], *, where: str) -> str:
    """Return which of the model's columns are missing from what was given, and which are unknown.

    Args:
        given: Names that were given.
        expected: Names of the model's columns.
        where: How an error names the place.
    """
    names = set(given)
    missing = [name for name in expected if name not in names]
    unknown = sorted(names - set(expected))
    problems = []
    if missing:
        problems.append(f"missing {listed(missing)}")
    if unknown:
        problems.append(f"unknown {listed(unknown)}")
    advice = " A value that is not known is sent as null." if missing else ""
    return f"{where}: {' and '.join(problems)}.{advice}"


def check_count(rows: int, *, max_rows: int) -> None:
    """Refuse a request of no row, and one of too many.

    Raises:
        RequestError: 413 for too many rows.
    """
    if rows == 0:
        raise RequestError("the request holds no row")
    if rows > max_rows:
        raise RequestError(f"{rows:,} rows in one request; the limit is {max_rows:,}", status=413)
