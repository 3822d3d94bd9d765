"""What is watched where no server answers: the champion, by the rows of batches."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from penstock.captures.places import LocalPlace
from penstock.errors import InputError, IntegrityError, PenstockError
from penstock.monitoring.store.collect import Watched, known_version
from penstock.monitoring.store.storage import Storage
from penstock.records.model import FILE_NAME as MODEL
from penstock.records.model import Model
from penstock.records.monitoring import Known
from penstock.records.reference import FILE_NAME as REFERENCE
from penstock.records.reference import Reference
from penstock.rollout.state import Arm

UNWATCHED = "Errors and latency are not watched: rows are scored in batches, and no server answers."


def watched_batch(
    home: Path,
    service: str,
    *,
    captures: str,
    known_of: Callable[[int], Known | None],
    tracking_uri: Callable[[], str],
    require: bool = True,
) -> Watched:
    """Return what is to be watched of a model that scores batches.

    Whatever cannot be read is said and not raised: the rest is watched all the same.

    Args:
        home: The project's home; the champion's files are kept below `monitor/batch` there.
        service: The registered model.
        captures: Where `penstock score --capture` writes.
        known_of: Returns what the registry keeps of a version; None: nothing.
        tracking_uri: Returns the MLflow store.
        require: Whether it is missed where it is not there.
    """
    from penstock.registry.champion import checked_champion

    place = home / "monitor"
    try:
        uri = tracking_uri()
        found = checked_champion(service, tracking_uri=uri).require_recorded(service)
        if found is None:
            return Watched(service, problem=f"{service} has no champion yet: penstock run.")
        folder = _fetched(place / "batch", found.uri, found.model, tracking_uri=uri)
    except PenstockError as error:
        return Watched(service, problem=f"The champion cannot be read: {error}")
    missing: list[str] = []
    reference = None
    try:
        reference = Reference.read(folder / REFERENCE)
    except PenstockError as error:
        missing.append(f"It is not known what it learned from: {error}")
    arm = Arm(version=found.version, uri=found.uri, model=found.model, export=found.export)
    return Watched(
        service=service,
        version=found.version,
        captures=captures,
        model=Model.read(folder / MODEL),
        reference=reference,
        known=known_version(
            Storage(LocalPlace(place), where=str(place)),
            arm,
            known_of,
            missing=missing if require else [],
        ),
        folder=folder,
        missing=tuple(missing),
        unwatched=(UNWATCHED,),
    )


def _fetched(place: Path, uri: str, digest: str, *, tracking_uri: str) -> Path:
    """Return a version's folder, fetched once; an altered one is fetched again."""
    from penstock import model
    from penstock.registry import versions

    folder = place / digest.removeprefix("sha256:")[:16]
    with contextlib.suppress(InputError, IntegrityError):
        if folder.is_dir() and model.digest_of(folder) == digest:
            return folder
    shutil.rmtree(folder, ignore_errors=True)
    return versions.fetch(uri, tracking_uri=tracking_uri, destination=folder)
