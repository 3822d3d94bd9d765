"""Checking a version at any later time: every digest is computed again, every claim compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from penstock import model, tracking
from penstock.common import files
from penstock.errors import PenstockError
from penstock.gate.approval import ApprovalSpec
from penstock.records import signatures
from penstock.records.approval import Approval
from penstock.records.baseline import FILE_NAME as BASELINE
from penstock.records.decision import Decision
from penstock.records.evidence import MANIFEST, AuditEntry, Evidence, RolloutEvidence
from penstock.registry import approvals, audit, registration, signing, versions
from penstock.registry.champion import checked_champion
from penstock.registry.check import Check, Verdict, same
from penstock.registry.evidence import RECORDED, fetch_pack, rollout_folder
from penstock.registry.servings import Serving, compared_with, judge_people, servings
from penstock.registry.versions import Version, answers
from penstock.signatures.door import require_vouched
from penstock.signatures.keys import only_key


@dataclass(frozen=True)
class Fetched:
    """A version as it was downloaded, and what was found of these very files and tags.

    Attributes:
        version: It, with its tags.
        model_tags: Those of its registered model, which hold the audit log.
        model: The folder of its model.
        pack: The folder of its evidence; None: there is none.
        checks: What was found.
    """

    version: Version
    model_tags: dict[str, str]
    model: Path
    pack: Path | None
    checks: list[Check]


def verify(uri: str, *, tracking_uri: str, key: Path | None = None) -> tuple[Version, list[Check]]:
    """Download a version with its evidence and check all of it, as `fetch_verified` does."""
    with TemporaryDirectory() as place:
        found = fetch_verified(uri, tracking_uri=tracking_uri, into=Path(place), key=key)
        return found.version, found.checks


def fetch_verified(uri: str, *, tracking_uri: str, into: Path, key: Path | None = None) -> Fetched:
    """Download a version with its evidence and check all of it.

    Only the digests in the tags, the audit log that chains them and, where a key is given, the
    signature are trusted.

    Args:
        uri: `models:/name/3` or `models:/name@alias`.
        tracking_uri: The MLflow store.
        into: An empty folder to download into.
        key: The public key to verify with, PEM. With a key a version that is not signed fails.

    Raises:
        InputError: If there is no such version.
        IntegrityError: If the version was not registered by Penstock.
        ServiceError: If the registry does not answer.
        UntrustedError: If the key cannot be read. A version that is not signed would else be said
            to lack a signature by it.
    """
    if key is not None:
        only_key(key)
    version = versions.registered(uri, tracking_uri=tracking_uri)
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        model_tags = dict(store.get_registered_model(version.name).tags)
    log = audit.read(model_tags)
    folder = into / "model"
    pack, signature = fetch_pack(version, tracking_uri=tracking_uri, into=into)
    checks = [
        *_model(version, folder, tracking_uri=tracking_uri),
        *(_pack(version, pack) if pack else _no_pack(version)),
        *_signature(pack, signature, key=key),
        *_vouched(version, folder, key=key),
        *_people(version, pack, log),
        *_rollouts(version, log, tracking_uri=tracking_uri, into=into),
        *_trail(version, log),
        *_champion(version, log, tracking_uri),
    ]
    return Fetched(version, model_tags, folder, pack, checks)


def _model(version: Version, folder: Path, *, tracking_uri: str) -> Iterator[Check]:
    folder.mkdir()
    try:
        with answers(tracking_uri):
            store = tracking.client(tracking_uri)
            versions.download(version.uri, folder, tracking_uri=store.tracking_uri)
        found = model.digest_of(folder)
    except PenstockError as error:
        yield Check("model files", version.model, f"{error!s:.120}", "missing")
        return
    yield same("model files", version.model, found)
    yield same("ONNX form", version.export, model.export_digest_of(folder))


def _no_pack(version: Version) -> Iterator[Check]:
    expected = version.tags.get(versions.EVIDENCE_DIGEST, "")
    words = "none is in the run" if expected else "registered before evidence was kept"
    yield Check("evidence", expected or "a manifest", words, "missing")


def _pack(version: Version, pack: Path) -> Iterator[Check]:
    try:
        manifest = Evidence.read(pack / MANIFEST)
    except PenstockError as error:
        yield Check("manifest.json", "a manifest", f"{error!s:.120}", "missing")
        return
    yield same("manifest.json", version.tags.get(versions.EVIDENCE_DIGEST, ""), manifest.digest())
    claims = {
        "model": (version.model, manifest.model),
        "export": (version.export, manifest.export),
        "training data": (version.training_part, manifest.dataset),
        "decision": (version.tags.get(versions.DECISION_DIGEST, ""), manifest.decision),
        "holdout": (version.tags.get("penstock.holdout", ""), manifest.holdout),
        "who trained": (version.tags.get(versions.TRAINED_BY, ""), manifest.trained_by),
    }
    for name, (tag, claimed) in claims.items():
        if tag or claimed:
            yield same(f"tag: {name}", claimed, tag)
    present = {p.relative_to(pack).as_posix() for p in pack.rglob("*") if p.is_file()}
    for name, digest in sorted(manifest.files.items()):
        found = files.digest_of_file(pack / name) if name in present else ""
        yield same(name, digest, found)
    for name in sorted(present - manifest.files.keys() - {MANIFEST}):
        yield Check(name, "not in the manifest", "a file", "fails")
    yield from _decision(version, pack)


_DECIDED = ("evaluation", "policy", "operations")


def _decision(version: Version, pack: Path) -> Iterator[Check]:
    """Compare what is kept with what the decision was made on, by the digests in it."""
    try:
        decision = Decision.read(pack / "decision.json")
        decision.require_approval_of(version.model)
    except PenstockError as error:
        yield Check("decision approves", version.model, f"{error!s:.120}", "fails")
        return
    yield Check("decision approves", version.model, decision.model, "holds")
    yield same("decision digest", version.tags.get(versions.DECISION_DIGEST, ""), decision.digest())
    for kind in _DECIDED:
        expected = getattr(decision, kind)
        raw = _json(pack / f"{kind}.json")
        if raw is None and not expected:
            continue
        # From the file as it is, so that a later release with other fields says the same.
        found = "" if raw is None else files.digest_of_text(files.canonical_json(raw))
        yield same(f"decided on {kind}", expected, found)
    for name, field, expected in (
        ("holdout", "content", decision.dataset),
        ("explanation", "model", decision.model),
        ("train", "content", version.training_part),
    ):
        raw = _json(pack / f"{name}.json")
        if raw is not None:
            yield same(f"{name}.json is of", expected, str(raw.get(field, "")))
    yield from _baseline(pack)


def _baseline(pack: Path) -> Iterator[Check]:
    """Compare the baseline with its digest in the evaluation, if it was kept."""
    raw = _json(pack / BASELINE)
    if raw is not None:
        evaluation = _json(pack / "evaluation.json") or {}
        found = files.digest_of_text(files.canonical_json(raw))
        yield same("evaluated with baseline", str(evaluation.get("baseline", "")), found)


def _decided(pack: Path | None) -> Decision | None:
    try:
        return Decision.read(pack / "decision.json") if pack else None
    except PenstockError:
        # Another check reports it.
        return None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) else None


def _signature(pack: Path | None, signature: Path | None, *, key: Path | None) -> Iterator[Check]:
    if pack is None or signature is None:
        verdict: Verdict = "missing" if key else "not signed"
        yield Check("signature", f"by {key}" if key else "", "none", verdict)
        return
    if key is None:
        yield Check("signature", "", "there is one; give a key to check it", "not there")
        return
    try:
        signing.verify(pack, signature=signature, key=key)
    except PenstockError as error:
        yield Check("signature", f"by {key}", f"{error!s:.200}", "fails")
        return
    yield Check("signature", f"by {key}", "good", "holds")


def _vouched(version: Version, folder: Path, *, key: Path | None) -> Iterator[Check]:
    """Ask what a server that trusts the key would ask."""
    what = "signed for servers"
    if not (folder / signatures.FOLDER).is_dir():
        words = "not signed: a server that asks for signatures refuses it"
        by_tag = version.tags.get(versions.SIGNED_BY, "")
        # Without a key it is no fault: `penstock sign` makes signatures that were lost again.
        lost: Verdict = "missing" if key and by_tag else "not there"
        yield Check(what, f"by key {by_tag}" if by_tag else "", words, lost)
        return
    if key is None:
        yield Check(what, "", "it is signed; give a key to check it", "not there")
        return
    try:
        keys = only_key(key)
        by = require_vouched(folder, keys=keys, model=version.model, what=version.uri)
    except PenstockError as error:
        yield Check(what, f"by {key}", f"{error!s:.200}", "fails")
        return
    yield Check(what, f"by {key}", f"by key {by.files}", "holds")


def _people(version: Version, pack: Path | None, log: audit.AuditLog) -> Iterator[Check]:
    """Judge every serving by the approvals of that time, and list all approvals."""
    try:
        given = approvals.read(version.tags, log=log)
        approvals.require_all(given, log=log, uri=version.uri)
    except PenstockError as error:
        yield Check("approvals", "as in the audit log", f"{error!s:.200}", "fails")
        return
    raw = _json(pack / "policy.json") if pack else None
    try:
        # Of the policy only this section: a later release may have others.
        required = ApprovalSpec.parse(raw.get("approval", {}), where="policy.json") if raw else None
    except PenstockError as error:
        yield Check("approvals", "a policy that can be read", f"{error!s:.200}", "fails")
        return
    decision = _decided(pack)
    if required is None and decision is not None and decision.policy:
        words = "the policy was not kept, so the approvals that it requires are unknown"
        yield Check("approvals", f"policy {decision.policy}", words, "missing")
    for approval in given:
        yield Check("approvals", "", f"{approval.verdict} by {approval.by.name}", "holds")
    if not given:
        people = f"{required.people}, by now" if required and required.people else "none required"
        yield Check("approvals", people, "none", "not there")
    began = servings(log, version)
    for serving in began:
        judged = judge_people(version, given, spec=required, log=log, serving=serving)
        found = f"{judged.sentence} {_since(given, log=log, serving=serving)}".strip()
        verdict: Verdict = "holds" if judged.approved else "fails"
        yield Check(serving.name, f"approved when it began, {serving.when}", found, verdict)
        pair = decision and compared_with(decision, version, log=log, serving=serving)
        if pair:
            yield _as_compared(*pair)
    if not began:
        yield _unserved(version, log)


def _as_compared(decided: str, champion: str) -> Check:
    verdict: Verdict = "holds" if decided == champion else "fails"
    return Check("compared with champion", decided or "none", champion or "none", verdict)


def _since(given: tuple[Approval, ...], *, log: audit.AuditLog, serving: Serving) -> str:
    """Return who rejected it after it began to serve, which does not count for that serving."""
    before = approvals.given_before(given, log=log, digest=serving.digest)
    names = [
        approval.by.name
        for approval in given
        if approval.verdict == "rejected" and approval not in before
    ]
    return f"Rejected later by {', '.join(dict.fromkeys(names))}." if names else ""


def _unserved(version: Version, log: audit.AuditLog) -> Check:
    """Check whether a version serves although the log has no entry for it."""
    outcomes = {entry.facts.get("outcome") for entry in log.of(version.uri)}
    if "promoted" in outcomes:
        words = "a rollout promoted it, but the audit log has no entry that it began to serve"
        return Check("served", "an entry", words, "fails")
    return Check("served", "", "not yet, by the audit log", "not there")


def _rollouts(
    version: Version, log: audit.AuditLog, *, tracking_uri: str, into: Path
) -> Iterator[Check]:
    recorded = [entry for entry in log.of(version.uri) if entry.event == RECORDED]
    if not recorded:
        yield Check("rollout", "", "none was recorded", "not there")
    for entry in recorded:
        yield from _rollout(version, entry, tracking_uri=tracking_uri, into=into)


def _rollout(
    version: Version, entry: AuditEntry, *, tracking_uri: str, into: Path
) -> Iterator[Check]:
    identity = str(entry.facts.get("identity", ""))
    place = rollout_folder(identity, version.tags.get(versions.DECISION_DIGEST, ""))
    store = tracking.client(tracking_uri)
    name = f"rollout {identity}"
    expected = entry.digests.get("rollout", "")
    try:
        with answers(tracking_uri):
            if not store.list_artifacts(version.run, place):
                yield same(name, expected, "")
                return
            folder = Path(store.download_artifacts(version.run, place, str(into)))
        manifest = RolloutEvidence.read(folder / MANIFEST)
    except PenstockError as error:
        yield Check(name, expected, f"{error!s:.120}", "missing")
        return
    yield same(name, expected, manifest.digest())
    for title, digest in sorted(manifest.files.items()):
        yield same(f"{name}: {title}", digest, _digest(folder / title))


def _digest(path: Path) -> str:
    return files.digest_of_file(path) if path.exists() else ""


def _trail(version: Version, log: audit.AuditLog) -> Iterator[Check]:
    for problem in log.problems:
        yield Check("audit log", "an unbroken chain", problem, "fails")
    if not log.problems:
        words = f"{len(log.entries)} entries, unbroken"
        yield Check("audit log", "an unbroken chain", words, "holds")
    try:
        recorded = registration.registered_digests(log, version.uri)
    except PenstockError as error:
        yield Check("audit log: registered", "one entry", f"{error!s:.120}", "fails")
        return
    if not recorded:
        yield Check("audit log: registered", "an entry", "none", "missing")
        return
    for kind, tag in versions.REGISTERED_TAGS.items():
        found = version.tags.get(tag, "")
        # Entries of earlier releases do not hold the export's digest: the manifest does.
        if kind in recorded and (recorded[kind] or found):
            verdict: Verdict = "holds" if recorded[kind] == found else "fails"
            yield Check(f"audit log: {kind}", recorded[kind] or "none", found or "none", verdict)


def _champion(version: Version, log: audit.AuditLog, tracking_uri: str) -> Iterator[Check]:
    found = checked_champion(version.name, tracking_uri=tracking_uri)
    now = found.version.uri if found.version else "none"
    if found.problem:
        yield Check("alias champion", "as in the audit log", found.problem, "fails")
        return
    yield Check("alias champion", now, found.note or now, "holds")
    kept = versions.EVIDENCE_DIGEST in version.tags
    if now == version.uri and kept and not servings(log, version):
        words = "it is the champion, but the audit log has no entry that it began to serve"
        yield Check("served", "an entry", words, "fails")
