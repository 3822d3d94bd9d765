"""Make a bundle: a version as a folder that answers without Penstock's server."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from penstock.bundle import booster, modelcar, triton
from penstock.bundle.rules import rules_for
from penstock.common import files
from penstock.errors import InputError
from penstock.records import export
from penstock.records.export import Export
from penstock.records.model import FILE_NAME, Model
from penstock.registry import versions
from penstock.registry.versions import Version
from penstock.scoring.version import resolve

Form = Literal["scorer", "triton", "booster", "modelcar"]
SCORER, RULES = "scorer.py", "rules.json"


@dataclass(frozen=True)
class Fetched:
    """A version whose files are here and are what was registered.

    Args:
        version: It.
        folder: Its model's folder.
        record: What is known of the model.
    """

    version: Version
    folder: Path
    record: Model


def bundle(
    asked: str,
    *,
    output: Path,
    tracking_uri: str,
    unapproved: bool = False,
    form: Form = "scorer",
) -> str:
    """Write a version as a folder that answers as its server does, without Penstock.

    Args:
        asked: `models:/NAME@ALIAS` or `models:/NAME/NUMBER`.
        output: The folder to make; it must not hold anything.
        tracking_uri: The MLflow store; empty takes MLFLOW_TRACKING_URI.
        unapproved: Take a version that was named by its number although it was not approved.
        form: scorer: ONNX, rules for reading values, a scorer. triton: a model repository.
            booster: the file of XGBoost or LightGBM, which takes features. modelcar: an OCI image
            of the version's files.

    Returns:
        The version's address by its number.

    Raises:
        InputError: If the version has no such form, or the folder holds something.
        NotApprovedError: If the version is neither champion nor approved.
        IntegrityError: If its files are not what was registered.
        ServiceError: If the registry does not answer.
    """
    version, _ = resolve(asked, tracking_uri=tracking_uri, unapproved=unapproved)
    with TemporaryDirectory(prefix="penstock-bundle-") as scratch:
        folder = Path(scratch) / "model"
        versions.fetch(version.uri, tracking_uri=tracking_uri, destination=folder)
        fetched = Fetched(version, folder, Model.read(folder / FILE_NAME))
        with files.whole_folder(output) as made:
            _WRITERS[form](fetched, made)
    return version.uri


def _write_scorer(fetched: Fetched, made: Path) -> None:
    described = _described(fetched)
    shutil.copyfile(_onnx(fetched), made / export.MODEL_NAME)
    _write_rules(fetched, described, made / RULES)
    files.write_text(made / SCORER, _scorer())


def _write_triton(fetched: Fetched, made: Path) -> None:
    described = _described(fetched)
    place = made / fetched.version.name
    (place / "1").mkdir(parents=True)
    shutil.copyfile(_onnx(fetched), place / "1" / export.MODEL_NAME)
    _write_rules(fetched, described, place / RULES)
    text = triton.config(fetched.version.name, record=fetched.record, inputs=described.inputs)
    files.write_text(place / triton.FILE_NAME, text)


def _write_booster(fetched: Fetched, made: Path) -> None:
    name, content, features = booster.of(
        fetched.folder, digest=fetched.version.model, where=fetched.version.uri
    )
    (made / name).write_bytes(content)
    known = {"model": fetched.version.uri, "digest": fetched.version.model, **features}
    files.write_text(made / booster.FEATURES, _readable(known))


def _write_modelcar(fetched: Fetched, made: Path) -> None:
    version = fetched.version
    said = {
        "org.opencontainers.image.title": version.name,
        "org.opencontainers.image.version": str(version.version),
        "io.penstock.model": version.uri,
        "io.penstock.model-digest": version.model,
        "io.penstock.decision-digest": version.tags.get(versions.DECISION_DIGEST, ""),
    }
    annotations = {key: value for key, value in said.items() if value}
    modelcar.write(fetched.folder, made, tag=str(version.version), annotations=annotations)


_WRITERS: dict[Form, Callable[[Fetched, Path], None]] = {
    "scorer": _write_scorer,
    "triton": _write_triton,
    "booster": _write_booster,
    "modelcar": _write_modelcar,
}


def _onnx(fetched: Fetched) -> Path:
    return fetched.folder / export.FOLDER / export.MODEL_NAME


def _described(fetched: Fetched) -> Export:
    """Return the record of the version's ONNX form, which was proven to answer as the model does.

    Raises:
        InputError: If there is none.
    """
    described = (
        Export.read(fetched.folder / export.FOLDER / export.FILE_NAME)
        if fetched.version.export
        else None
    )
    if described is None or not described.file:
        raise InputError(
            f"the version has no ONNX form: {_why_not(described, fetched.version)}",
            where=fetched.version.uri,
            remedy="Bundle a version that has one; the server answers for this one.",
        )
    return described


def _why_not(described: Export | None, version: Version) -> str:
    if described is not None:
        return described.reason
    return version.tags.get(versions.EXPORT_REASON) or "it was registered without one"


def _write_rules(fetched: Fetched, described: Export, path: Path) -> None:
    version = fetched.version
    rules = {"model": version.uri, "digest": version.model, "onnx": described.file}
    files.write_text(path, _readable(rules | rules_for(fetched.record, described)))


def _readable(known: object) -> str:
    return json.dumps(known, indent=1, ensure_ascii=False)


def _scorer() -> str:
    """Return the text of the scorer, without what its line is for our own checks alone."""
    text = (Path(__file__).parent / SCORER).read_text(encoding="utf-8")
    return re.sub(r"  # (?:noqa|type: ignore).*", "", text)
