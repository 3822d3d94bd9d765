"""A project file as the parameters of the release pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.project import FILE_DATABASES, Project, resolved_uri

_SECTIONS = {
    "contract": "contract",
    "split": "split_options",
    "features": "features",
    "training": "training",
    "evaluation": "evaluation",
    "gate": "policy",
    "deployment": "deployment",
}


def for_run(project: Project, *, folder: Path) -> dict[str, Any]:
    """Return the parameters for a run on this machine, local paths made absolute.

    Args:
        project: The project.
        folder: Where the project file is; its paths are relative to it.
    """
    parameters = {**_common(project), "uri": resolved_uri(project, folder=folder)}
    if project.notify.file:
        parameters["notify_file"] = str((folder / project.notify.file).resolve())
    return parameters


def for_file(project: Project) -> dict[str, Any]:
    """Return the parameters to compile in as defaults.

    An absolute path of this machine means nothing elsewhere, so it is left out: where it was the
    table's, whoever submits the file has to give `uri`.
    """
    parameters = {**_common(project), "uri": project.source.uri}
    return {
        name: value
        for name, value in parameters.items()
        if not (isinstance(value, str) and _is_absolute_path(value))
    }


def _is_absolute_path(value: str) -> bool:
    scheme, mark, rest = value.partition("://")
    if not mark:
        return Path(value).is_absolute()
    return scheme == "file" or (scheme in FILE_DATABASES and rest.startswith("//"))


def _common(project: Project) -> dict[str, Any]:
    values = project.model_dump(mode="json", exclude_defaults=True)
    parameters: dict[str, Any] = {
        "name": project.name,
        "target": project.target,
        "task": project.task,
        "positive": project.positive,
        "source": {key: value for key, value in values["source"].items() if key != "uri"},
        "expectations": values.get("expectations", []),
        "tracking_uri": project.tracking_uri,
        "notify_webhook": project.notify.webhook,
        "notify_file": project.notify.file,
    }
    for section, parameter in _SECTIONS.items():
        parameters[parameter] = values.get(section, {})
    return parameters
