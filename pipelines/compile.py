"""The release pipeline as YAML for Kubeflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

import penstock
from penstock.common import files
from penstock.errors import InputError
from penstock.pipelines.compiled_yaml import as_yaml, compact
from penstock.pipelines.local_runner import import_kfp
from penstock.pipelines.parameters import for_file
from penstock.pipelines.secret_fields import refuse_clear, with_secrets
from penstock.project import Project

_DIGITS = 12
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HEAD = """\
# The release pipeline of {name} for Kubeflow Pipelines, compiled by Penstock {version}.
# root.inputDefinitions has its parameters, with the project's values as defaults.
"""


def compile_release(project: Project, *, output: Path, kubernetes_manifest: bool = False) -> None:
    """Write the release pipeline with the project's values as its defaults.

    Settings of the project's `cluster` section that tasks carry make a second YAML document, or the
    field `platformSpec` of the manifest.

    Args:
        project: The project.
        output: A .yaml file to write.
        kubernetes_manifest: Write `Pipeline` and `PipelineVersion` resources for `kubectl apply`
            instead of KFP's own YAML.

    Raises:
        InputError: If `output` does not end in .yaml or .yml, or a field of the project holds a
            secret in clear.
    """
    if output.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"{output.name} does not end in .yaml", where="--output", remedy="Name a .yaml file."
        )
    refuse_clear(project, where=project.name)
    project = project.model_copy(update={"cluster": with_secrets(project)})
    documents = _compiled(project)
    if kubernetes_manifest:
        documents = _manifests(project, *documents)
    head = _HEAD.format(name=project.name, version=penstock.__version__)
    files.write_text(output, head + as_yaml(documents))


def version_name(project: Project, compiled: str) -> str:
    """Return the name of a compiled pipeline's version, another for another content.

    A name that stays while the content changes would let Kubeflow go on running the old content.

    Args:
        project: The project.
        compiled: The text that `compile_release` writes.

    Returns:
        The project's name and 12 hexadecimal digits: at most 63 characters, valid by RFC 1123.
    """
    return _version_name(project, yaml.load_all(compiled, Loader=_LOADER))


def _version_name(project: Project, documents: Iterable[Any]) -> str:
    content = json.dumps(list(documents), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return f"{project.name}-{digest[:_DIGITS]}"


def _compiled(project: Project) -> list[dict[str, Any]]:
    """Return the pipeline, and what its tasks have of Kubernetes, if that is anything."""
    import_kfp()
    from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

    from penstock.pipelines.release import release
    from penstock.pipelines.task_settings import on_cluster

    made = on_cluster(release, project.cluster)
    spec, platform = MessageToDict(made.pipeline_spec), MessageToDict(made.platform_spec)
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    for name, value in for_file(project).items():
        parameters[name]["defaultValue"] = value
    compact(spec, platform)
    return [spec, platform] if platform else [spec]


def _manifests(
    project: Project, spec: dict[str, Any], platform: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return the resources of Kubernetes that hold a compiled pipeline."""
    documents = [spec, platform] if platform else [spec]
    version = _version_name(project, documents)
    described = {"description": spec["pipelineInfo"]["description"]}
    return [
        _resource("Pipeline", project.name, {"displayName": project.name, **described}),
        _resource(
            "PipelineVersion",
            version,
            {
                "displayName": version,  # by which `penstock schedule` finds it
                "pipelineName": project.name,
                "pipelineSpec": spec,
                **({"platformSpec": platform} if platform else {}),
                **described,
            },
        ),
    ]


def _resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "pipelines.kubeflow.org/v2beta1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
