"""A first project file for a table, every field explained."""

from __future__ import annotations

import os
import re
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic_core import to_jsonable_python

from penstock import files
from penstock.cluster import ClusterSpec
from penstock.data.addresses import is_local, local_path
from penstock.data.spec import SourceSpec, SplitSpec
from penstock.errors import InputError
from penstock.evaluation.spec import EvaluationSpec
from penstock.features.spec import FeaturesSpec
from penstock.pipelines.source_options import comments, sections, told, with_options
from penstock.policy.spec import Policy
from penstock.project import FILE_DATABASES, NotifySpec, Project
from penstock.quality.spec import Contract, Expectation
from penstock.records.spec import Spec
from penstock.registry.spec import CardSpec
from penstock.rollout.spec import DeploymentSpec
from penstock.training.spec import TrainingSpec

if TYPE_CHECKING:
    from penstock.records.dataset import Dataset

_WIDTH = 98
_SHORT = 3
"""Fields that stand on one line."""


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
            print(told(data.assumptions))
        resolved = resolve_task(data, target=target, task=task)
        positive = resolve_positive(data, target=target) if resolved == "binary" else None
        expectations = propose(table, target=target, task=resolved)
    text = _render(
        data,
        name=name or _name_from(uri),
        source={**sections(read), "uri": _relative_uri(uri, folder=output.parent)},
        target=target,
        task=resolved,
        positive="" if positive is None else _plain(positive),
        contract=contract_of(data),
        expectations=expectations,
        split=_split(split or {}, data, target=target),
    )
    Project.parse(yaml.safe_load(text), where=str(output))
    files.write_text(output, text)
    return output


def _split(given: Mapping[str, Any], data: Dataset, *, target: str) -> SplitSpec:
    """Return the section on the split: rows without a target are left out where there are any."""
    column = data.column(target)
    missing = column.profile.nulls if column is not None else 0
    if missing and "drop_missing_target" not in given:
        print(
            f"The target {target!r} is missing in {missing:,} of {data.rows:,} rows: they are left "
            "out of training and holdout (split.drop_missing_target)."
        )
        given = {**given, "drop_missing_target": True}
    return SplitSpec.parse(given, where="split")


def _render(
    data: Dataset,
    *,
    name: str,
    source: Mapping[str, Any],
    target: str,
    task: str,
    positive: str,
    contract: Contract,
    expectations: Iterable[Expectation],
    split: SplitSpec,
) -> str:
    top = {"version": 1, "name": name, "target": target, "task": task}
    if task == "binary":
        top["positive"] = positive
    lines = [
        *_comment(
            f"Made by penstock init from {data.rows:,} rows and {len(data.columns)} columns "
            f"({data.content}). Everything inferred is written out for review; a field whose line "
            "starts with # has its default.",
            indent=0,
        ),
        "",
        *_fields(Project, top, indent=0),
        "",
        *comments(data.assumptions),
        "source:",
        *_fields(SourceSpec, source),
        *_defaults(SourceSpec, shown=source),
        "",
        *_contract(contract),
        "",
        *_expectations(expectations),
    ]
    sections: tuple[tuple[str, Spec], ...] = (
        ("split", split),
        ("features", FeaturesSpec()),
        ("training", TrainingSpec()),
        ("evaluation", EvaluationSpec()),
        ("gate", Policy()),
        ("deployment", DeploymentSpec()),
        ("card", CardSpec()),
        ("notify", NotifySpec()),
        ("cluster", ClusterSpec()),
    )
    for title, spec in sections:
        lines += ["", *_section(title, spec)]
    lines += ["", *_defaults(Project, shown={}, only=("tracking_uri",), indent=0)]
    return "\n".join(lines) + "\n"


def _section(title: str, spec: Spec) -> Iterator[str]:
    kind = type(spec)
    yield from _comment((kind.__doc__ or "").splitlines()[0], indent=0)
    # The gate is what a reviewer looks for first, so its defaults stand in the open.
    shown = (
        _policy(spec) if title == "gate" else spec.model_dump(mode="json", exclude_defaults=True)
    )
    if not shown:
        yield f"{title}: {{}}"
    else:
        yield f"{title}:"
        yield from _fields(kind, shown)
    yield from _defaults(kind, shown=shown)


def _policy(spec: Spec) -> dict[str, Any]:
    """Return the rules that are asked; those that are not stand below, as defaults."""
    rules = {key: rule for key, rule in spec.model_dump(mode="json").items() if rule is not None}
    for rule in rules.values():
        if isinstance(rule, dict):
            rule.pop("because", None)
    return rules


def _contract(contract: Contract) -> Iterator[str]:
    yield from _comment(
        "The columns that the table must have, and their storage types. extra says what a column "
        "that is not listed means: error, warn or ignore.",
        indent=0,
    )
    yield "contract:"
    yield f"  extra: {contract.extra}"
    yield "  columns:"
    for column in contract.columns:
        yield f"    - {_flow({'name': column.name, 'type': column.type})}"


def _expectations(expectations: Iterable[Expectation]) -> Iterator[str]:
    yield from _comment(
        "Great Expectations, proposed from this table: edit them to say what must hold for every "
        "table. Data that break one of severity block are refused; warn shows a warning, info only "
        "lists it.",
        indent=0,
    )
    written = list(expectations)
    yield "expectations:" if written else "expectations: []"
    for expectation in written:
        notes = expectation.meta.get("notes", "")
        if notes:
            yield from _comment(str(notes), indent=2)
        yield f"  - type: {expectation.type}"
        yield f"    kwargs: {_flow(expectation.kwargs)}"
        yield f"    severity: {expectation.severity}"


def _fields(kind: type[Spec], values: Mapping[str, Any], *, indent: int = 2) -> Iterator[str]:
    for key, value in values.items():
        yield from _comment(kind.model_fields[key].description or "", indent=indent)
        yield from _entry(key, value, indent=indent)


def _entry(key: str, value: Any, *, indent: int) -> Iterator[str]:
    """Yield a field on one line, or one line for each of its own where it has many."""
    if not isinstance(value, dict) or len(value) <= _SHORT:
        yield " " * indent + f"{key}: {_flow(value)}"
        return
    yield " " * indent + f"{key}:"
    for name, inner in value.items():
        yield from _entry(name, inner, indent=indent + 2)


def _defaults(
    kind: type[Spec],
    *,
    shown: Mapping[str, Any],
    only: tuple[str, ...] = (),
    indent: int = 2,
) -> Iterator[str]:
    for key, field in kind.model_fields.items():
        if key in shown or field.is_required() or (only and key not in only):
            continue
        default = to_jsonable_python(field.get_default(call_default_factory=True))
        yield from _comment(field.description or "", indent=indent)
        yield " " * indent + f"# {key}: {_flow(default)}"


def _comment(text: str, *, indent: int) -> list[str]:
    prefix = " " * indent + "# "
    return textwrap.wrap(
        text, width=_WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False
    )


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _name_from(uri: str) -> str:
    stem = re.split(r"[?#]", uri)[0].rstrip("/").rpartition("/")[2].split(".")[0]
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
