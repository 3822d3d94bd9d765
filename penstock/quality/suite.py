"""Expectation suites in Great Expectations' own JSON and YAML form."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from penstock.common import files
from penstock.errors import InputError
from penstock.quality.spec import Expectation

_JSON, _YAML = ("", ".json"), (".yaml", ".yml")

# What Great Expectations writes beside an expectation, and what changes no verdict.
_BESIDE = ("id", "rendered_content", "success_on_last_run", "expectation_context")
_RUNTIME = ("result_format", "include_config", "catch_exceptions", "batch_id")

# Whole floats beyond this are not exact, so they stay what they are.
_EXACT = 2.0**53


_SEVERITIES = {"block": "critical", "warn": "warning", "info": "info"}
"""As Great Expectations calls them."""


def load_suite(path: Path) -> tuple[Expectation, ...]:
    """Read a suite; older ones, with `expectation_type` and no severity, are read too.

    Args:
        path: A `.json`, `.yaml` or `.yml` file, JSON if it has no ending: `{"name",
            "expectations": [{"type", "kwargs", "meta", "severity"}], "meta"}`.

    Raises:
        InputError: If the file cannot be read or is no suite; the message names the line or the
            expectation and its field.

    Example:
        >>> _ = Path("suite.yaml").write_text('''
        ... name: people
        ... expectations:
        ...   - type: expect_column_values_to_not_be_null
        ...     kwargs: {column: age}
        ...     severity: critical
        ... ''')
        >>> [(found.type, found.severity) for found in load_suite(Path("suite.yaml"))]
        [('expect_column_values_to_not_be_null', 'block')]
    """
    raw = _parse(path)
    if not isinstance(raw, Mapping) or not isinstance(raw.get("expectations"), list):
        raise InputError(
            "an expectation suite is an object with a list called `expectations`",
            where=str(path),
            remedy="Write one with `penstock init`, or save it from Great Expectations.",
        )
    return _expectations(raw["expectations"], where=f"{path}: expectations")


def save_suite(
    expectations: Sequence[Expectation], path: Path, *, name: str = "expectations"
) -> None:
    """Write a suite that Great Expectations loads too.

    Args:
        expectations: What to write.
        path: A `.json`, `.yaml` or `.yml` file; JSON if it has no ending, as Kubeflow's own
            artifact paths have none.
        name: The suite's name.

    Raises:
        InputError: If the file name ends otherwise.
    """
    suite = {
        "name": name,
        "expectations": [
            expectation.model_dump(mode="json") | {"severity": _SEVERITIES[expectation.severity]}
            for expectation in expectations
        ],
        "meta": {},
    }
    if _is_json(path):
        text = json.dumps(suite, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = yaml.safe_dump(suite, sort_keys=False, allow_unicode=True, width=100)
    files.write_text(path, text)


def from_parameter(raw: Sequence[Any]) -> tuple[Expectation, ...]:
    """Build expectations from a pipeline parameter or the project file.

    Kubeflow hands every number inside a list or object over as a float; whole ones become integers
    again.

    Args:
        raw: One mapping for each expectation, with `type`, `kwargs`, `meta` and `severity`.

    Raises:
        InputError: If one is malformed; the message names its position and field.
    """
    return _expectations(raw, where="expectations")


def digest_of(expectations: Sequence[Expectation]) -> str:
    """Return `sha256:<hex>` of a suite's content, whatever its name and the file it came from."""
    return files.digest_of_text(
        files.canonical_json([expectation.model_dump(mode="json") for expectation in expectations])
    )


def _is_json(path: Path) -> bool:
    if path.suffix not in (*_JSON, *_YAML):
        raise InputError(
            f"a suite's file name ends in .json, .yaml or .yml, not {path.suffix!r}",
            where=str(path),
            remedy="Rename the file.",
        )
    return path.suffix in _JSON


def _parse(path: Path) -> object:
    is_json = _is_json(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"the expectation suite cannot be read: {error.strerror}", where=str(path)
        ) from error
    except UnicodeDecodeError as error:
        raise InputError("the expectation suite is not UTF-8 text", where=str(path)) from error
    try:
        return json.loads(text) if is_json else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        place = f"{path}, line {error.lineno}, column {error.colno}"
        raise InputError(f"not JSON: {error.msg}", where=place) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise InputError(f"not YAML: {problem}", where=place) from error


def _expectations(raw: Sequence[Any], *, where: str) -> tuple[Expectation, ...]:
    return tuple(
        _expectation(item, where=f"{where}[{position}]") for position, item in enumerate(raw)
    )


def _expectation(raw: object, *, where: str) -> Expectation:
    if not isinstance(raw, Mapping):
        raise InputError(
            f"an expectation is an object with type and kwargs, got {raw!r:.80}", where=where
        )
    given = _plain(raw, where=where)
    fields = {key: value for key, value in given.items() if key not in _BESIDE}
    if "expectation_type" in fields:
        fields.setdefault("type", fields.pop("expectation_type"))
    # Great Expectations writes null for what is not set.
    for key in ("kwargs", "meta", "severity", "notes", "description"):
        if fields.get(key, "") is None:
            del fields[key]
    if isinstance(fields.get("kwargs"), dict):
        fields["kwargs"] = {k: v for k, v in fields["kwargs"].items() if k not in _RUNTIME}
    _keep_notes(fields)
    return Expectation.parse(fields, where=where)


def _keep_notes(fields: dict[str, Any]) -> None:
    """Move an expectation's own `description` and `notes` into its meta, which travels along."""
    for key in ("description", "notes"):
        if key in fields and isinstance(fields.setdefault("meta", {}), dict):
            fields["meta"].setdefault("notes", fields.pop(key))


def _plain(value: Any, *, where: str) -> Any:
    """Return a value as JSON would hold it: dates as text, whole floats as integers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, where=f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, where=f"{where}[{position}]") for position, item in enumerate(value)]
    if isinstance(value, float):
        return _number(value, where=where)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value


def _number(value: float, *, where: str) -> int | float:
    if not math.isfinite(value):
        raise InputError(
            f"{value} is no number that a suite can hold",
            where=where,
            remedy="Leave an open end out.",
        )
    return int(value) if value.is_integer() and abs(value) < _EXACT else value
