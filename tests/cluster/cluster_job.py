"""The component `deploy` as a Job: the container that Kubeflow would start, by Kubernetes alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from cluster_site import MLFLOW_INSIDE, PIPELINES, SECRET, Site, asked, image, kubectl

_IN, _OUT = "/in", "/tmp/out"


def start(
    site: Site, job: str, *, task: Path, holdout: Path, run: str, options: dict[str, Any]
) -> None:
    """Start the Job.

    Args:
        site: Whose service it rolls out.
        job: The Job's name.
        task: Folder with the records `registration` and `decision`.
        holdout: The dataset, small enough for a ConfigMap.
        run: Names the pipeline run.
        options: The project's section `deployment`.
    """
    labels = {"penstock-test": site.name}
    files = [task / "registration", task / "decision", *holdout.iterdir()]
    given = {path.name: base64.b64encode(path.read_bytes()).decode() for path in files}
    folders = {path.name: f"holdout/{path.name}" for path in holdout.iterdir()}
    inputs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": job, "namespace": PIPELINES, "labels": labels},
        "binaryData": given,
    }
    items = [{"key": name, "path": folders.get(name, name)} for name in given]
    pod = {
        "metadata": {"labels": {**labels, "pipelines.kubeflow.org/v2_component": "true"}},
        "spec": {
            "serviceAccountName": "penstock-deployer",
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 54321,
                "runAsGroup": 0,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(run=run, options=options)],
            "volumes": [
                {"name": "in", "configMap": {"name": job, "items": items}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }
    made = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job, "namespace": PIPELINES, "labels": labels},
        "spec": {"backoffLimit": 0, "template": pod},
    }
    for manifest in (inputs, made):
        kubectl("create", "-f", "-", stdin=json.dumps(manifest))


def _container(*, run: str, options: dict[str, Any]) -> dict[str, Any]:
    from penstock.components.deploy import deploy

    face = deploy.component_spec.implementation.container
    executor_input = json.dumps(_executor_input(run=run, options=options))
    arguments = [
        executor_input if argument == "{{$}}" else argument for argument in face.args or []
    ]
    assert executor_input in arguments
    return {
        "name": "main",
        "image": image("deploy"),
        "imagePullPolicy": "IfNotPresent",
        # Kubernetes would take `$(...)` in them for its own.
        "command": [part.replace("$(", "$$(") for part in face.command],
        "args": [part.replace("$(", "$$(") for part in arguments],
        "envFrom": [{"secretRef": {"name": SECRET, "optional": True}}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "in", "mountPath": _IN}, {"name": "tmp", "mountPath": "/tmp"}],
    }


def _executor_input(*, run: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return what Kubeflow's driver would hand to the component's executor."""

    def artifact(name: str, folder: str, kind: str) -> dict[str, Any]:
        one = {"name": name, "uri": f"{folder}/{name}", "type": {"schemaTitle": f"system.{kind}"}}
        return {"artifacts": [{**one, "metadata": {}}]}

    return {
        "inputs": {
            "parameterValues": {
                "options": options,
                "tracking_uri": MLFLOW_INSIDE,
                "pipeline_run": run,
            },
            "artifacts": {
                "registration": artifact("registration", _IN, "Artifact"),
                "decision": artifact("decision", _IN, "Artifact"),
                "holdout": artifact("holdout", _IN, "Dataset"),
            },
        },
        "outputs": {
            "parameters": {"Output": {"outputFile": f"{_OUT}/Output"}},
            "artifacts": {
                "deployment": artifact("deployment", _OUT, "Artifact"),
                "rollout": artifact("rollout", _OUT, "Artifact"),
                "report": artifact("report", _OUT, "HTML"),
            },
            "outputFile": f"{_OUT}/executor_output.json",
        },
    }


def ended(job: str) -> str:
    """Return `Complete` or `Failed`, or nothing while it runs."""
    found = json.loads(kubectl("get", "job", job, "-n", PIPELINES, "-o", "json"))
    for condition in found.get("status", {}).get("conditions", []):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return str(condition["type"])
    return ""


def kill(job: str) -> None:
    """Kill its pod as a lost node would: at once."""
    pods = ("pods", "-n", PIPELINES, "-l", f"batch.kubernetes.io/job-name={job}")
    kubectl("delete", *pods, "--grace-period=0", "--force", "--wait=true")


def log(job: str) -> str:
    done = asked("logs", "-n", PIPELINES, f"job/{job}", "--tail=60")
    return done.stdout + done.stderr
