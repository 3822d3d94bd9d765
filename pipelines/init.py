"""A first project file for a table, every field explained."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from penstock.common import files
from penstock.data.sources.addresses import is_local, local_path
from penstock.data.spec import SourceSpec
from penstock.errors import InputError
from penstock.pipelines.project_text import project_text
from penstock.pipelines.secret_fields import Clear, clear_in
from penstock.pipelines.source_options import assumptions_text, comments, sections, with_options
from penstock.project import FILE_DATABASES, Project
from penstock.redaction import learn, redact

if TYPE_CHECKING:
    from penstock.records.dataset import Dataset


def write_project(
    uri: str,
    *,
    target: str,
    output: Path,
    name: str = "",
    task: str = "auto",
    query: str = "",
    source: Mapping[str, Any] | None = None,
    split: Mapping[str, Any] | None = None,
    force: bool = False,
    full: bool = False,
) -> Path:
    """Look at a table, all of it, and write a project file for it.

    Where the table can be read only with other settings, and its error proposes them, they are
    taken. What was assumed is printed, riskiest first, and written into the file as comments.

    Args:
        uri: The table, as in the project file's `source.uri`; a local path is relative to the
            working directory and is written relative to the project file.
        target: The column to predict.
        output: The project file to write.
        name: The project's name; empty makes one from the table's file name.
        task: binary, multiclass, regression, or auto to infer it.
        query: SQL, when `uri` is a database.
        source: Values of the `source` section that are not the default.
        split: Values of the `split` section that are not the default.
        force: Write over a file that is there.
        full: Write every setting into it, not only those that people change first.

    Returns:
        `output`.

    Raises:
        InputError: If the file is there, the table cannot be read, or the target does not fit.
    """
    if output.exists() and not force:
        raise InputError(
            "there already is a project file",
            where=str(output),
            remedy="Name another with --output, or write over it with --force.",
        )
    learn(uri)
    from penstock.data.ingest import survey
    from penstock.data.task import resolve_positive, resolve_task
    from penstock.quality.propose import contract_of, propose

    with tempfile.TemporaryDirectory(prefix="penstock-init-") as scratch:
        table = Path(scratch) / "dataset"
        given = {**(source or {}), "uri": uri, "query": query}
        try:
            data, read = survey(SourceSpec.parse(given, where="source"), output=table)
        except InputError as error:
            raise with_options(error) from error
        if data.assumptions:
            print(assumptions_text(data.assumptions))
        resolved = resolve_task(data, target=target, task=task)
        positive = resolve_positive(data, target=target) if resolved == "binary" else None
        expectations = propose(table, target=target, task=resolved)
    top = {"version": 1, "name": name or _name_from(uri), "target": target, "task": resolved}
    if positive is not None:
        top["positive"] = _plain(positive)
    named = clear_in("source.uri", uri)
    written = named.instead if named else uri
    if named:
        print(_secret_note(named))
    text = project_text(
        f"Made by penstock init from {data.rows:,} rows and {len(data.columns)} columns "
        f"({data.content}).",
        top=top,
        sections={
            "source": {"uri": _relative_uri(written, folder=output.parent)}
            | {key: value for key, value in sections(read).items() if key != "uri"},
            "split": _split(split or {}, data, target=target),
        },
        notes={"source": comments(data.assumptions)},
        contract=contract_of(data),
        expectations=expectations,
        full=full,
    )
    Project.parse(yaml.safe_load(text), where=str(output))
    files.write_text(output, text)
    return output


def _secret_note(named: Clear) -> str:
    """Return what to do about an address that held a secret: the file refers to it instead."""
    variables = "; ".join(f"export {name}=..." for name in named.names)
    return (
        f"The address holds {named.what}: the project file has a reference in its place. Before "
        f"penstock run: {variables}"
    )


def _split(given: Mapping[str, Any], data: Dataset, *, target: str) -> Mapping[str, Any]:
    """Return the section on the split: rows without a target are left out where there are any."""
    column = data.column(target)
    missing = column.profile.nulls if column is not None else 0
    if missing and "drop_missing_target" not in given:
        print(
            f"The target {target!r} is missing in {missing:,} of {data.rows:,} rows: they are left "
            "out of training and holdout (split.drop_missing_target)."
        )
        given = {**given, "drop_missing_target": True}
    return given


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _name_from(uri: str) -> str:
    stem = re.split(r"[?#]", redact(uri))[0].rstrip("/").rpartition("/")[2].split(".")[0]
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:48].strip("-")
    return name if name[:1].isalpha() else f"model-{name}".rstrip("-")


def _relative_uri(uri: str, *, folder: Path) -> str:
    if is_local(uri):
        return _relative(local_path(uri), folder=folder)
    scheme, mark, path = uri.partition(":///")
    if scheme in FILE_DATABASES and path and not path.startswith(("/", ":")):
        return f"{scheme}{mark}{_relative(path, folder=folder)}"
    return uri


def _relative(path: str, *, folder: Path) -> str:
    return os.path.relpath(Path(path).absolute(), folder.absolute())
