"""A compiled pipeline as short YAML: without what nobody reads, and several values on a line.

kfp gives every name and value a line of its own, most of which is indentation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

WIDTH = 500

_UNBROKEN = 1 << 20
_Emitter: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def compact(spec: dict[str, Any], platform: dict[str, Any]) -> None:
    """Leave out hidden descriptions, inputs that nothing reads, and repeated components.

    It changes what it is given.

    Args:
        spec: A `PipelineSpec`, as JSON has it.
        platform: Its `PlatformSpec`; empty if there is none.
    """
    for component in spec["components"].values():
        # Of what is inside a pipeline Kubeflow shows names and types alone.
        for inputs in component.get("inputDefinitions", {}).values():
            for one in inputs.values():
                one.pop("description", None)
    while _leave_out_unread(spec):
        pass  # What a branch does not read any more, the one around it need not hand on.
    _share(spec, platform)


def as_yaml(documents: Iterable[Any]) -> str:
    """Return documents as YAML, keys sorted.

    Args:
        documents: Each of what JSON has.
    """
    return str(yaml.dump_all(documents, Dumper=_Dumper, width=_UNBROKEN))


def _leave_out_unread(spec: dict[str, Any]) -> int:
    """Leave out what branches are handed and do not read, and return how much that was.

    kfp hands to each branch the values that decide on all branches around it.
    """
    unread = [
        (task, group, name)
        for task in _tasks(spec)
        for group, name in _unread(task, spec["components"][task["componentRef"]["name"]])
    ]
    for task, group, name in unread:
        del task["inputs"][group][name]
        del spec["components"][task["componentRef"]["name"]]["inputDefinitions"][group][name]
    return len(unread)


def _unread(task: dict[str, Any], component: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "dag" not in component:
        return
    read = {
        source.get("componentInputParameter") or source.get("componentInputArtifact")
        for inner in component["dag"]["tasks"].values()
        for sources in inner.get("inputs", {}).values()
        for source in sources.values()
    }
    condition = task.get("triggerPolicy", {}).get("condition", "")
    for group, definitions in component.get("inputDefinitions", {}).items():
        for name in definitions:
            if name not in read and f"'{name}'" not in condition:
                yield group, name


def _share(spec: dict[str, Any], platform: dict[str, Any]) -> None:
    """Let tasks that run the same in the same way name one component, as Kubeflow allows.

    kfp compiles one for each task.
    """
    components, executors = spec["components"], spec["deploymentSpec"]["executors"]
    settings = [
        one["deploymentSpec"]["executors"] for one in platform.get("platforms", {}).values()
    ]
    first: dict[str, str] = {}
    for name in sorted(components):
        label = components[name].get("executorLabel")
        if label is None:
            continue
        alike = [
            {**components[name], "executorLabel": ""},
            executors[label],
            *(one.get(label) for one in settings),
        ]
        kept = first.setdefault(json.dumps(alike, sort_keys=True), name)
        if kept != name:
            _rename(spec, name, kept)
            del components[name]
            for table in (executors, *settings):
                table.pop(label, None)


def _rename(spec: dict[str, Any], name: str, kept: str) -> None:
    for task in _tasks(spec):
        if task["componentRef"]["name"] == name:
            task["componentRef"]["name"] = kept


def _tasks(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for component in (spec["root"], *spec["components"].values()):
        yield from component.get("dag", {}).get("tasks", {}).values()


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
