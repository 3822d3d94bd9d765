"""What a client did wrong, in words that name the field, with the HTTP status that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson


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


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that `body` is.

    Raises:
        RequestError: If it is not JSON (saying where), or not an object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(f"the body must be a JSON object, not {kind(value)}")
    return value


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
    """Return what a JSON value is, with its article."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def show(value: Any) -> str:
    """Return a JSON value as JSON, cut to 80 characters."""
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
