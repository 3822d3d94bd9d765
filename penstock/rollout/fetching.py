"""A registered version's folder on this machine, checked against what was registered."""

from __future__ import annotations

import shutil
from pathlib import Path

from penstock import model
from penstock.common.disk import writing
from penstock.errors import PenstockError
from penstock.registry import versions
from penstock.registry.versions import Version
from penstock.rollout.router import Release


def fetch(version: Version, *, into: Path, tracking_uri: str, fault: str = "") -> Release:
    """Return a version as a router takes it, its folder downloaded unless it is here already.

    Raises:
        IntegrityError: If its files or its tags are not the ones that were registered.
        ServiceError: If the registry or its artifact store does not answer, or there is no room.
    """
    short = version.model.removeprefix("sha256:")[:12]
    folder = into / f"{version.version}-{short}"
    if _holds(folder, version):
        versions.require_as_registered(version, tracking_uri=tracking_uri)
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


def _holds(folder: Path, version: Version) -> bool:
    """Return whether the folder is that version, as when a step is run again."""
    try:
        found = (model.digest_of(folder), model.export_digest_of(folder))
    except PenstockError:
        return False
    return found == (version.model, version.export)
