"""The nodes of a run's workflow: which pod each is, and why it failed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.pipelines.workflow_nodes import Nodes, workflow_nodes

EXECUTOR = {
    "id": "release-x7k2p-3175298101",
    "displayName": "executor(0)",
    "type": "Pod",
    "templateName": "system-container-impl",
    "phase": "Failed",
    "message": "main: OOMKilled (exit code 137)",
}


def manifest(*nodes: dict[str, Any], name: str = "release-x7k2p", **annotations: str) -> str:
    metadata = {"name": name, "annotations": annotations}
    return json.dumps(
        {"metadata": metadata, "status": {"nodes": {node["id"]: node for node in nodes}}}
    )


def test_a_pod_is_named_by_workflow_template_and_hash() -> None:
    (node,) = workflow_nodes(manifest(EXECUTOR))
    assert node.pod == "release-x7k2p-system-container-impl-3175298101"
    assert (node.state, node.message) == ("FAILED", "OOMKilled (exit code 137)")
    long = "r" * 240
    (cut,) = workflow_nodes(manifest({**EXECUTOR, "id": f"{long}-3175298101"}, name=long))
    assert cut.pod == f"{long}-s-3175298101"
    assert len(cut.pod) == 253


def test_the_older_names_of_pods_are_the_ids_of_their_nodes() -> None:
    older = manifest(EXECUTOR, **{"workflows.argoproj.io/pod-name-format": "v1"})
    assert workflow_nodes(older)[0].pod == EXECUTOR["id"]


@pytest.mark.parametrize("kind", ["DAG", "Retry", "Skipped"])
def test_what_is_no_pod_has_none_and_no_reason(kind: str) -> None:
    """Its message names the node below it that failed, in words that nobody knows."""
    inner = {**EXECUTOR, "type": kind, "message": "child 'release-x7k2p-3175298101' failed"}
    (node,) = workflow_nodes(manifest(inner))
    assert (node.pod, node.message) == ("", "")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"metadata": {"name": "x"}, "status": {}}'])
def test_a_workflow_that_has_not_begun_has_no_nodes(text: str) -> None:
    assert workflow_nodes(text) == []


def test_the_last_attempt_tells_first_be_it_the_tenth() -> None:
    attempts = [
        {**EXECUTOR, "id": f"w-{index}", "displayName": f"executor({index})", "message": f"{index}"}
        for index in range(11)
    ]
    retry = {
        "id": "w-executor",
        "displayName": "executor",
        "type": "Retry",
        "phase": "Failed",
        "children": [each["id"] for each in attempts],
    }
    task = {"id": "w-train", "displayName": "train", "type": "DAG", "children": ["w-executor"]}
    found = workflow_nodes(manifest(*attempts, retry, task))
    run = SimpleNamespace(run_details=None, state_history=[], state="FAILED")
    reasons = [node.message for node in Nodes(run, workflow=lambda: found).failed("train")]
    assert reasons[:3] == ["10", "9", "8"]
    assert len(reasons) == 11


@pytest.mark.parametrize(
    ("phases", "ran"),
    [
        (["Succeeded"], True),
        (["Error", "Succeeded"], True),
        (["Skipped"], False),
        (["Error", "Skipped"], False),
    ],
    ids=["at once", "after a pod that was lost", "cached", "cached after a lost pod"],
)
def test_a_container_ran_if_one_attempt_did(phases: list[str], ran: bool) -> None:
    nodes = []
    for index, phase in enumerate(phases):
        below = {"id": f"x-{index}", "displayName": "executor", "type": "DAG", "phase": phase}
        attempt = {"id": f"a-{index}", "displayName": f"deploy({index})", "type": "DAG"}
        nodes += [below, {**attempt, "children": [below["id"]]}]
    attempts = [node["id"] for node in nodes if node["id"].startswith("a-")]
    nodes.append({"id": "d", "displayName": "deploy", "type": "Retry", "children": attempts})
    task = SimpleNamespace(display_name="deploy", state="SUCCEEDED")
    details = SimpleNamespace(task_details=[task])
    run = SimpleNamespace(run_details=details, state_history=[], state="SUCCEEDED")
    found = Nodes(run, workflow=lambda: workflow_nodes(manifest(*nodes)))
    assert found.ran("deploy") is ran
