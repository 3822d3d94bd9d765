"""A compiled pipeline as YAML: what fits on a line stands on one, a text of several lines as it is.

kfp gives every name and value a line of its own, most of which is indentation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

WIDTH = 200

_UNBROKEN = 1 << 20
_Emitter: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def as_yaml(documents: Iterable[Any]) -> str:
    """Return documents as YAML, keys sorted.

    Args:
        documents: Each of what JSON has.
    """
    return str(yaml.dump_all(documents, Dumper=_Dumper, width=_UNBROKEN))


class _Dumper(_Emitter):  # type: ignore[misc]
    def serialize(self, node: yaml.Node) -> None:
        _lay_out(node, indent=0, used=0)
        super().serialize(node)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(dumper: _Dumper, value: str) -> Any:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _lay_out(node: yaml.Node, *, indent: int, used: int) -> None:
    """Put every collection that fits behind its key on one line."""
    if not isinstance(node, yaml.CollectionNode):
        return
    node.flow_style = indent + used + _length(node) <= WIDTH
    for key, value in _parts(node):
        _lay_out(value, indent=indent + 2, used=0 if node.flow_style else key)


def _length(node: yaml.Node) -> int:
    """Return the length of a node on one line; a text of several lines fits on none."""
    if isinstance(node, yaml.ScalarNode):
        return _UNBROKEN if "\n" in node.value else len(node.value) + 2
    return 2 + sum(key + _length(value) + 2 for key, value in _parts(node))


def _parts(node: yaml.Node) -> Iterable[tuple[int, yaml.Node]]:
    """Yield what a collection holds, each with the length of its key."""
    if isinstance(node, yaml.MappingNode):
        return [(len(key.value) + 2, value) for key, value in node.value]
    return [(0, value) for value in node.value]
