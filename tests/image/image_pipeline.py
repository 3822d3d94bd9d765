"""Every component but the last in one pipeline. kfp reads its annotations: no lazy ones here."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from kfp import dsl, local

from penstock import project
from penstock.components.decide import decide
from penstock.components.engineer_features import engineer_features
from penstock.components.evaluate import evaluate
from penstock.components.fail import fail
from penstock.components.ingest import ingest
from penstock.components.notify import notify
from penstock.components.register import register
from penstock.components.split import split
from penstock.components.train import train
from penstock.components.validate import validate
from penstock.pipelines.parameters import for_run

if TYPE_CHECKING:
    import docker

USER = os.getuid() or 12345
"""Whoever runs the tests, or a user that no image knows."""

QUICK = {"trials": 2, "folds": 2, "candidates": ["linear", "hist_gradient_boosting"]}


@dataclass(frozen=True)
class Released:
    """What a pipeline left: the folder of each task, by its name in Kubeflow."""

    tasks: dict[str, Path]
    tracking_uri: str


def hardened(client: "docker.DockerClient", reference: str) -> dict[str, Any]:
    """Return how a container is confined: it writes to what the image declares, and nowhere else.

    Group 0 with any user id is what OpenShift gives.
    """
    writable = client.images.get(reference).labels["penstock.writable"].split()
    return {
        "read_only": True,
        "user": f"{USER}:0",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "tmpfs": dict.fromkeys(writable, ""),
    }


@dsl.pipeline(name="table-to-version")
def table_to_version(
    name: str,
    uri: str,
    target: str,
    split_options: dict,
    training: dict,
    tracking_uri: str,
    ended: str,
) -> None:
    """Ingest to register, with the exit handler; the gate's branches are tested elsewhere."""
    with dsl.ExitHandler(notify(name=name, file=ended)):
        read = ingest(uri=uri)
        validate(dataset=read.outputs["dataset"])
        parts = split(dataset=read.outputs["dataset"], target=target, options=split_options)
        fitted = engineer_features(
            train=parts.outputs["train"], proof=parts.outputs["proof"], target=target
        )
        trained = train(
            train=parts.outputs["train"],
            features=fitted.outputs["features"],
            proof=parts.outputs["proof"],
            target=target,
            experiment=name,
            options=training,
            tracking_uri=tracking_uri,
        )
        measured = evaluate(
            holdout=parts.outputs["holdout"],
            model=trained.outputs["model"],
            baselines=trained.outputs["baselines"],
            name=name,
            tracking_uri=tracking_uri,
        )
        decided = decide(evaluation=measured.outputs["evaluation"], name=name)
        register(
            model=trained.outputs["model"],
            decision=decided.outputs["decision"],
            evaluation=measured.outputs["evaluation"],
            holdout=parts.outputs["holdout"],
            name=name,
            tracking_uri=tracking_uri,
        )


@dsl.pipeline(name="refusal")
def refusal(reason: str) -> None:
    """What a refused run ends with."""
    fail(reason=reason)


def release(root: Path, *, runner: Any, tracking_uri: str) -> Released:
    """Make the example below `root` and run it there, all but its deployment."""
    command = [Path(sys.executable).with_name("penstock"), "example", root, "--rows", "6000"]
    subprocess.run(command, check=True, capture_output=True)
    path = root / "project.yaml"
    settings = yaml.safe_load(path.read_text()) | {"training": QUICK}
    path.write_text(yaml.safe_dump(settings))
    for folder in (root, root / "runs"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    local.init(runner=runner, pipeline_root=str(root))
    parameters = for_run(project.load(path), folder=root)
    table_to_version(
        name=parameters["name"],
        uri=parameters["uri"],
        target=parameters["target"],
        split_options=parameters["split_options"],
        training=parameters["training"],
        tracking_uri=tracking_uri,
        ended=str(root / "runs" / "ended.jsonl"),
    )
    run = next(root.glob("table-to-version-*"))
    return Released({task.name: task for task in run.iterdir()}, tracking_uri)
