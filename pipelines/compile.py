"""The release pipeline, the monitor's and the one that scores, as YAML for Kubeflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

import penstock
from penstock.common import files
from penstock.common.claims import claims_in
from penstock.data.sources.addresses import is_local
from penstock.errors import InputError
from penstock.pipelines.compiled_yaml import as_yaml, compact
from penstock.pipelines.local_runner import import_kfp
from penstock.pipelines.parameters import for_closed_loop, for_file, for_monitor, for_score
from penstock.pipelines.secret_fields import SCORING, refuse_clear, steps_watching, with_secrets
from penstock.project import Project

_DIGITS = 12
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads what was compiled in a tenth of the time that `yaml.safe_load` takes."""
_HEAD = """\
# The {kind} pipeline of {name} for Kubeflow Pipelines, compiled by Penstock {version}.
# root.inputDefinitions has its parameters, with the project's values as defaults.
"""


def compile_release(
    project: Project,
    *,
    output: Path,
    kubernetes_manifest: bool = False,
    folder: Path = Path(),
) -> None:
    """Write the release pipeline with the project's values as its defaults.

    Settings of the project's `cluster` section that tasks carry make a second YAML document, or the
    field `platformSpec` of the manifest.

    Args:
        project: The project.
        output: A .yaml file to write.
        kubernetes_manifest: Write `Pipeline` and `PipelineVersion` resources for `kubectl apply`
            instead of KFP's own YAML.
        folder: Where the project file is, and code of its own.

    Raises:
        InputError: If `output` does not end in .yaml or .yml, or a field of the project holds a
            secret in clear.
    """
    _require_yaml(output)
    refuse_clear(project, where=project.name)
    project = project.model_copy(update={"cluster": with_secrets(project)})
    import_kfp()
    from penstock.pipelines.release import release

    claims = {"ingest": claims_in(project.source.incremental)}
    documents = _compiled(release, project, for_file(project, folder=folder), claims=claims)
    if kubernetes_manifest:
        documents = _manifests(project.name, *documents)
    _write(output, documents, kind="release", name=project.name)


def compile_monitor(
    project: Project,
    *,
    output: Path,
    kubernetes_manifest: bool = False,
    folder: Path = Path(),
) -> None:
    """Write the monitor's pipeline with the project's values as its defaults.

    Where `monitoring.retrain` is automatic it has the steps of a recall and of a retraining too.

    Args:
        project: The project, whose model is served on a cluster.
        output: A .yaml file to write.
        kubernetes_manifest: As for `compile_release`.
        folder: As for `compile_release`.

    Raises:
        InputError: If `output` does not end in .yaml or .yml, a field holds a secret in clear, the
            model is served on one machine, or it is not said where the monitor keeps its state.
    """
    _require_yaml(output)
    _require_watchable(project)
    refuse_clear(project, where=project.name)
    cluster = with_secrets(project, steps_of=steps_watching(project))
    project = project.model_copy(update={"cluster": cluster})
    import_kfp()
    from penstock.pipelines.closed_loop import closed_loop
    from penstock.pipelines.monitor import watch

    state = project.monitoring.state
    rows = project.monitoring.captures or project.deployment.kserve.captures.destination
    claims = dict.fromkeys(("monitor", "intervene", "export-rows"), claims_in(state, rows))
    claims |= dict.fromkeys(("record-refusal", "settle", "ingest"), claims_in(state))
    if acts_by_itself(project):
        pipeline, values = closed_loop, for_closed_loop(project, folder=folder)
    else:
        pipeline, values = watch, for_monitor(project)
    documents = _compiled(pipeline, project, values, claims=claims)
    name = monitor_name(project)
    if kubernetes_manifest:
        documents = _manifests(name, *documents)
    _write(output, documents, kind="monitor's", name=project.name)


