"""Make a bundle: the ONNX form of a version, its rules for reading values, and a scorer."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from penstock.common import files
from penstock.data.types.numbers import pattern
from penstock.data.types.value import BOOLEANS, Rules, rules_of
from penstock.errors import InputError
from penstock.records import export
from penstock.records.export import Export, Input
from penstock.records.model import FILE_NAME, Model
from penstock.registry import versions
from penstock.registry.versions import Version
from penstock.scoring.version import resolve

SCORER, RULES = "scorer.py", "rules.json"


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
            why = _why_not(described, version)
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


def _why_not(described: Export | None, version: Version) -> str:
    if described is not None:
        return described.reason
    return version.tags.get(versions.EXPORT_REASON) or "it was registered without one"


def rules_for(record: Model, described: Export) -> dict[str, Any]:
    """Return what a scorer must know of a model: its columns, and what its scores amount to."""
    rules = rules_of(record.columns, record.reading)
    inputs = {each.column: each for each in described.inputs}
    return {
        "task": record.task,
        "target": record.target,
        "classes": list(record.classes),
        "positive": record.positive,
        "threshold": record.threshold,
        "dataset": record.dataset_version,
        "columns": [_column(rules[c.name], inputs[c.name]) for c in record.columns],
    }


def _column(rules: Rules, given: Input) -> dict[str, Any]:
    written = rules.written
    found: dict[str, Any] = {
        "name": rules.name,
        "type": rules.kind,
        "input": given.name,
        "index": given.index,
        "kind": given.kind,
        "texts": rules.texts,
        "strip": rules.strip,
        "missing": sorted(rules.missing),
    }
    if rules.kind == "datetime":
        found["time"] = written.time if written else ""
    elif rules.kind == "boolean":
        found["booleans"] = BOOLEANS
    elif rules.kind != "string":
        found |= {
            "number": pattern(written),
            "decimal": written.decimal if written else ".",
            "thousands": written.thousands if written else "",
            "affix": written.affix if written else "",
        }
    return found


def _scorer() -> str:
    """Return the text of the scorer, without what its line is for our own checks alone."""
    text = (Path(__file__).parent / SCORER).read_text(encoding="utf-8")
    return re.sub(r"  # (?:noqa|type: ignore).*", "", text)
