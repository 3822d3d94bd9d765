"""What the audit trail says a version was registered with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from penstock.errors import IntegrityError, PenstockError
from penstock.records.evidence import MANIFEST, Evidence, folder_of
from penstock.registry.audit import Trail, registered_digests

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from penstock.registry._store import Version


def require(
    store: MlflowClient, trail: Trail, version: Version, *, tags: Mapping[str, str]
) -> None:
    """Return only if the tags of a version are what the trail says it was registered with.

    A version from before there was a trail is believed. An entry of an earlier release does not
    hold the digest of the export: it is taken from the manifest of the evidence then, which must
    have the digest that the entry holds.

    Args:
        store: The registry.
        trail: Of the registered model.
        version: The version.
        tags: Names of its tags, by the kind that the trail calls them: model, export, decision,
            evidence.

    Raises:
        IntegrityError: If a tag differs, the trail is broken, or the registration is not in it
            although it must be or is in it twice, or the evidence that is needed is gone or
            altered.
    """
    if trail.problems:
        # Whoever rewrites the registration breaks the chain behind it: nothing in it is believed.
        raise IntegrityError(
            f"the audit trail is broken: {trail.problems[0]}",
            where=version.uri,
            remedy="Look at: penstock audit. Put the tags of the registered model back from a "
            "backup of the registry.",
        )
    told = registered_digests(trail, version.uri)
    if not told:
        _require_older(version, evidence=tags["evidence"])
        return
    for kind, tag in tags.items():
        found = version.tags.get(tag, "")
        expected = told[kind] if kind in told else _kept_export(store, told, version)
        if found != expected:
            raise IntegrityError(
                f"the tag {tag} is {found or 'none'}, but the audit trail says that "
                f"{expected or 'none'} was registered",
                where=f"{version.uri}, {kind}",
                remedy="The tag was altered after it was registered: release again.",
            )


def _require_older(version: Version, *, evidence: str) -> None:
    if evidence in version.tags:
        raise IntegrityError(
            "its registration is not in the audit trail",
            where=version.uri,
            remedy="Look at: penstock audit. Where the step register was cut short, run it again; "
            "else release again.",
        )


def _kept_export(store: MlflowClient, told: Mapping[str, str], version: Version) -> str:
    run = version.run
    path = f"{folder_of(told.get('decision', ''))}/{MANIFEST}"
    why = "it is gone"
    with TemporaryDirectory() as place:
        if path in {item.path for item in store.list_artifacts(run, path.rpartition("/")[0])}:
            try:
                manifest = Evidence.read(Path(store.download_artifacts(run, path, place)))
            except PenstockError as error:
                why = str(error)
            else:
                if manifest.digest() == told.get("evidence"):
                    return manifest.export
                why = f"its digest is {manifest.digest()}, the trail says {told.get('evidence')}"
    raise IntegrityError(
        f"the manifest of its evidence, which says what was exported, cannot be believed: {why}",
        where=f"{version.uri}, export",
        remedy="See what is left with: penstock verify. Then release again.",
    )
