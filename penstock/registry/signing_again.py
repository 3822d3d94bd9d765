"""A registered version signed later, or again with another key: as when keys rotate."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from penstock import tracking
from penstock.errors import InputError, IntegrityError
from penstock.gate.approval import ApprovalSpec
from penstock.records import signatures
from penstock.records.decision import Decision
from penstock.records.evidence import FOLDER, folder_of
from penstock.registry import audit, signing, versions
from penstock.registry.audit import Actor
from penstock.registry.signing_key import SIGNING_KEY
from penstock.registry.signing_people import approvals_that_count, sign_given
from penstock.registry.verify import fetch_verified
from penstock.registry.versions import Version, answers

SIGNED = "signed"
"""Event of the audit log."""


def sign_again(uri: str, *, actor: Actor, tracking_uri: str) -> tuple[Version, str]:
    """Sign a version's files, its decision, its evidence and its approvals with the configured key.

    Everything that is known of the version is checked first, as by `penstock verify`; only older
    signatures, which are replaced, are not.

    Args:
        uri: `models:/name/3` or `models:/name@alias`.
        actor: Who signs, and why: for the audit log.
        tracking_uri: The MLflow store.

    Returns:
        The version, and the id of the key.

    Raises:
        InputError: If no key is configured, it cannot be used, or there is no such version.
        IntegrityError: If something of the version does not hold; nothing is signed then.
        ServiceError: If the registry does not answer.
    """
    store = tracking.client(tracking_uri)
    with TemporaryDirectory() as place:
        found = fetch_verified(uri, tracking_uri=tracking_uri, into=Path(place))
        version, folder, pack = found.version, found.model, found.pack
        bad = [f"{check.name} ({check.verdict})" for check in found.checks if not check.good]
        if bad or pack is None:
            raise IntegrityError(
                f"it is not signed, because {len(bad)} checks do not hold: {', '.join(bad[:3])}",
                where=version.uri,
                remedy=f"penstock verify {version.uri} lists every check.",
            )
        decision = Decision.read(pack / "decision.json")
        policy = _policy(pack)
        key = signing.sign_model(folder, decision=decision, policy=policy, name=version.name)
        if not key:
            raise InputError(
                "no key to sign with is named",
                where=SIGNING_KEY,
                remedy="Set it to the path of a private key in PEM.",
            )
        evidence = Path(place) / f"{Path(folder_of(decision.digest())).name}.sig"
        signing.sign(pack, output=evidence)
        with answers(tracking_uri):
            source = store.get_model_version(version.name, str(version.version)).source
            model_id = source.removeprefix("models:/")
            store.log_model_artifacts(
                model_id, str(folder / signatures.FOLDER), artifact_path=signatures.FOLDER
            )
            store.log_artifact(version.run, str(evidence), FOLDER)
            store.set_model_version_tag(version.name, str(version.version), versions.SIGNED_BY, key)
            audit.record(
                store,
                version.name,
                event=SIGNED,
                uri=version.uri,
                actor=actor,
                facts={"key": key},
            )
        # Only this section: the rules have been judged.
        spec = ApprovalSpec.parse((policy or {}).get("approval", {}), where="policy.json: approval")
        given = approvals_that_count(version, spec=spec, tracking_uri=tracking_uri)
        if spec.people and given:
            sign_given(version, folder, given=given, tracking_uri=tracking_uri)
    return version, key


def _policy(pack: Path) -> dict[str, Any] | None:
    """Return the policy that was kept; that it is the decision's is asked where it is signed."""
    path = pack / "policy.json"
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
