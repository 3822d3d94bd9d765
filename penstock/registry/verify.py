"""Checking a version long after: every digest is computed again, every claim compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from penstock import files, model, tracking
from penstock.errors import PenstockError
from penstock.gate.approval import judge
from penstock.policy.approval import ApprovalSpec
from penstock.records.decision import Decision
from penstock.records.evidence import MANIFEST, AuditEntry, Evidence, RolloutEvidence
from penstock.registry import approvals, audit, signing, versions
from penstock.registry.champion import checked_champion
from penstock.registry.evidence import RECORDED, fetch_pack, rollout_folder
from penstock.registry.identity import on_platform
from penstock.registry.versions import Version, answers

Verdict = Literal["holds", "fails", "missing", "not signed", "not there"]
"""missing: what every release keeps is not there. not there: what need not be there is not."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        expected: What a record says it is.
        found: What it is now.
        verdict: Whether they agree.
    """

    name: str
    expected: str
    found: str
    verdict: Verdict

    @property
    def good(self) -> bool:
        """Whether it is no reason to doubt the version."""
        return self.verdict in ("holds", "not signed", "not there")


def verify(uri: str, *, tracking_uri: str, key: Path | None = None) -> tuple[Version, list[Check]]:
    """Download a version with its evidence and check all of it.

    Nothing is believed but the digests in the tags, the trail that chains them, and, where a key
    is given, the signature.

    Args:
        uri: `models:/name/3` or `models:/name@alias`.
        tracking_uri: The MLflow store.
        key: The public key to verify with, PEM. With a key a version that is not signed fails.

    Raises:
        InputError: If there is no such version.
        IntegrityError: If the version was not registered by Penstock.
        ServiceError: If the registry does not answer.
    """
    version = versions.registered(uri, tracking_uri=tracking_uri)
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        model_tags = dict(store.get_registered_model(version.name).tags)
    trail = audit.read(model_tags)
    with TemporaryDirectory() as place:
        pack, signature = fetch_pack(version, tracking_uri=tracking_uri, into=Path(place))
        checks = [
            *_model(version, Path(place) / "model", tracking_uri=tracking_uri),
            *(_pack(version, pack) if pack else _no_pack(version)),
            *_signature(pack, signature, key=key),
            *_people(version, pack, trail),
            *_rollouts(version, trail, tracking_uri=tracking_uri, into=Path(place)),
        ]
    return version, [*checks, *_trail(version, trail), _champion(version, tracking_uri)]


def _same(name: str, expected: str, found: str) -> Check:
    if not found:
        return Check(name, expected, "none", "missing" if expected else "not there")
    return Check(name, expected or "none", found, "holds" if expected == found else "fails")


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
    yield _same("model files", version.model, found)
    yield _same("ONNX form", version.export, model.export_digest_of(folder))


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
    yield _same("manifest.json", version.tags.get(versions.EVIDENCE_DIGEST, ""), manifest.digest())
    claims = {
        "model": (version.model, manifest.model),
        "export": (version.export, manifest.export),
        "training data": (version.dataset, manifest.dataset),
        "decision": (version.tags.get(versions.DECISION_DIGEST, ""), manifest.decision),
        "holdout": (version.tags.get("penstock.holdout", ""), manifest.holdout),
        "who trained": (version.tags.get(versions.TRAINED_BY, ""), manifest.trained_by),
    }
    for name, (tag, said) in claims.items():
        if tag or said:
            yield _same(f"tag: {name}", said, tag)
    present = {p.relative_to(pack).as_posix() for p in pack.rglob("*") if p.is_file()}
    for name, digest in sorted(manifest.files.items()):
        found = files.digest_of_file(pack / name) if name in present else ""
        yield _same(name, digest, found)
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
    yield _same(
        "decision digest", version.tags.get(versions.DECISION_DIGEST, ""), decision.digest()
    )
    for kind in _DECIDED:
        expected = getattr(decision, kind)
        raw = _json(pack / f"{kind}.json")
        if raw is None and not expected:
            continue
        # From the file as it is, so that a later release with other fields says the same.
        found = "" if raw is None else files.digest_of_text(files.canonical_json(raw))
        yield _same(f"decided on {kind}", expected, found)
    for name, field, expected in (
        ("holdout", "content", decision.dataset),
        ("explanation", "model", decision.model),
        ("train", "content", version.dataset),
    ):
        raw = _json(pack / f"{name}.json")
        if raw is not None:
            yield _same(f"{name}.json is of", expected, str(raw.get(field, "")))


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


def _people(version: Version, pack: Path | None, trail: audit.Trail) -> Iterator[Check]:
    try:
        said = approvals.read(version.tags, trail=trail)
    except PenstockError as error:
        yield Check("approvals", "as in the trail", f"{error!s:.200}", "fails")
        return
    raw = _json(pack / "policy.json") if pack else None
    try:
        # Of the policy only this section: a later release may have others.
        asked = ApprovalSpec.parse(raw.get("approval", {}), where="policy.json") if raw else None
    except PenstockError as error:
        yield Check("approvals", "a policy that can be read", f"{error!s:.200}", "fails")
        return
    if asked is None or asked.people == 0:
        for word in said:
            yield Check("approvals", "", f"{word.verdict} by {word.by.name}", "holds")
        if not said:
            yield Check("approvals", "none asked for", "none", "not there")
        return
    released = [entry for entry in trail.of(version.uri) if entry.event == "promoted"]
    now = released[0].time if released else datetime.now().astimezone()
    if released:
        then = trail.before(trail.digests[trail.entries.index(released[0])])
        told = {entry.digests.get("approval", "") for entry in then.entries}
        said = tuple(word for word in said if word.digest() in told)
    judged = judge(
        said,
        spec=asked,
        model=version.model,
        decision=version.tags.get(versions.DECISION_DIGEST, ""),
        trained_by=version.tags.get(versions.TRAINED_BY, ""),
        now=now,
        platform=on_platform(),
    )
    when = "when it was promoted" if released else "by now; it was not promoted"
    good = judged.approved or not released
    yield Check(
        "approvals", f"{asked.people}, {when}", judged.sentence, "holds" if good else "fails"
    )


def _rollouts(
    version: Version, trail: audit.Trail, *, tracking_uri: str, into: Path
) -> Iterator[Check]:
    told = [entry for entry in trail.of(version.uri) if entry.event == RECORDED]
    if not told:
        yield Check("rollout", "", "none was recorded", "not there")
    for entry in told:
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
                yield _same(name, expected, "")
                return
            folder = Path(store.download_artifacts(version.run, place, str(into)))
        manifest = RolloutEvidence.read(folder / MANIFEST)
    except PenstockError as error:
        yield Check(name, expected, f"{error!s:.120}", "missing")
        return
    yield _same(name, expected, manifest.digest())
    for title, digest in sorted(manifest.files.items()):
        yield _same(f"{name}: {title}", digest, _digest(folder / title))


def _digest(path: Path) -> str:
    return files.digest_of_file(path) if path.exists() else ""


def _trail(version: Version, trail: audit.Trail) -> Iterator[Check]:
    for problem in trail.problems:
        yield Check("audit trail", "an unbroken chain", problem, "fails")
    if not trail.problems:
        words = f"{len(trail.entries)} entries, unbroken"
        yield Check("audit trail", "an unbroken chain", words, "holds")
    registered = [entry for entry in trail.of(version.uri) if entry.event == "registered"]
    if not registered:
        yield Check("trail: registered", "an entry", "none", "missing")
        return
    known: Mapping[str, str] = {
        "model": versions.MODEL_DIGEST,
        "decision": versions.DECISION_DIGEST,
        "evidence": versions.EVIDENCE_DIGEST,
    }
    for kind, tag in known.items():
        yield _same(
            f"trail: {kind}", registered[0].digests.get(kind, ""), version.tags.get(tag, "")
        )


def _champion(version: Version, tracking_uri: str) -> Check:
    found = checked_champion(version.name, tracking_uri=tracking_uri)
    now = found.version.uri if found.version else "none"
    if found.problem:
        return Check("alias champion", "as in the trail", found.problem, "fails")
    return Check("alias champion", now, found.note or now, "holds")
