"""What Argo's nodes say while KFP 2.17 runs a compiled pipeline, as KFP's API passes them on.

Written after backend/src/v2/compiler/argocompiler and RetrievePodName of kubeflow/pipelines: every
task has a driver node; a container task has a DAG node with an `executor` below it; a retried
executor has numbered attempts; a condition that does not hold is skipped; what comes after a
failure is omitted, which KFP reports as a state without a name. The API `v2beta1` gives neither
pods nor reasons; the workflow, which `v1beta1` gives, has both. KFP 2.17's own settings let Argo
try every template again after an error, so between `ingest` and its `executor` stands `ingest(0)`:
seen on a real one.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from penstock.pipelines.outcomes import ENDINGS

_CONDITION = re.compile(
    r"inputs\.parameter_values\['pipelinechannel--(.+)-Output'\] == (true|false)"
)
_LAUNCHER = "system-container-impl"
_DRIVER, _DAG_DRIVER = "system-container-driver", "system-dag-driver"
_DAG = "system-container-executor"


@dataclass
class Scenario:
    """What happens to the tasks of a run."""

    outputs: dict[str, bool] = field(default_factory=dict)
    """What `validate`, `decide` and `deploy` return; True unless said."""

    fails: tuple[str, ...] = ()
    driver_fails: tuple[str, ...] = ()
    retried: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()

    skipped: tuple[str, ...] = ()
    """Conditions that are skipped without having been looked at, or tasks left out, in silence."""

    logs: dict[str, str] = field(default_factory=dict)
    """Text of the last container of a task, or of a driver."""

    attempts: bool = True
    """Whether every node has its attempts below it, as by KFP 2.17's settings of Argo."""

    gives_workflow: bool = True
    """Whether the API v1beta1 is there; a gateway may not let it through."""

    messages: dict[str, str] = field(default_factory=dict)
    """What Argo says of a failed pod, by task or driver, instead of its exit code."""

    never_starts: bool = False
    """As with a service account that is not there: the first pod cannot be made."""

    hangs_at: str = ""
    """A task that never ends."""


@dataclass
class Node:
    name: str
    template: str
    workflow: str
    path: str
    state: str = "RUNNING"
    children: list[str] = field(default_factory=list)
    log: str = ""
    message: str = ""
    retry: bool = False

    @property
    def hash(self) -> str:
        return str(zlib.crc32(self.path.encode()))

    @property
    def id(self) -> str:
        return f"{self.workflow}-{self.hash}"

    @property
    def pod(self) -> str:
        return f"{self.workflow}-{self.template}-{self.hash}" if self.type == "Pod" else ""

    @property
    def type(self) -> str:
        if self.state in ("SKIPPED", "OMITTED"):
            return "Skipped"
        if self.retry:
            return "Retry"
        return "Pod" if self.template in (_LAUNCHER, _DRIVER, _DAG_DRIVER) else "DAG"

    def status(self) -> dict[str, Any]:
        """Return it as Argo writes it into the workflow."""
        messages = {"Pod": self.message or "main: Error (exit code 1)"}
        failed = messages.get(self.type, f"child '{self.workflow}-1' failed")
        return {
            "id": self.id,
            "name": f"{self.workflow}{self.path}",
            "displayName": self.name,
            "type": self.type,
            "templateName": self.template,
            "phase": self.state.capitalize(),
            **({"message": failed} if self.state == "FAILED" else {}),
            **({"children": self.children} if self.children else {}),
        }


