"""The nodes of a run: how each stands, by Kubeflow's API, and its pods, by Argo's workflow.

KFP reports of a task what Argo reports of its nodes. For a task `deploy` there are a node
`deploy-driver`, which evaluates its inputs, a node `deploy`, and under it `executor`, the
container; a task taken from the cache has a skipped executor. A condition is a node too, with a
driver, and is skipped when it does not hold. KFP 2.17 has Argo try every template again after
an error, and then each of these has its attempts below it: `deploy(0)`, and `executor` under that.

The API `v2beta1` (2.0 to 2.17) gives names, states and times of these nodes, neither their pods nor
why one failed. Both are in the workflow, which `v1beta1` gives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from penstock.pipelines.view import State

_ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_STATES: dict[str, State] = {
    "SUCCEEDED": "done",
    "FAILED": "failed",
    "CANCELED": "failed",
    "RUNNING": "running",
    "PENDING": "running",
}
_PHASES = {"Succeeded": "SUCCEEDED", "Failed": "FAILED", "Error": "FAILED", "Skipped": "SKIPPED"}
_LONGEST_PREFIX = 242  # of a pod's name, as Argo cuts it
_POD_NAMES = "workflows.argoproj.io/pod-name-format"
_UNTOLD = re.compile(r"\w+: Error \(exit code \d+\)")


@dataclass(frozen=True)
class WorkflowNode:
    """One node of a workflow.

    Attributes:
        id: Its id, by which its parents name it.
        name: Its name in the graph: of a task, of its driver, or `executor`.
        state: How it stands, in the words of Kubeflow's API; empty: it is not over.
        pod: The pod's name; empty: it has none.
        message: Why its pod failed, in Kubernetes' or Argo's words; empty: no more than that.
        children: The ids of those below and after it.
    """

    id: str
    name: str
    state: str
    pod: str
    message: str
    children: tuple[str, ...]

    @property
    def attempt(self) -> int:
        """Which try it is, from 0 on; -1: it is none of several."""
        tried = re.search(r"\((\d+)\)$", self.name)
        return int(tried[1]) if tried else -1


def workflow_nodes(manifest: str) -> list[WorkflowNode]:
    """Return the nodes of a workflow.

    Args:
        manifest: The workflow as JSON: `pipeline_runtime.workflow_manifest` of the API `v1beta1`.

    Returns:
        The nodes; none if it is no workflow, or not begun.
    """
    try:
        workflow = json.loads(manifest)
        nodes = workflow["status"]["nodes"].values()
        return [_node(each, workflow["metadata"]) for each in nodes]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _node(node: dict[str, Any], metadata: dict[str, Any]) -> WorkflowNode:
    is_pod = node.get("type") == "Pod"
    # Of others it names the node below that failed, by its id.
    message = node.get("message", "") if is_pod else ""
    return WorkflowNode(
        id=node["id"],
        name=node["displayName"],
        state=_PHASES.get(node.get("phase", ""), ""),
        pod=_pod(node, metadata) if is_pod else "",
        message="" if _UNTOLD.fullmatch(message) else message.removeprefix("main: "),
        children=tuple(node.get("children") or ()),
    )


def _pod(node: dict[str, Any], metadata: dict[str, Any]) -> str:
    """Return the name of a node's pod: workflow, template, and the hash that ends the node's id."""
    if (metadata.get("annotations") or {}).get(_POD_NAMES) == "v1":
        return str(node["id"])
    prefix = f"{metadata['name']}-{node['templateName']}"[:_LONGEST_PREFIX]
    return f"{prefix}-{node['id'].rpartition('-')[2]}"


class Nodes:
    """The nodes of one answer about a run, by the names of tasks.

    Args:
        run: A `V2beta1Run`.
        workflow: Returns the nodes of its workflow; called once, when pods are asked for.
    """

    def __init__(self, run: Any, *, workflow: Callable[[], Sequence[WorkflowNode]]) -> None:
        self.run = run
        self._all = (run.run_details.task_details if run.run_details else None) or []
        self._named = {node.display_name: node for node in self._all}
        self._read = workflow

    @cached_property
    def _workflow(self) -> dict[str, WorkflowNode]:
        return {node.id: node for node in self._read()}

    def state(self, task: str) -> State:
        """Return how a task stands; one that is skipped, or has not come yet, waits."""
        node = self._named.get(task)
        if node is not None and node.state in _STATES:
            return _STATES[node.state]
        driver = self._named.get(f"{task}-driver")
        state = _STATES.get(driver.state, "waiting") if driver is not None else "waiting"
        return "waiting" if state == "done" else state

    def evaluated(self, task: str) -> bool:
        """Return whether a task's driver has looked at its condition."""
        driver = self._named.get(f"{task}-driver")
        return driver is not None and driver.state == "SUCCEEDED"

    def ran(self, task: str) -> bool:
        """Return whether a task is done, and nothing says that its container was skipped."""
        return self.state(task) == "done" and not self.cached(task)

    def cached(self, task: str) -> bool:
        """Return whether a task's container was skipped; without a workflow it is not known."""
        executors = self._executors(task)
        return bool(executors) and all(node.state != "SUCCEEDED" for node in executors)

    def containers(self, task: str) -> list[WorkflowNode]:
        """Return the nodes of a task's pods, the last attempt first."""
        tried = [self._attempts(node) for node in self._executors(task)]
        return [node for attempts in reversed(tried) for node in attempts]

    def failed(self, task: str) -> Iterator[WorkflowNode]:
        """Yield the failed nodes of a task that may say why, the likeliest first."""
        drivers = [self._attempts(node) for node in self._in_workflow(f"{task}-driver")]
        for node in (*self.containers(task), *(node for each in drivers for node in each)):
            if node.state == "FAILED":
                yield node

    def seconds(self, task: str) -> float:
        """Return how long a task took; 0 while it is not over."""
        node = self._named.get(task)
        if node is None or node.state not in _ENDED or not (node.start_time and node.end_time):
            return 0.0
        return float(max(0.0, (node.end_time - node.start_time).total_seconds()))

    def settled(self) -> bool:
        """Return whether no node is under way."""
        return not any(_STATES.get(node.state) == "running" for node in self._all)

    def canceled(self) -> bool:
        """Return whether somebody terminated the run; Argo calls that a failure."""
        states = [entry.state for entry in self.run.state_history or []]
        return bool({"CANCELED", "CANCELING"} & {self.run.state, *states})

    def _executors(self, task: str) -> list[WorkflowNode]:
        """Return the nodes `executor` of a task, the last attempt at the task last."""
        tried = [attempt for node in self._in_workflow(task) for attempt in self._attempts(node)]
        below = [child for attempt in reversed(tried) for child in self._children(attempt)]
        return [child for child in below if child.name == "executor"]

    def _attempts(self, node: WorkflowNode) -> list[WorkflowNode]:
        """Return the attempts at a node, the last first, or the node itself if it has none."""
        children = self._children(node)
        tried = [each for each in children if each.name == f"{node.name}({each.attempt})"]
        return sorted(tried, key=lambda each: -each.attempt) or [node]

    def _in_workflow(self, name: str) -> list[WorkflowNode]:
        return [node for node in self._workflow.values() if node.name == name]

    def _children(self, node: WorkflowNode) -> list[WorkflowNode]:
        return [self._workflow[each] for each in node.children if each in self._workflow]
