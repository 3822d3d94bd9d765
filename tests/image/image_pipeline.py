"""One project, released in three ways. kfp reads a pipeline's annotations: no lazy ones here."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from image_site import CLAIM, Site
from kfp import components, dsl, local
from kfp_server import KfpServer

from penstock import project
from penstock.components.deploy import deploy
from penstock.components.fail import fail
from penstock.components.retrieve_features import retrieve_features
from penstock.pipelines.parameters import for_run
from penstock.pipelines.release import NAME, release
from penstock.records.export import Export
from penstock.registry import versions

SERVICE = "simulated-transactions"

CHANGES: dict[str, Any] = {
    "training": {"trials": 2, "folds": 2, "candidates": ["linear", "hist_gradient_boosting"]},
    "deployment": {
        "router": "kserve-gateway",
        "kserve": {"artifacts": {"mlflow-artifacts:/": f"{CLAIM}/"}},
        "canary": {
            "interval": 0.5,
            "deadline": 900,
            "shadow": {"min_pairs": 200},
            "steps": [{"weight": 40, "min_samples": 150}],
            # The machine that runs the tests is busy with others of them.
            "rules": {"latency_ratio": 10**6},
            "traffic": {"rate": 20},
        },
    },
    "notify": {"file": "ended.jsonl"},
}
"""Quick, and released to a cluster."""


@dataclass(frozen=True)
class Released:
    """What a release left.

    Attributes:
        folder: Where it was run.
        tasks: The folder of each task, by its name in Kubeflow.
        tracking_uri: The store; it may be gone.
        champion: The version that carries the alias.
        answering: The version that answers users.
        export: What is known of the ONNX form of the version.
    """

    folder: Path
    tasks: dict[str, Path]
    tracking_uri: str
    champion: int | None
    answering: str
    export: Export


def write_project(folder: Path, *, address: str) -> Path:
    """Make the example below `folder`, whose files are read at `address`; return its project."""
    _penstock("example", folder, "--rows", "6000", cwd=folder)
    path = folder / "project.yaml"
    content = yaml.safe_load(path.read_text())
    source = content["source"] | {"uri": f"{address}/{content['source']['uri']}"}
    path.write_text(yaml.safe_dump(content | CHANGES | {"source": source}))
    return path


def by_run(file: Path, *, site: Site) -> Released:
    """Release by `penstock run`: processes of this machine."""
    _penstock("run", site.take(file), cwd=site.folder, **site.environment)
    (run,) = (site.folder / ".penstock" / "runs").iterdir()
    return _released(site, run / "kfp")


def by_images(file: Path, *, site: Site, confined: dict[str, Any]) -> Released:
    """Release by `kfp.local.DockerRunner`: each step in its image."""
    parameters = for_run(project.load(site.take(file)), folder=site.folder)
    in_images(release, parameters, site=site, confined=confined)
    return _released(site, site.folder)


def by_compiled(
    file: Path, *, site: Site, confined: dict[str, Any], train: str, training: dict[str, Any]
) -> Released:
    """Release what `penstock compile` writes where the steps of `train` have another image.

    Args:
        file: The project.
        site: Where.
        confined: How the containers of steps are confined.
        train: The image.
        training: The section of that name in the project.
    """
    taken = site.take(file)
    taken.write_text(yaml.safe_dump(yaml.safe_load(taken.read_text()) | {"training": training}))
    compiled = site.folder / "release.yaml"
    _penstock("compile", taken, "-o", compiled, cwd=site.folder, PENSTOCK_IMAGE_TRAIN=train)
    pipeline = components.load_component_from_file(str(compiled))
    parameters = for_run(project.load(taken), folder=site.folder)
    in_images(pipeline, parameters, site=site, confined=confined)
    return _released(site, site.folder)


def in_images(
    pipeline: Any, parameters: dict[str, Any], *, site: Site, confined: dict[str, Any]
) -> None:
    """Run a pipeline in the images. They see the site's folder alone, at the same path."""
    runner = local.DockerRunner(environment=site.environment, **confined)
    local.init(runner=runner, pipeline_root=str(site.folder))
    with warnings.catch_warnings():
        # Local runs ignore resource settings, and say so.
        warnings.simplefilter("ignore")
        pipeline(**parameters)


