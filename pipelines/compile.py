"""The release pipeline as YAML for Kubeflow."""

from __future__ import annotations

from pathlib import Path

from penstock import files
from penstock.errors import InputError
from penstock.pipelines.parameters import for_file
from penstock.project import Project


def compile_release(project: Project, *, output: Path, kubernetes_manifest: bool = False) -> None:
    """Write the release pipeline with the project's values as its defaults.

    Args:
        project: The project.
        output: A .yaml file to write.
        kubernetes_manifest: Write `Pipeline` and `PipelineVersion` resources for `kubectl apply`
            instead of KFP's own YAML.

    Raises:
        InputError: If `output` does not end in .yaml or .yml.
    """
    if output.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"{output.name} does not end in .yaml", where="--output", remedy="Name a .yaml file."
        )
    import tempfile

    from kfp import compiler
    from kfp.compiler.compiler_utils import KubernetesManifestOptions

    from penstock import __version__
    from penstock.pipelines.release import release

    options = KubernetesManifestOptions(
        pipeline_name=project.name,
        pipeline_display_name=project.name,
        pipeline_version_name=f"{project.name}-{__version__.replace('.', '-')}",
        pipeline_version_display_name=f"{project.name} (Penstock {__version__})",
        include_pipeline_manifest=True,
    )
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "release.yaml"
        compiler.Compiler().compile(
            release,
            str(made),
            pipeline_parameters=for_file(project),
            kubernetes_manifest_format=kubernetes_manifest,
            kubernetes_manifest_options=options if kubernetes_manifest else None,
        )
        files.write_text(output, made.read_text(encoding="utf-8"))
