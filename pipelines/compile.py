"""The release pipeline as YAML for Kubeflow."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from penstock import files
from penstock.errors import InputError
from penstock.pipelines.local_runner import import_kfp
from penstock.pipelines.parameters import for_file
from penstock.pipelines.secret_fields import refuse_clear, with_secrets
from penstock.project import Project

_DIGITS = 12


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
    text = _compiled(project)
    if kubernetes_manifest:
        text = _compiled(
            project,
            kubernetes_manifest_format=True,
            kubernetes_manifest_options=_options(project, version=version_name(project, text)),
        )
    files.write_text(output, text)


def version_name(project: Project, compiled: str) -> str:
    """Return the name of a compiled pipeline's version, another for another content.

    A name that stays while the content changes would let Kubeflow go on running the old content.

    Args:
        project: The project.
        compiled: The text that `compile_release` writes.

    Returns:
        The project's name and 12 hexadecimal digits: at most 63 characters, valid by RFC 1123.
    """
    # Not of the text: the order within kfp's leading comment changes from process to process.
    content = json.dumps(list(yaml.safe_load_all(compiled)), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return f"{project.name}-{digest[:_DIGITS]}"


def _options(project: Project, *, version: str) -> Any:
    from kfp.compiler.compiler_utils import KubernetesManifestOptions

    return KubernetesManifestOptions(
        pipeline_name=project.name,
        pipeline_display_name=project.name,
        pipeline_version_name=version,
        pipeline_version_display_name=version,  # by which `penstock schedule` finds it
        include_pipeline_manifest=True,
    )


def _compiled(project: Project, **options: Any) -> str:
    import_kfp()
    from kfp import compiler

    from penstock.pipelines._cluster import on_cluster
    from penstock.pipelines.release import release

    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "release.yaml"
        compiler.Compiler().compile(
            on_cluster(release, project.cluster),
            str(made),
            pipeline_parameters=for_file(project),
            **options,
        )
        return made.read_text(encoding="utf-8")