def compile_score(project: Project, *, output: Path, kubernetes_manifest: bool = False) -> None:
    """Write the pipeline that scores a batch, with the project's values as its defaults.

    Args:
        project: The project, whose section `scoring` says what is scored and where to.
        output: A .yaml file to write.
        kubernetes_manifest: As for `compile_release`.

    Raises:
        InputError: If `output` does not end in .yaml or .yml, a field holds a secret in clear, or
            source or destination are not said or of this machine.
    """
    _require_yaml(output)
    _require_scorable(project)
    refuse_clear(project, where=project.name)
    spec = project.scoring
    assert spec.source is not None
    claims = claims_in(spec.source.uri, spec.destination, spec.capture)
    cluster = with_secrets(project, steps_of=SCORING)
    project = project.model_copy(update={"cluster": cluster})
    import_kfp()
    from penstock.pipelines.scoring import score_batch

    documents = _compiled(score_batch, project, for_score(project), claims={"score": claims})
    name = score_name(project)
    if kubernetes_manifest:
        documents = _manifests(name, *documents)
    _write(output, documents, kind="scoring", name=project.name)


def score_name(project: Project) -> str:
    """Return the name of the scoring pipeline in Kubeflow, beside that of the release."""
    return f"{project.name}-score"


def _require_scorable(project: Project) -> None:
    from penstock.scoring.step import require_places

    spec = project.scoring
    require_places(spec)
    assert spec.source is not None
    for field, address in (("source.uri", spec.source.uri), ("destination", spec.destination)):
        if is_local(address) or address.startswith(("sqlite", "duckdb")):
            raise InputError(
                f"{address!r} is of this machine, and a pod keeps nothing of its own",
                where=f"scoring.{field}",
                remedy="Name a store, a claim (pvc://NAME/folder) or a database server.",
            )


def acts_by_itself(project: Project) -> bool:
    """Return whether the monitor's runs recall and train again, and so take its release's steps."""
    return project.monitoring.retrain == "automatic"


def monitor_name(project: Project) -> str:
    """Return the name of the monitor's pipeline in Kubeflow, beside that of the release."""
    return f"{project.name}-monitor"


def _require_yaml(output: Path) -> None:
    if output.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"{output.name} does not end in .yaml", where="--output", remedy="Name a .yaml file."
        )


def _require_watchable(project: Project) -> None:
    if project.deployment.router == "local":
        raise InputError(
            "its model is served on one machine, where Kubeflow cannot watch it",
            where="deployment.router: local",
            remedy="On this machine: penstock monitor. For a cluster name a router of KServe.",
        )
    state = project.monitoring.state
    if not state or is_local(state):
        raise InputError(
            "the pods of the monitor keep nothing, and it is not said where its state is kept",
            where="monitoring.state",
            remedy="Name a store or a claim, for example s3://bucket/monitor.",
        )


def _write(output: Path, documents: list[dict[str, Any]], *, kind: str, name: str) -> None:
    head = _HEAD.format(kind=kind, name=name, version=penstock.__version__)
    files.write_text(output, head + as_yaml(documents))


def version_name(name: str, compiled: str) -> str:
    """Return the name of a compiled pipeline's version, another for another content.

    A name that stays while the content changes would let Kubeflow go on running the old content.

    Args:
        name: The pipeline's.
        compiled: The text that a function of this module writes.

    Returns:
        The pipeline's name and 12 hexadecimal digits: at most 63 characters, valid by RFC 1123.
    """
    return _version_name(name, yaml.load_all(compiled, Loader=LOADER))


def _version_name(name: str, documents: Iterable[Any]) -> str:
    content = json.dumps(list(documents), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return f"{name}-{digest[:_DIGITS]}"


def _compiled(
    pipeline: Any,
    project: Project,
    values: Mapping[str, Any],
    *,
    claims: Mapping[str, Collection[str]] = {},
) -> list[dict[str, Any]]:
    """Return a pipeline, and what its tasks have of Kubernetes, if that is anything."""
    from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

    from penstock.pipelines.task_settings import on_cluster

    made = on_cluster(pipeline, project.cluster, claims=claims)
    spec, platform = MessageToDict(made.pipeline_spec), MessageToDict(made.platform_spec)
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    for name, value in values.items():
        parameters[name]["defaultValue"] = value
    compact(spec, platform)
    return [spec, platform] if platform else [spec]


def _manifests(
    name: str, spec: dict[str, Any], platform: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return the resources of Kubernetes that hold a compiled pipeline."""
    documents = [spec, platform] if platform else [spec]
    version = _version_name(name, documents)
    described = {"description": spec["pipelineInfo"]["description"]}
    return [
        _resource("Pipeline", name, {"displayName": name, **described}),
        _resource(
            "PipelineVersion",
            version,
            {
                "displayName": version,  # by which `penstock schedule` finds it
                "pipelineName": name,
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
