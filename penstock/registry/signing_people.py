"""People's approvals of a version, signed once they are as many as its policy asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from penstock import tracking
from penstock.common import files
from penstock.gate.approval import ApprovalSpec
from penstock.records import signatures
from penstock.records.approval import Approval
from penstock.registry import approvals, audit, versions
from penstock.registry.audit import Actor
from penstock.registry.signing_key import path_of_key, private_key
from penstock.registry.versions import Version, answers
from penstock.signatures.approvals import sign_approvals
from penstock.signatures.bundle import subject_of
from penstock.signatures.keys import identity_of

SIGNED = "approvals signed"
"""Event of the audit log."""


def sign_people(uri: str, *, spec: ApprovalSpec, tracking_uri: str) -> str:
    """Sign the approvals of a version that is signed, with the configured key.

    Args:
        uri: `models:/name/3`.
        spec: What its policy asks for.
        tracking_uri: The MLflow store.

    Returns:
        The id of the key. Empty, and nothing was written: no key is configured, the version itself
        is not signed, the policy asks for nobody, or people have not approved.

    Raises:
        InputError: If a key is configured and cannot be used.
        IntegrityError: If the version's files are not those that were registered.
        NotApprovedError: If an approval was tampered with.
        ServiceError: If the registry does not answer.
    """
    if not (spec.people and path_of_key()):
        return ""
    version = versions.registered(uri, tracking_uri=tracking_uri)
    given = approvals_that_count(version, spec=spec, tracking_uri=tracking_uri)
    if not given or not version.tags.get(versions.SIGNED_BY, ""):
        return ""
    with TemporaryDirectory() as place:
        folder = Path(place) / "model"
        versions.fetch(version.uri, tracking_uri=tracking_uri, destination=folder)
        return sign_given(version, folder, given=given, tracking_uri=tracking_uri)


def approvals_that_count(
    version: Version, *, spec: ApprovalSpec, tracking_uri: str
) -> tuple[Approval, ...]:
    """Return the approvals by which people let a version in; none if they are too few.

    They are judged at the time of the last of them: one that has expired since is signed again as
    keys rotate, for a version that serves. Whether one is too old for a release is asked by that.

    Args:
        version: The version, with the tags that it has now.
        spec: What its policy asks for.
        tracking_uri: The MLflow store.

    Raises:
        NotApprovedError: If an approval was tampered with.
        ServiceError: If the registry does not answer.
    """
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        model_tags = store.get_registered_model(version.name).tags
    decision = version.tags.get(versions.DECISION_DIGEST, "")
    given = [
        each
        for each in approvals.read(version.tags, log=audit.read(model_tags))
        if each.verdict == "approved" and (each.model, each.decision) == (version.model, decision)
    ]
    if not given:
        return ()
    judged = approvals.judge_tags(
        version.uri,
        tags=version.tags,
        model_tags=model_tags,
        spec=spec,
        # A clock that is ahead does not make an approval count that would not count now.
        now=min(max(each.time for each in given), datetime.now(UTC)),
    )
    return tuple(each for each in given if judged.approved and each.by.name in judged.by)


def sign_given(
    version: Version, folder: Path, *, given: tuple[Approval, ...], tracking_uri: str
) -> str:
    """Sign approvals, and put them beside a version's files and into the audit log.

    Args:
        version: The version.
        folder: Its folder, with the signature on its files.
        given: The approvals that count.
        tracking_uri: The MLflow store.

    Returns:
        The id of the key.

    Raises:
        InputError: If no key is configured, or it cannot be used.
        ServiceError: If the registry does not take them.
        UntrustedError: If the signature on the files cannot be read.
    """
    private = private_key()
    key = identity_of(private.public_key())
    sha256 = subject_of(folder / signatures.MODEL)
    stated = sign_approvals(given, key=private, name=version.name, sha256=sha256)
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        source = store.get_model_version(version.name, str(version.version)).source
        with TemporaryDirectory() as place:
            files.write_text(Path(place) / Path(signatures.APPROVALS).name, stated)
            store.log_model_artifacts(
                source.removeprefix("models:/"), place, artifact_path=signatures.FOLDER
            )
        tag = versions.APPROVALS_SIGNED_BY
        store.set_model_version_tag(version.name, str(version.version), tag, key)
        audit.record(
            store,
            version.name,
            event=SIGNED,
            uri=version.uri,
            actor=Actor(name="approve", reason=f"Approved by {_names(given)}."),
            facts={"key": key},
        )
    return key


def _names(given: tuple[Approval, ...]) -> str:
    return ", ".join(dict.fromkeys(each.by.name for each in given))
