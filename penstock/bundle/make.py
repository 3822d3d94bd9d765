"""Make a bundle: the ONNX form of a version, its rules for reading values, and a scorer."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from penstock.common import files
from penstock.data.types.numbers import pattern, rewriting
from penstock.data.types.times import ISO
from penstock.data.types.value import BOOLEANS, SPACES, Rules, rules_of
from penstock.errors import InputError
from penstock.records import export
from penstock.records.export import Export, Input
from penstock.records.model import FILE_NAME, Model
from penstock.registry import versions
from penstock.scoring.version import resolve

SCORER, RULES = "scorer.py", "rules.json"

_NONE = "(?!)"
"""What no text matches."""


def bundle(asked: str, *, output: Path, tracking_uri: str, unapproved: bool = False) -> str:
    """Write a version as a folder that answers as its server does, without Penstock.

    Args:
        asked: `models:/NAME@ALIAS` or `models:/NAME/NUMBER`.
        output: The folder to make; it must not hold anything.
        tracking_uri: The MLflow store; empty takes MLFLOW_TRACKING_URI.
        unapproved: Take a version that was named by its number although it was not approved.

    Returns:
        The version's address by its number.

    Raises:
        InputError: If the version has no ONNX form, or the folder holds something.
        NotApprovedError: If the version is neither champion nor approved.
        IntegrityError: If its files are not what was registered.
        ServiceError: If the registry does not answer.
    """
    version, _ = resolve(asked, tracking_uri=tracking_uri, unapproved=unapproved)
    with TemporaryDirectory(prefix="penstock-bundle-") as scratch:
        folder = Path(scratch) / "model"
        versions.fetch(version.uri, tracking_uri=tracking_uri, destination=folder)
        place = folder / export.FOLDER
        described = Export.read(place / export.FILE_NAME) if version.export else None
        if described is None or not described.file:
            why = described.reason if described else "it was registered without one"
            raise InputError(
                f"the version has no ONNX form: {why}",
                where=version.uri,
                remedy="Bundle a version that has one; the server answers for this one.",
            )
        record = Model.read(folder / FILE_NAME)
        rules = {"model": version.uri, "digest": version.model, "onnx": described.file}
        rules |= rules_for(record, described)
        with files.whole_folder(output) as made:
            shutil.copyfile(place / export.MODEL_NAME, made / export.MODEL_NAME)
            text = json.dumps(rules, indent=1, ensure_ascii=False)
            files.write_text(made / RULES, text)
            files.write_text(made / SCORER, _scorer())
    return version.uri


def rules_for(record: Model, described: Export) -> dict[str, Any]:
    """Return what a scorer must know of a model: its columns, and what its scores amount to."""
    rules = rules_of(record.columns, record.reading)
    inputs = {each.column: each for each in described.inputs}
    columns = sorted(record.columns, key=lambda column: inputs[column.name].index)
    return {
        "task": record.task,
        "target": record.target,
        "classes": list(record.classes),
        "positive": record.positive,
        "threshold": record.threshold,
        "dataset": record.dataset_version,
        "columns": [_column(rules[c.name], inputs[c.name]) for c in columns],
    }


def _column(rules: Rules, given: Input) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": rules.name,
        "type": rules.kind,
        "input": given.name,
        "kind": given.kind,
        "strip": SPACES if rules.strip else "",
        "words": _words(rules),
    }
    written = rules.written
    if rules.kind == "datetime":
        found["forms"] = [written.time] if written and written.time else []
        found["iso"] = ISO.pattern
    elif rules.kind != "string":
        found["number"] = _number(rules)
        found["rewrite"] = rewriting(written)
    return found


def _words(rules: Rules) -> dict[str, float | None]:
    """Return the texts that stand for a value, or for a missing one."""
    words: dict[str, float | None] = {}
    if rules.texts and rules.kind == "boolean":
        words |= {text: float(value) for text, value in BOOLEANS.items()}
    if rules.texts and rules.kind != "string":
        words[""] = None
    return words | dict.fromkeys(rules.missing)


def _number(rules: Rules) -> str:
    """Return the pattern of a text that is a number; without a table of texts there is none."""
    if not rules.texts or rules.kind == "boolean":
        return _NONE
    found = pattern(rules.written)
    # `$` lets a line end follow, which is no part of a whole number.
    return re.sub(r"\$$", r"\\Z", found) if rules.kind == "integer" else found


def _scorer() -> str:
    """Return the text of the scorer, without what its line is for our own checks alone."""
    text = (Path(__file__).parent / SCORER).read_text(encoding="utf-8")
    return re.sub(r"  # (?:noqa|type: ignore).*", "", text)
