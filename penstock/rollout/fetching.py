"""A registered version's folder on this machine, checked against what was registered."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from penstock import model
from penstock.common import files
from penstock.common.disk import writing
from penstock.errors import PenstockError
from penstock.records import signatures
from penstock.registry import versions
from penstock.registry.versions import Version
from penstock.rollout.router import Release
from penstock.signatures.bundle import key_of


def fetch(version: Version, *, into: Path, tracking_uri: str, fault: str = "") -> Release:
    """Return a version as a router takes it, its folder downloaded unless it is here already.

    Raises:
        IntegrityError: If its files or its tags are not the ones that were registered.
        ServiceError: If the registry or its artifact store does not answer, or there is no room.
    """
    folder = _folder(version, into=into)
    if _holds(folder, version):
        versions.require_as_registered(version, tracking_uri=tracking_uri)
        _renew_signatures(folder, version, tracking_uri=tracking_uri)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        with writing(folder):
            versions.fetch(version.uri, tracking_uri=tracking_uri, destination=folder)
    return Release(
        version=version.version,
        uri=version.uri,
        model=version.model,
        folder=folder,
        export=version.export,
        fault=fault,
    )


def renew_signatures(version: Version, *, into: Path, tracking_uri: str) -> None:
    """Let the copy of a version that is here have the signatures that the registry has now.

    Args:
        version: The version, with the tags that it has now.
        into: Where `fetch` puts versions. Nothing happens where this one is not there.
        tracking_uri: The MLflow store.

    Raises:
        IntegrityError: If the files in the registry are not the ones that were registered.
        ServiceError: If the registry or its artifact store does not answer, or there is no room.
    """
    folder = _folder(version, into=into)
    if _holds(folder, version):
        _renew_signatures(folder, version, tracking_uri=tracking_uri)


def _folder(version: Version, *, into: Path) -> Path:
    return into / f"{version.version}-{version.model.removeprefix('sha256:')[:12]}"


def _renew_signatures(folder: Path, version: Version, *, tracking_uri: str) -> None:
    """Take the signatures that the registry has now, where the version was signed since."""
    by = version.tags.get(versions.SIGNED_BY, "")
    approved = version.tags.get(versions.APPROVALS_SIGNED_BY, "")
    now = {signatures.MODEL: by, signatures.DECISION: by, signatures.APPROVALS: approved}
    if not by or now == {name: key_of(folder / name) for name in signatures.FILES}:
        return
    with TemporaryDirectory() as place, writing(folder):
        fresh = Path(place) / "model"
        versions.fetch(version.uri, tracking_uri=tracking_uri, destination=fresh)
        for name in sorted(signatures.FILES):
            if (fresh / name).is_file():
                files.write_text(folder / name, (fresh / name).read_text(encoding="utf-8"))


def _holds(folder: Path, version: Version) -> bool:
    """Return whether the folder is that version, as when a step is run again."""
    try:
        found = (model.digest_of(folder), model.export_digest_of(folder))
    except PenstockError:
        return False
    return found == (version.model, version.export)
