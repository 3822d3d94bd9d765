"""Whether a version is what the audit log says was registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from penstock.errors import IntegrityError, PenstockError
from penstock.records.evidence import MANIFEST, Evidence, folder_of
from penstock.registry.audit import REGISTERED, AuditLog

if TYPE_CHECKING:
    from mlflow import MlflowClient


def registered_digests(log: AuditLog, uri: str) -> Mapping[str, str]:
    """Return the digests that a version was registered with, by kind, as the log has them.

    The kinds are model, decision, evidence and, since export is written down too, export. Empty:
    the log does not hold the registration, as with versions from before there was an audit log.

    Raises:
        IntegrityError: If two entries register the version with different digests.
    """
    found: list[dict[str, str]] = []
    for entry in log.of(uri):
        if entry.event == REGISTERED and entry.digests not in found:
            found.append(entry.digests)
    if len(found) > 1:
        raise IntegrityError(
            f"the audit log registers it {len(found)} times, with different digests",
            where=uri,
            remedy="One of the entries was written by hand. See penstock audit, and release again.",
        )
    return found[0] if found else {}


class _Registered(Protocol):
    """A registered version: its address, the run that keeps its evidence, and its tags now."""

    @property
    def uri(self) -> str: ...
    @property
    def run(self) -> str: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


def require_registered(
    store: MlflowClient, log: AuditLog, version: _Registered, *, tags: Mapping[str, str]
) -> None:
    """Return only if the tags of a version are what the log says it was registered with.

    A version from before there was an audit log is accepted. Entries of earlier releases lack the
    digest of the export: it is then taken from the manifest of the evidence, which must have the
    digest that the entry holds.

    Args:
        store: The registry.
        log: Of the registered model.
        version: The version.
        tags: Names of its tags, by the kind that the log calls them: model, export, decision,
            evidence.

    Raises:
        IntegrityError: If a tag differs, the log is broken, or the registration is not in it
            although it must be or is in it twice, or the evidence that is needed is gone or
            altered.
    """
    if log.problems:
        # Whoever rewrites the registration breaks the chain behind it: nothing in it is trusted.
        raise IntegrityError(
            f"the audit log is broken: {log.problems[0]}",
            where=version.uri,
            remedy="See penstock audit. Restore the tags of the registered model from a backup of "
            "the registry.",
        )
    registered = registered_digests(log, version.uri)
    if not registered:
        _require_older(version, evidence=tags["evidence"])
        return
    for kind, tag in tags.items():
        found = version.tags.get(tag, "")
        expected = (
            registered[kind] if kind in registered else _kept_export(store, registered, version)
        )
        if found != expected:
            raise IntegrityError(
                f"the tag {tag} is {found or 'none'}, but the audit log says that "
                f"{expected or 'none'} was registered",
                where=f"{version.uri}, {kind}",
                remedy="The tag was changed after it was registered: release again.",
            )


def _require_older(version: _Registered, *, evidence: str) -> None:
    if evidence in version.tags:
        raise IntegrityError(
            "its registration is not in the audit log",
            where=version.uri,
            remedy="See penstock audit. If the step register was interrupted, run it again; else "
            "release again.",
        )


def _kept_export(store: MlflowClient, registered: Mapping[str, str], version: _Registered) -> str:
    run = version.run
    path = f"{folder_of(registered.get('decision', ''))}/{MANIFEST}"
    why = "it is gone"
    with TemporaryDirectory() as place:
        if path in {item.path for item in store.list_artifacts(run, path.rpartition("/")[0])}:
            try:
                manifest = Evidence.read(Path(store.download_artifacts(run, path, place)))
            except PenstockError as error:
                why = str(error)
            else:
                if manifest.digest() == registered.get("evidence"):
                    return manifest.export
                why = (
                    f"its digest is {manifest.digest()}, the audit log says "
                    f"{registered.get('evidence')}"
                )
    raise IntegrityError(
        f"the manifest of its evidence, which says what was exported, cannot be trusted: {why}",
        where=f"{version.uri}, export",
        remedy="See what is left with: penstock verify. Then release again.",
    )