def by_submission(file: Path, *, site: Site) -> Released:
    """Release what arrived at Kubeflow's API, `arrived.yaml`, by a program that knows kfp alone.

    `release.yaml` is what `penstock compile` writes here.
    """
    taken = site.take(file)
    _penstock("compile", taken, "-o", site.folder / "release.yaml", cwd=site.folder)
    server = KfpServer().start()
    try:
        # Where kfp's client keeps its settings is below HOME.
        home = str(site.folder)
        _penstock("submit", taken, "--host", server.host, cwd=site.folder, HOME=home)
    finally:
        server.stop()
    assert server.broken == []
    (run,) = server.asked("POST", "/apis/v2beta1/runs")
    parameters = run["runtime_config"].get("parameters", {})
    (site.folder / "parameters.json").write_text(json.dumps(parameters))
    arrived = run["pipeline_spec"]
    (site.folder / "arrived.yaml").write_text(
        yaml.safe_dump_all([arrived["pipeline_spec"], arrived["platform_spec"]])
        if "platform_spec" in arrived
        else yaml.safe_dump(arrived)
    )
    _run([sys.executable, "-W", "ignore", "-c", EXECUTE], cwd=site.folder, **site.environment)
    return _released(site, site.folder / "out")


EXECUTE = """
import json
from kfp import components, local
local.init(local.SubprocessRunner(use_venv=False), pipeline_root="out")
with open("parameters.json") as file:
    parameters = json.load(file)
components.load_component_from_file("arrived.yaml")(**parameters)
"""


def _released(site: Site, root: Path) -> Released:
    (run,) = root.glob(f"{NAME}-*")
    (export,) = site.folder.glob("artifacts/**/serving/export.json")
    champion = versions.champion(SERVICE, tracking_uri=site.tracking_uri)
    return Released(
        folder=site.folder,
        tasks={task.name: task for task in run.iterdir()},
        tracking_uri=site.tracking_uri,
        champion=champion.version if champion else None,
        answering=site.answering(SERVICE),
        export=Export.read(export),
    )


def _penstock(*arguments: object, cwd: Path, **environment: str) -> None:
    command = Path(sys.executable).with_name("penstock")
    _run([str(command), *map(str, arguments)], cwd=cwd, **environment)


def _run(command: list[str], *, cwd: Path, **environment: str) -> None:
    settings = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"} | environment
    done = subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]


@dsl.pipeline(name="rollout")
def rollout(
    registration: str, decision: str, holdout: str, policy: dict, options: dict, run: str
) -> None:
    """What comes after `register` in a release, on records that are there already."""
    registered = dsl.importer(artifact_uri=registration, artifact_class=dsl.Artifact)
    decided = dsl.importer(artifact_uri=decision, artifact_class=dsl.Artifact)
    held_out = dsl.importer(artifact_uri=holdout, artifact_class=dsl.Dataset)
    deployed = deploy(
        registration=registered.output,
        decision=decided.output,
        holdout=held_out.output,
        options=options,
        policy=policy,
        pipeline_run=run,
    )
    with dsl.If(deployed.outputs["Output"] == False, name="rolled back"):  # noqa: E712
        fail(evidence=deployed.outputs["rollout"], reason="The candidate was rolled back.")


@dsl.pipeline(name="refusal")
def refusal(reason: str) -> None:
    """What a refused run ends with."""
    fail(reason=reason)


@dsl.pipeline(name="features")
def features(entities: str, options: dict) -> None:
    """Features of Feast for a table that is there already."""
    table = dsl.importer(artifact_uri=entities, artifact_class=dsl.Dataset)
    retrieve_features(entities=table.output, options=options)
