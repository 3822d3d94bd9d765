"""A skops file whose bytes say what it holds, and nothing of the process that wrote it.

skops numbers objects by their addresses, names what holds bytes at random, and stamps each member
with the time. The same object, written twice, would have two digests.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

_SCHEMA = "schema.json"
_LEAF = "JsonNode"
"""A number, text, truth value or None: whether two places share one is a matter of chance."""


def write(fitted: Any, path: Path) -> None:
    """Write a fitted object as a skops file; equal objects give equal bytes.

    A set of texts is the exception: its order is the process's.

    Args:
        fitted: What skops can write.
        path: The file, which need not exist.

    Example:
        >>> import tempfile
        >>> from sklearn.preprocessing import StandardScaler
        >>> fitted = StandardScaler().fit([[1.0], [2.0]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     one, other = Path(folder, "one"), Path(folder, "other")
        ...     write(fitted, one)
        ...     write(StandardScaler().fit([[1.0], [2.0]]), other)
        ...     one.read_bytes() == other.read_bytes()
        True
    """
    from skops.io import dump

    dump(fitted, path)
    make_repeatable(path)


def make_repeatable(path: Path) -> None:
    """Write a skops file again: objects and members numbered as they appear, without times.

    Args:
        path: A whole skops file. It loads to the same object afterwards.
    """
    part = path.with_name(f"{path.name}.part")
    with zipfile.ZipFile(path) as found:
        schema = json.loads(found.read(_SCHEMA))
        members = _Numbered().rename(schema)
        with zipfile.ZipFile(part, "w") as made:
            for before, name in members.items():
                made.writestr(zipfile.ZipInfo(name), found.read(before))
            made.writestr(zipfile.ZipInfo(_SCHEMA), _dumps(schema))
    part.replace(path)


def _dumps(schema: Any) -> str:
    # Without line breaks, as skops writes them, it is a fraction of the size, and of the time.
    return json.dumps(schema, separators=(",", ":"))


class _Numbered:
    """Gives objects and members of one schema numbers in the order of their appearance."""

    def __init__(self) -> None:
        self.objects: dict[int, int] = {}
        self.members: dict[str, str] = {}
        self.last = 0

    def rename(self, node: Any) -> dict[str, str]:
        """Number what a schema holds, in place; return each member's name before and after."""
        waiting = [node]
        while waiting:
            node = waiting.pop()
            if isinstance(node, dict):
                self._number(node)
                waiting += reversed(node.values())
            elif isinstance(node, list):
                waiting += reversed(node)
        return self.members

    def _number(self, node: dict[str, Any]) -> None:
        # What a dictionary of the object's own has under these names is a node, hence no text.
        if isinstance(node.get("__id__"), int):
            if node.get("__loader__") == _LEAF or node["__id__"] not in self.objects:
                self.last += 1
                self.objects[node["__id__"]] = self.last
                node["__id__"] = self.last
            else:
                node["__id__"] = self.objects[node["__id__"]]
        if isinstance(node.get("file"), str):
            before = node["file"]
            name = f"{len(self.members)}{Path(before).suffix}"
            node["file"] = self.members.setdefault(before, name)
