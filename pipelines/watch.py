"""A run on Kubeflow, followed to its end, and how it ended.

KFP reports of a task what Argo reports of its nodes. For a task `deploy` there are a node
`deploy-driver`, which evaluates its inputs, a node `deploy`, and under it `executor`, the
container; a task taken from the cache has a skipped executor. A condition is a node too, with a
driver, and is skipped when it does not hold. KFP 2.17 has Argo try every template again after
an error, and then each of these has its attempts below it: `deploy(0)`, and `executor` under that.
A real 2.17.0 was seen to name no pods: then a task's container, and so its log, is not found.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from penstock.common.progress import MARK
from penstock.errors import ServiceError
from penstock.pipelines.kubeflow_client import Patience, message_of
from penstock.pipelines.outcomes import ENDINGS, TITLES
from penstock.pipelines.run import NOTIFY, STEPS
from penstock.pipelines.view import RunView, State, raised_in
from penstock.records.run_end import Outcome

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.pipelines.submit import Submission

_ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_STATES: dict[str, State] = {
    "SUCCEEDED": "done",
    "FAILED": "failed",
    "CANCELED": "failed",
    "RUNNING": "running",
    "PENDING": "running",
}
_LATE = 5  # polls: Kubeflow writes a run's end down before its tasks'
_LOG_SECONDS = (5, 10)  # to connect, to answer: nobody waits for a log
_TAIL = 1 << 16  # bytes
_PIECES = 512  # 32 MiB: more is not worth the wait for one line


class Watch:
    """Follows one run.

    Args:
        submission: The run.
        client: What `connect` returned.
        patience: Repeats requests; it decides which outages are survived.
        interval: Seconds between two polls.

    Attributes:
        notified: Whether the run has ended and has notified people itself.
    """

    def __init__(
        self,
        submission: Submission,
        *,
        client: Any,
        patience: Patience,
        interval: float = 5.0,
    ) -> None:
        self._submission = submission
        self._client = client
        self._patience = patience
        self._interval = interval
        self.notified = False

    def to_end(self, console: Console, *, timeout: float | None = None) -> tuple[Outcome, str]:
        """Draw the run until it ends.

        Args:
            console: Where to draw.
            timeout: Seconds to wait at most; None waits for good.

        Returns:
            The outcome and its reason in words.

        Raises:
            ServiceError: If the run vanishes, the time is up, or the server stays away.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        polls = 0
        with RunView(console, steps=STEPS, quiet=(NOTIFY,), endings=TITLES) as view:
            while True:
                run = self._patience.request(self._look)
                nodes = Nodes(run)
                self._draw(nodes, view)
                if run.state in _ENDED:
                    polls += 1
                    if nodes.settled() or polls > _LATE:
                        self.notified = nodes.ran(NOTIFY)
                        return self._outcome(nodes)
                if deadline is not None and time.monotonic() >= deadline:
                    raise ServiceError(
                        f"the run has not ended after {timeout:g} s; it continues",
                        where=self._submission.link,
                    )
                time.sleep(self._interval)

    def _look(self) -> Any:
        from kfp_server_api import ApiException

        try:
            run = self._client.get_run(self._submission.run)
        except ApiException as error:
            if error.status == 404 and message_of(error):
                raise ServiceError(
                    "the run does not exist any more: it was deleted, or the server lost it",
                    where=self._submission.link,
                ) from None
            raise
        if run.run_id is None:  # a page to sign in, with status 200
            raise ApiException(status=401, reason="not the API")
        return run

    def _draw(self, nodes: Nodes, view: RunView) -> None:
        drawn = {step.name: step.state for step in view.steps}
        for name in (*STEPS, NOTIFY, *ENDINGS):
            state = nodes.state(name)
            if state == "waiting" or drawn.get(name) == state:
                continue
            figure = ""
            if state == "failed":
                figure = self._reason(nodes, name) or "see its log in Kubeflow"
            elif state == "done":
                figure = "from the cache" if nodes.cached(name) else self._figure(nodes, name)
            view.see(name, state=state, seconds=nodes.seconds(name), figure=figure)

    def _outcome(self, nodes: Nodes) -> tuple[Outcome, str]:
        for name, (outcome, _, words) in ENDINGS.items():
            if nodes.state(name) == "failed":
                return outcome, self._reason(nodes, name) or f"{words}; see its log in Kubeflow"
        if nodes.canceled():
            return "failed", "The run was terminated"
        failed = next((name for name in (*STEPS, NOTIFY) if nodes.state(name) == "failed"), None)
        if failed is not None:
            title = failed.replace("-", " ").capitalize()
            reason = self._reason(nodes, failed) or "see its log in Kubeflow"
            return "failed", f"{title} failed: {reason}"
        if nodes.run.state != "SUCCEEDED":
            return "failed", self._before_any_step(nodes)
        if not nodes.ran("deploy"):
            return "failed", "Kubeflow reports success, but deployed nothing: a gate was skipped"
        unseen = [*_unevaluated(nodes, self._submission.package.spec)]
        if unseen:
            named = " and ".join(repr(name) for name in unseen)
            return "failed", f"Kubeflow reports success, but never came to {named}"
        figure = self._figure(nodes, "deploy")
        return "released", figure or "Every gate was passed and the version was deployed"

    def _before_any_step(self, nodes: Nodes) -> str:
        message = _message(nodes.run)
        if message:
            return message
        if any(nodes.state(name) != "waiting" for name in STEPS):
            return "Kubeflow reports a failure, but no step failed; see the run"
        account = self._submission.account or "that Kubeflow sets"
        return (
            f"Kubeflow could not start the first step: look whether the service account {account} "
            "is there and may run pods"
        )

    def _reason(self, nodes: Nodes, name: str) -> str:
        for node in nodes.failed(name):
            message = _message(node)
            if message:
                return message
            for line in reversed(self._log(node)):
                if raised := raised_in(line):
                    return raised
        return ""

    def _figure(self, nodes: Nodes, name: str) -> str:
        for node in nodes.containers(name):
            for line in reversed(self._log(node)):
                if MARK in line:
                    return line.split(MARK, 1)[1]
        return ""

    def _log(self, node: Any) -> list[str]:
        """Return the end of a pod's log, or nothing: the API server has it, Kubeflow's UI not."""
        if not node.pod_name:
            return []
        try:
            answer = self._client._run_api.api_client.call_api(
                "/apis/v1alpha1/runs/{run}/nodes/{node}/log",
                "GET",
                path_params={"run": self._submission.run, "node": node.pod_name},
                auth_settings=["Bearer"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=_LOG_SECONDS,
            )
            text, pieces = b"", 0
            for piece in answer.stream(_TAIL):
                text, pieces = (text + piece)[-_TAIL:], pieces + 1
                if pieces > _PIECES:
                    return []
        except Exception:  # whatever is wrong with a log, the run's state is what counts
            return []
        return text.decode(errors="replace").splitlines()


class Nodes:
    """The nodes of one answer about a run, by the names of tasks.

    Args:
        run: A `V2beta1Run`.
    """

    def __init__(self, run: Any) -> None:
        self.run = run
        details = (run.run_details.task_details if run.run_details else None) or []
        self._named = {node.display_name: node for node in details}
        # Children are named by node, nodes by pod; both end in the same hash.
        self._hashed = {_hash(node.pod_name): node for node in details if node.pod_name}
        self._all = details

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
        """Return whether a task's container was skipped; where no pod is named, it is not known."""
        return any(node.state != "SUCCEEDED" for node in self._executors(task))

    def containers(self, task: str) -> list[Any]:
        """Return the nodes of a task's attempts, the last first."""
        found: list[Any] = []
        for node in self._executors(task):
            found += [child for child in self._children(node) if "(" in child.display_name] or [
                node
            ]
        return sorted(found, key=lambda node: node.display_name, reverse=True)

    def failed(self, task: str) -> list[Any]:
        """Return the failed nodes of a task that may say why, the likeliest first."""
        nodes = [*self.containers(task), self._named.get(task), self._named.get(f"{task}-driver")]
        return [node for node in nodes if node is not None and node.state == "FAILED"]

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

    def _executors(self, task: str) -> list[Any]:
        node = self._named.get(task)
        children = [] if node is None else self._children(node)
        for attempt in [each for each in children if each.display_name.startswith(f"{task}(")]:
            children += self._children(attempt)
        return [child for child in children if child.display_name == "executor"]

    def _children(self, node: Any) -> list[Any]:
        hashes = [_hash(child.pod_name or child.task_id) for child in node.child_tasks or []]
        return [self._hashed[each] for each in hashes if each in self._hashed]


def _hash(pod: str | None) -> str:
    return (pod or "").rpartition("-")[2]


def _message(node: Any) -> str:
    """Return the error that a run or task carries; KFP 2.16 and 2.17 leave most of them empty."""
    errors = [node.error, *(entry.error for entry in reversed(node.state_history or []))]
    return next((error.message for error in errors if error is not None and error.message), "")


def _unevaluated(nodes: Nodes, spec: dict[str, Any]) -> Iterator[str]:
    """Yield the titles of conditions that a released run must have looked at, and did not."""
    for component in (spec["root"], *spec["components"].values()):
        for name, task in component.get("dag", {}).get("tasks", {}).items():
            if "condition" in task.get("triggerPolicy", {}) and not nodes.evaluated(name):
                yield task["taskInfo"]["name"]
