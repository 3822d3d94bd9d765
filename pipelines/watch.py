"""A run on Kubeflow, followed to its end, and how it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from penstock.common.progress import MARK
from penstock.errors import ServiceError
from penstock.pipelines.kubeflow_client import Patience, message_of
from penstock.pipelines.outcomes import ENDINGS, TITLES
from penstock.pipelines.run import NOTIFY, STEPS
from penstock.pipelines.view import RunView, fatal_in, raised_in
from penstock.pipelines.workflow_nodes import Nodes, WorkflowNode, workflow_nodes
from penstock.records.run_end import Outcome

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.pipelines.submit import Submission

_ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_LATE = 5  # polls: Kubeflow writes a run's end down before its tasks'
_DETAIL_SECONDS = (5, 10)  # to connect, to answer: nobody waits for a log or a reason
_PIECE = 1 << 16  # bytes
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
                nodes = Nodes(run, workflow=self._workflow)
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
            return "failed", self._without_a_failed_step(nodes)
        if not nodes.ran("deploy"):
            return "failed", "Kubeflow reports success, but deployed nothing: a gate was skipped"
        unseen = [*_unevaluated(nodes, self._submission.package.spec)]
        if unseen:
            named = " and ".join(repr(name) for name in unseen)
            return "failed", f"Kubeflow reports success, but never came to {named}"
        figure = self._figure(nodes, "deploy")
        return "released", figure or "Every gate was passed and the version was deployed"

    def _without_a_failed_step(self, nodes: Nodes) -> str:
        if message := _message(nodes.run):
            return message
        if reason := self._reason(nodes, "root"):
            return f"Kubeflow could not start the first step: {reason}"
        for name, title in _others(self._submission.package.spec):
            if reason := self._reason(nodes, name):
                return f"{title!r} failed: {reason}"
        if any(nodes.state(name) != "waiting" for name in STEPS):
            return "Kubeflow reports a failure, but no step failed; see the run"
        account = self._submission.account or "that Kubeflow sets"
        return (
            f"Kubeflow could not start the first step: look whether the service account {account} "
            "is there and may run pods"
        )

    def _reason(self, nodes: Nodes, name: str) -> str:
        for node in nodes.failed(name):
            lines = [*reversed(self._log(node))]
            found = (*map(raised_in, lines), *map(fatal_in, lines), node.message)
            if reason := next(filter(None, found), ""):
                return reason
        return ""

    def _figure(self, nodes: Nodes, name: str) -> str:
        for node in nodes.containers(name):
            for line in reversed(self._log(node)):
                if MARK in line:
                    return line.split(MARK, 1)[1]
        return ""

    def _log(self, node: WorkflowNode) -> list[str]:
        """Return the end of a pod's log, or nothing: the API server has it, Kubeflow's UI not."""
        if not node.pod:
            return []
        path = "/apis/v1alpha1/runs/{run}/nodes/{node}/log"
        return self._end_of(path, pieces=1, node=node.pod).decode(errors="replace").splitlines()

    def _workflow(self) -> list[WorkflowNode]:
        """Return the nodes of the run's workflow; none if this server does not give it."""
        text = self._end_of("/apis/v1beta1/runs/{run}", pieces=_PIECES)
        try:
            return workflow_nodes(json.loads(text)["pipeline_runtime"]["workflow_manifest"])
        except (ValueError, KeyError, TypeError):
            return []

    def _end_of(self, path: str, *, pieces: int, **params: str) -> bytes:
        """Return the last pieces of an answer; nothing if there is none, or it is too long."""
        end = bytearray()
        try:
            answer = self._client._run_api.api_client.call_api(
                path,
                "GET",
                path_params={"run": self._submission.run, **params},
                auth_settings=["Bearer"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=_DETAIL_SECONDS,
            )
            for count, piece in enumerate(answer.stream(_PIECE)):
                if count == _PIECES:
                    return b""
                end += piece
                del end[: -pieces * _PIECE]
        except Exception:  # whatever is wrong with a log, the run's state is what counts
            return b""
        return bytes(end)


def _message(run: Any) -> str:
    """Return the error that a run carries; KFP 2.16 and 2.17 leave most of them empty."""
    errors = [run.error, *(entry.error for entry in reversed(run.state_history or []))]
    return next((error.message for error in errors if error is not None and error.message), "")


def _unevaluated(nodes: Nodes, spec: dict[str, Any]) -> Iterator[str]:
    """Yield the titles of conditions that a released run must have looked at, and did not."""
    for name, task in _tasks(spec):
        if "condition" in task.get("triggerPolicy", {}) and not nodes.evaluated(name):
            yield task["taskInfo"]["name"]


def _others(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names and titles of the tasks that are no steps: conditions, groups."""
    for name, task in _tasks(spec):
        if name not in STEPS:
            yield name, task["taskInfo"]["name"]


def _tasks(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for component in (spec["root"], *spec["components"].values()):
        yield from component.get("dag", {}).get("tasks", {}).items()