class Workflow:
    """One run, event by event.

    Args:
        name: The workflow's name.
        spec: The pipeline spec, as JSON.
        scenario: What happens.
    """

    def __init__(self, name: str, spec: dict[str, Any], scenario: Scenario) -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.state = "PENDING"
        self.canceled = False
        self._spec = spec
        self._scenario = scenario
        self._events = self._play()

    def advance(self, events: int = 1) -> None:
        """Let so many things happen."""
        for _ in range(events):
            next(self._events, None)

    def terminate(self) -> None:
        for node in self.nodes:
            if node.state == "RUNNING":
                node.state = "FAILED"
        self.state, self.canceled, self._events = "FAILED", True, iter(())

    def _node(self, name: str, template: str, path: str, parent: Node | None = None) -> Node:
        node = Node(name=name, template=template, workflow=self.name, path=f"{path}/{name}")
        self.nodes.append(node)
        if parent is not None:
            parent.children.append(node.id)
        return node

    def manifest(self) -> dict[str, Any]:
        """Return what Argo has of it, as the API v1beta1 gives it."""
        return {
            "metadata": {"name": self.name, "annotations": {}},
            "status": {"nodes": {node.id: node.status() for node in self.nodes}},
        }

    def _attempt(self, node: Node) -> Node:
        if not self._scenario.attempts:
            return node
        node.retry = True
        return self._node(f"{node.name}(0)", node.template, node.path, node)

    def _play(self) -> Iterator[None]:
        self.state = "RUNNING"
        yield
        whole = self._node(self.name, "entrypoint", "")
        driver = self._node("root-driver", _DAG_DRIVER, "")
        yield
        self._drive(driver, not self._scenario.never_starts)
        ok = False
        if not self._scenario.never_starts:
            root = self._node("root", "root", "")
            ok = yield from self._dag(self._spec["root"]["dag"], root)
            root.state = "SUCCEEDED" if ok else "FAILED"
        # The persistence agent writes the run's end down before its tasks'.
        late = [node for node in self.nodes if node.name in ("deploy", "executor")][-2:]
        settled = [(node, node.state) for node in late]
        for node in late:
            node.state = "RUNNING"
        self.state = whole.state = "SUCCEEDED" if ok else "FAILED"
        yield
        for node, state in settled:
            node.state = state
        yield

    def _dag(self, dag: dict[str, Any], parent: Node) -> Any:
        tasks = dag["tasks"]
        after = {n: t for n, t in tasks.items() if "strategy" in t.get("triggerPolicy", {})}
        results: dict[str, bool] = {}
        for name in _ordered({n: t for n, t in tasks.items() if n not in after}):
            if all(results[dep] for dep in tasks[name].get("dependentTasks", ())):
                results[name] = yield from self._task(name, tasks[name], parent)
            else:
                self._node(name, "omitted", parent.path, parent).state = "OMITTED"
                results[name] = False
        for name, task in after.items():
            yield from self._task(name, task, parent)
        return all(results.values())

    def _task(self, name: str, task: dict[str, Any], parent: Node) -> Any:
        scenario = self._scenario
        component = self._spec["components"][task["componentRef"]["name"]]
        if name in scenario.skipped and "dag" not in component:
            return True
        title = task["taskInfo"]["name"]
        if title in scenario.skipped:
            self._node(name, component_template(component), parent.path, parent).state = "SKIPPED"
            return True
        driver = self._node(f"{name}-driver", _DRIVER, parent.path, parent)
        yield
        last = self._drive(driver, name not in scenario.driver_fails)
        if driver.state == "FAILED":
            self._node(name, "omitted", parent.path, parent).state = "OMITTED"
            return False
        node = self._node(name, component_template(component), parent.path, last)
        if not self._holds(task):
            node.state = "SKIPPED"
            return True
        inner = self._attempt(node)
        if "dag" in component:
            ok = yield from self._dag(component["dag"], inner)
        else:
            ok = yield from self._container(name, inner)
        inner.state = node.state = "SUCCEEDED" if ok else "FAILED"
        yield
        return ok

    def _drive(self, driver: Node, ok: bool) -> Node:
        """End a driver, and return its last attempt."""
        last = self._attempt(driver)
        last.state = driver.state = "SUCCEEDED" if ok else "FAILED"
        last.log = self._scenario.logs.get(driver.name, "")
        last.message = self._scenario.messages.get(driver.name, "")
        return last

    def _container(self, name: str, node: Node) -> Any:
        scenario = self._scenario
        executor = self._node("executor", _LAUNCHER, node.path, node)
        if name in scenario.cached:
            executor.state = "SKIPPED"
            return True
        last = self._attempt(executor)
        while name == scenario.hangs_at:
            yield
        ok = name not in scenario.fails and name not in ENDINGS
        if name in scenario.retried:
            if last is not executor:
                self.nodes.remove(last)
                executor.children.clear()
            executor.retry = True
            for attempt in range(2):
                last = self._node(f"executor({attempt})", _LAUNCHER, executor.path, executor)
                last.log = "penstock.errors.ServiceError: an earlier attempt\n"
                yield
                last.state = "SUCCEEDED" if ok and attempt else "FAILED"
        last.log, last.message = scenario.logs.get(name, ""), scenario.messages.get(name, "")
        yield
        last.state = executor.state = "SUCCEEDED" if ok else "FAILED"
        return ok

    def _holds(self, task: dict[str, Any]) -> bool:
        condition = task.get("triggerPolicy", {}).get("condition")
        if condition is None:
            return True
        matched = _CONDITION.fullmatch(condition)
        assert matched, condition
        return self._scenario.outputs.get(matched[1], True) == (matched[2] == "true")


def component_template(component: dict[str, Any]) -> str:
    return "dag" if "dag" in component else _DAG


def _ordered(tasks: dict[str, Any]) -> list[str]:
    done: list[str] = []
    while len(done) < len(tasks):
        done += [
            name
            for name, task in sorted(tasks.items())
            if name not in done and set(task.get("dependentTasks", ())) <= set(done)
        ]
    return done
