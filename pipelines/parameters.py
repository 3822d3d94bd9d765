"""A project file as the parameters of the release pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from penstock.common.claims import CLAIM
from penstock.data.sources.addresses import is_local, is_versioned_folder
from penstock.errors import PenstockError, UsageError
from penstock.own_code.reference import Reference
from penstock.own_code.sources import find
from penstock.project import FILE_DATABASES, Project, resolved_uri

_SECTIONS = {
    "contract": "contract",
    "validation": "validation",
    "split": "split_options",
    "features": "features",
    "training": "training",
    "evaluation": "evaluation",
    "gate": "policy",
    "deployment": "deployment",
    "card": "card",
    "notify": "notify",
}

_ON_AN_ENGINE = ("validation", "features", "training", "scoring")
"""Sections of steps that work on an engine: that of the project, if they name none."""

_IN_PODS = ("validation",)
"""Those of which the work may be done in pods of its own: it needs nothing but the dataset."""

_OF_A_RECALL = (
    "name",
    "evaluation",
    "policy",
    "deployment",
    "card",
    "requested_by",
    "tracking_uri",
    "notify",
)


def for_run(project: Project, *, folder: Path, by: str | None = None) -> dict[str, Any]:
    """Return the parameters for a run on this machine, local paths made absolute.

    Args:
        project: The project.
        folder: Where the project file is; its paths are relative to it.
        by: Who starts it; None: who runs this.
    """
    uri = resolved_uri(project, folder=folder)
    requested_by = starter() if by is None else by
    parameters = {
        **_common(project, _code(project, folder=folder, here=True)),
        "uri": uri,
        "requested_by": requested_by,
    }
    if project.notify.file:
        parameters["notify"]["file"] = str((folder / project.notify.file).resolve())
    kept = project.source.incremental
    if kept and not kept.startswith(CLAIM):
        parameters["source"]["incremental"] = str((folder / kept).resolve())
    return parameters


def for_recall(
    project: Project, version: int, *, rows: Path, folder: Path, by: str | None = None
) -> dict[str, Any]:
    """Return the parameters of a recall on this machine.

    Args:
        project: The project.
        version: The former champion.
        rows: The labelled rows that it is judged on.
        folder: Where the project file is.
        by: Who starts it; None: who runs this.
    """
    of_release = for_run(project, folder=folder, by=by)
    kept = {name: of_release[name] for name in _OF_A_RECALL}
    return {**kept, "uri": str(rows), "version": version}


def for_file(project: Project, *, folder: Path = Path()) -> dict[str, Any]:
    """Return the parameters to compile in as defaults.

    An absolute path of this machine means nothing elsewhere, so it is left out: where it was the
    table's, whoever submits the file has to give `uri`. Of code of the project's own the digest is
    compiled in, with which the code in the image is compared.

    Args:
        project: The project.
        folder: Where the project file is, and code of its own.
    """
    code = _code(project, folder=folder, here=False)
    parameters = {**_common(project, code), "uri": project.source.uri}
    if _is_absolute_path(project.notify.file):
        del parameters["notify"]["file"]
    if not project.source.incremental.startswith(CLAIM):
        # A folder of a pod goes with it.
        parameters["source"].pop("incremental", None)
    return {
        name: value
        for name, value in parameters.items()
        if not (isinstance(value, str) and _is_absolute_path(value))
    }


def for_monitor(project: Project) -> dict[str, Any]:
    """Return the parameters of the monitor's pipeline to compile in as defaults."""
    values = project.model_dump(mode="json", exclude_defaults=True)
    sections = ("deployment", "monitoring", "notify")
    return {
        "name": project.name,
        "tracking_uri": "" if _is_absolute_path(project.tracking_uri) else project.tracking_uri,
        **{section: values.get(section, {}) for section in sections},
    }


def for_score(project: Project) -> dict[str, Any]:
    """Return the parameters of the scoring pipeline to compile in as defaults."""
    values = project.model_dump(mode="json", exclude_defaults=True)
    return {
        "name": project.name,
        "tracking_uri": "" if _is_absolute_path(project.tracking_uri) else project.tracking_uri,
        "scoring": _on_engine("scoring", values),
    }


