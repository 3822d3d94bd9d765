"""YAML that people write, read strictly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from penstock.errors import InputError, UsageError

if TYPE_CHECKING:
    from yaml import SafeLoader as _Loader
else:
    # The one in C, where there is one, takes a tenth of the time.
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_BOOL = "tag:yaml.org,2002:bool"


class _StrictLoader(_Loader):
    """YAML in which a key given twice is an error, not a silent choice of the last.

    Only true and false are booleans, as in YAML 1.2: in YAML 1.1 the field `on` would be `true`,
    and so would the class `yes`.
    """


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is given twice", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    _BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_value(text: str, *, where: str) -> Any:
    """Return what a text says as YAML.

    Args:
        text: For example `5`, `[linear]` or `{at_least: 0.8}`; only true and false are booleans.
        where: What to call it in an error.

    Raises:
        UsageError: If it is not YAML.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise UsageError(f"not valid YAML: {_message(error)}", where=where) from error


def _message(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """Return what is wrong and where, without the line itself: half a password does not look it."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark or error.context_mark
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    message = ", ".join(filter(None, (error.context, error.problem)))
    return f"{' '.join(message.split())}{place}"


def read_mapping(path: Path, *, what: str, remedy: str = "") -> dict[str, Any]:
    """Return the fields that a YAML file holds.

    Args:
        path: The file.
        what: What it is called in an error, for example `project file`.
        remedy: What to do if it cannot be read.

    Raises:
        InputError: If the file is absent, not YAML, not a mapping, or gives a key twice.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506
    except OSError as error:
        raise InputError(
            f"the {what} cannot be read: {error.strerror}", where=str(path), remedy=remedy
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"not valid YAML: {_message(error)}", where=str(path)) from error
    if not isinstance(raw, dict):
        raise InputError(f"a {what} is a mapping of fields", where=str(path))
    return raw
