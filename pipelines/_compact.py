"""A compiled pipeline without what says nothing to its reader or to Kubeflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def compact(spec: dict[str, Any], platform: dict[str, Any]) -> None:
    """Leave out descriptions that nobody sees, inputs that nothing reads, repeated components.

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
