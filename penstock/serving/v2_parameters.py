"""The `parameters` of a v2 request, of its inputs and of its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.serving.request_errors import RequestError, kind, show

# Triton's extensions that ask for another answer, or for data from elsewhere: to ignore one would
# answer something else than was requested.
_CHANGE_THE_MEANING = ("classification", "shared_memory_region")


def parameters_of(holder: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return the `parameters` of a request, an input or an output; null counts as none.

    Which ones a server knows is its own matter, so one that is not known here is let pass.

    Raises:
        RequestError: If they are no object, or hold one that would change the meaning.
    """
    found = holder.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise RequestError(f"{where}: parameters must be an object, not {kind(found)}")
    for name in _CHANGE_THE_MEANING:
        if found.get(name):
            raise RequestError(f"{where}: the parameter {show(name)} is not supported here")
    return found


def flag(parameters: Mapping[str, Any], name: str, *, where: str) -> bool | None:
    """Return a parameter that is true, false or, by null or its absence, not given.

    Raises:
        RequestError: If it is something else.
    """
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(f"{where}: {name} must be true or false, got {show(value)}")
    return value


def check_content(content: Any, contents: Sequence[str], *, where: str) -> None:
    """Refuse a `content_type` that does not fit.

    Raises:
        RequestError: Naming those that do.
    """
    if content is not None and content not in contents:
        known = " or ".join(map(show, contents)) or "left out"
        raise RequestError(
            f"{where}: content_type {show(content)} does not fit here; it may be {known}"
        )