def for_closed_loop(project: Project, *, folder: Path = Path()) -> dict[str, Any]:
    """Return the same where the monitor acts by itself: what a release takes, but for its table."""
    of_release = for_file(project, folder=folder)
    left_out = ("source", "uri", "requested_by")
    kept = {name: value for name, value in of_release.items() if name not in left_out}
    return kept | for_monitor(project)


def given(texts: Iterable[str], *, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters given as `name=value`, each with the type of the pipeline's input.

    Args:
        texts: For example `uri=s3://bucket/table.parquet` or `training={"trials": 5}`; objects,
            lists and booleans are JSON.
        inputs: `root.inputDefinitions.parameters` of a compiled pipeline.

    Raises:
        UsageError: If a name is unknown, or a value is not of its input's type.
    """
    parameters = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or name not in inputs:
            raise UsageError(
                f"{name!r} is not a parameter of the pipeline" if mark else f"no = in {text!r}",
                where="--parameter",
                remedy=f"Write name=value; the names are {', '.join(sorted(inputs))}.",
            )
        parameters[name] = _typed(name, value, inputs[name]["parameterType"])
    return parameters


def starter() -> str:
    """Return who starts a run, as `penstock approve` would name them; empty if unknown."""
    from penstock.common.people import is_known
    from penstock.registry.identity import whoami

    try:
        name = whoami().name
    except PenstockError:
        # The run does not need a name: every approver then counts as another person.
        return ""
    return name if is_known(name) else ""


_KINDS: dict[str, tuple[type, str]] = {
    "STRUCT": (dict, 'a JSON object, for example {"trials": 5}'),
    "LIST": (list, "a JSON list, for example [1, 2]"),
    "BOOLEAN": (bool, "true or false"),
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": (float, "a number"),
}


def _typed(name: str, text: str, kind: str) -> Any:
    if kind == "STRING":
        return text
    expected, words = _KINDS[kind]
    try:
        value = json.loads(text, parse_constant=_no_number)
    except ValueError:
        value = None
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise UsageError(f"{text!r} is not {words}", where=f"--parameter {name}")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def stays_here(uri: str) -> bool:
    """Return whether an address means this machine: a path, or a database in a file."""
    in_file = uri.partition("://")[0].partition("+")[0] in FILE_DATABASES
    return in_file or is_local(uri) or is_versioned_folder(uri)


def _is_absolute_path(value: str) -> bool:
    scheme, mark, rest = value.partition("://")
    if not mark:
        return Path(value).is_absolute()
    return scheme in ("file", "local") or (scheme in FILE_DATABASES and rest.startswith("//"))


def _code(project: Project, *, folder: Path, here: bool) -> Mapping[str, Any] | None:
    """Return which code of the project's own a run is ordered with; None: it has none.

    Args:
        project: The project.
        folder: Where the project file is.
        here: Whether the run is on this machine, and finds it there.
    """
    named = [Reference.of(text) for texts in _own(project).values() for text in texts if text]
    if not named:
        return None
    place = {"folder": str(folder.resolve())} if here else {}
    return {
        **place,
        "packages": sorted({reference.top for reference in named}),
        "digest": find(named, folder=folder).digest,
    }


def _own(project: Project) -> dict[str, tuple[str, ...]]:
    """Return what a project names of its own code, by the section that takes it."""
    return {
        "features": (project.features.transformer,),
        "training": (project.training.estimator, project.training.own_metric.function),
    }


def _common(project: Project, code: Mapping[str, Any] | None) -> dict[str, Any]:
    values = project.model_dump(mode="json", exclude_defaults=True)
    parameters: dict[str, Any] = {
        "name": project.name,
        "target": project.target,
        "task": project.task,
        "positive": project.positive,
        "source": {key: value for key, value in values["source"].items() if key != "uri"},
        "expectations": values.get("expectations", []),
        "tracking_uri": project.tracking_uri,
    }
    for section, parameter in _SECTIONS.items():
        parameters[parameter] = _on_engine(section, values)
    for section, named in _own(project).items():
        if any(named):
            parameters[section] = {**parameters[section], "code": code}
    return parameters


def _on_engine(section: str, values: Mapping[str, Any]) -> Any:
    """Return what a section says, with the project's engine where its step works on one."""
    given, engine = values.get(section, {}), values.get("engine")
    if engine is None or section not in _ON_AN_ENGINE:
        return given
    if engine.get("on") == "kubernetes" and section not in _IN_PODS:
        return given
    return {"engine": engine, **given}
