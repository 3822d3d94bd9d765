"""The text of a project file: every field explained, and each default a line to uncomment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from penstock.project import Project
from penstock.quality.spec import Contract, Expectation
from penstock.records.spec import Spec

_WIDTH = 98
_SHORT = 3
"""Fields that stand on one line."""

_ORDER = (
    "source",
    "validation",
    "engine",
    "split",
    "features",
    "training",
    "evaluation",
    "gate",
    "deployment",
    "monitoring",
    "scoring",
    "trigger",
    "experiment",
    "notify",
    "card",
    "cluster",
)
"""The sections: what comes first in the pipeline first, and what few change last."""

_FIRST: Mapping[str, tuple[str, ...]] = {
    "source": ("na_values", "types"),
    "validation": ("on_fail",),
    "engine": ("workers",),
    "split": ("method", "column", "holdout", "drop_missing_target"),
    "features": ("columns",),
    "training": ("trials", "candidates", "metric", "threshold"),
    "gate": (),
    "gate.slices": ("severity", "columns", "margin"),
    "gate.leakage": ("severity", "single_column"),
    "gate.training_data": ("severity", "label_noise_at_most", "drift_at_most"),
    "gate.approval": ("people",),
    "deployment": ("router", "port", "canary"),
    "deployment.canary": ("steps",),
    "monitoring": ("every", "false_alarms_per_year", "retrain"),
    "trigger": ("watch", "quiet", "wait"),
    "experiment": ("kpi", "weight"),
    "notify": ("webhook", "file"),
    "card": ("intended_use", "owner"),
}
"""What people change first, by section: what `full=False` leaves."""


def project_text(
    about: str,
    *,
    top: Mapping[str, Any],
    sections: Mapping[str, Mapping[str, Any]],
    notes: Mapping[str, Sequence[str]],
    contract: Contract,
    expectations: Iterable[Expectation],
    full: bool = False,
) -> str:
    """Return a project file that can be edited as it invites.

    A line that begins with `#` and no space after it is a setting with its default: without the
    `#` the file still loads, and means the same.

    Args:
        about: What the file was made from, in a sentence.
        top: Fields of the top level, in their order.
        sections: The values of each section that are not the default.
        notes: Comment lines to stand above a section, for example what was assumed of the table.
        contract: The columns that were found.
        expectations: What was proposed of them.
        full: Write every field, not only those that people change first.
    """
    more = "" if full else " Here are the settings that are changed first; `penstock init --full` "
    more += "" if full else "writes all of them, docs/project-file.md has them in tables."
    lines = [
        *_comment(
            f"{about} What was inferred is written out for review. A line like `#port: 8080` is a "
            f"setting with its default: remove the # and change it.{more}",
            indent=0,
        ),
        "",
        *_live(Project, top),
        *_default("tracking_uri", Project.model_fields["tracking_uri"], indent=0),
    ]
    for title in _ORDER:
        if full or title in _FIRST:
            lines += ["", *notes.get(title, ())]
            lines += _section(title, sections.get(title, {}), full=full)
    lines += ["", *_contract(contract), "", *_expectations(expectations)]
    return "\n".join(lines) + "\n"


def _section(title: str, values: Mapping[str, Any], *, full: bool) -> Iterator[str]:
    kind = _spec(Project.model_fields[title])
    assert kind is not None
    yield from _comment((kind.__doc__ or "").splitlines()[0], indent=0)
    yield f"{title}:"
    # The gate is what a reviewer looks for first, so its rules stand in the open.
    rules = _rules(full=full) if title == "gate" else {}
    yield from _live(kind, {**rules, **values}, indent=2)
    yield from _defaults(title, kind, shown={**rules, **values}, full=full, indent=2)


def _rules(*, full: bool) -> dict[str, Any]:
    """Return the rules of the default policy; the others stay commented out."""
    default = Project.model_fields["gate"].get_default().model_dump(mode="json")
    rules = {key: rule for key, rule in default.items() if rule is not None}
    for name, rule in rules.items():
        if isinstance(rule, dict):
            rule.pop("because", None)
            first = () if full else _FIRST.get(f"gate.{name}", ())
            rules[name] = {key: rule[key] for key in first} if first else rule
    return rules


def _live(kind: type[Spec], values: Mapping[str, Any], *, indent: int = 0) -> Iterator[str]:
    for key, value in values.items():
        yield from _comment(kind.model_fields[key].description or "", indent=indent)
        yield from _entry(key, value, indent=indent)


def _defaults(
    path: str, kind: type[Spec], *, shown: Mapping[str, Any], full: bool, indent: int
) -> Iterator[str]:
    first = [name for name in _FIRST.get(path, ()) if name in kind.model_fields]
    rest = [name for name in kind.model_fields if name not in first]
    for name in [*first, *rest] if full else first:
        field = kind.model_fields[name]
        if name in shown or field.is_required():
            continue
        inner = _spec(field)
        if inner is None:
            yield from _default(name, field, indent=indent)
            continue
        # Its own fields are uncommented each alone, so what holds them stands already.
        yield from _comment((inner.__doc__ or "").splitlines()[0], indent=indent)
        yield f"{' ' * indent}{name}:"
        yield from _defaults(f"{path}.{name}", inner, shown={}, full=full, indent=indent + 2)


def _default(name: str, field: FieldInfo, *, indent: int) -> Iterator[str]:
    value = field.get_default(call_default_factory=True)
    yield from _comment(field.description or "", indent=indent)
    yield f"{' ' * indent}#{name}: {_flow(_brief(value))}"


def _brief(value: Any) -> Any:
    """Return plain values, those of objects in a list without their own defaults."""
    if isinstance(value, tuple) and all(isinstance(item, Spec) for item in value):
        return [item.model_dump(mode="json", exclude_defaults=True) for item in value]
    return to_jsonable_python(value)


def _spec(field: FieldInfo) -> type[Spec] | None:
    """Return the section that a field is; None if it is a value, or may be switched off."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Spec) else None


def _contract(contract: Contract) -> Iterator[str]:
    yield from _comment(
        "The columns that the table must have, and their storage types. extra says what a column "
        "that is not listed means: block, warn or ignore.",
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
    yield "expectations:"
    for expectation in expectations:
        notes = expectation.meta.get("notes", "")
        if notes:
            yield from _comment(str(notes), indent=2)
        yield f"  - type: {expectation.type}"
        yield f"    kwargs: {_flow(expectation.kwargs)}"
        yield f"    severity: {expectation.severity}"


def _entry(key: str, value: Any, *, indent: int) -> Iterator[str]:
    """Yield a field on one line, or one line for each of its own where it has many."""
    if not isinstance(value, dict) or len(value) <= _SHORT:
        yield " " * indent + f"{key}: {_flow(value)}"
        return
    yield " " * indent + f"{key}:"
    for name, inner in value.items():
        yield from _entry(_flow(name), inner, indent=indent + 2)


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
