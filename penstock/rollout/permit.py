"""Whether a version may be brought to users: its decision, its evidence, the champion, people."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from penstock import files, tracking
from penstock.errors import IntegrityError, NotApprovedError
from penstock.policy.approval import ApprovalSpec
from penstock.policy.spec import Policy
from penstock.records.decision import Decision
from penstock.records.rollout import Order
from penstock.registry import approvals, binding, versions
from penstock.registry.champion import checked_champion
from penstock.registry.evidence import fetch_pack
from penstock.registry.versions import Version, answers


def require(order: Order) -> None:
    """Return only if the decision, as it was registered, and people let the version in.

    The policy is the order's, else the one that is kept as evidence: leaving it out asks no less.

    Raises:
        NotApprovedError: If the decision does not approve the model, is not the one that the
            version was registered with, or people have not approved or have rejected.
        IntegrityError: If what is kept differs from the decision, naming the field.
        ServiceError: If the registry does not answer.
    """
    registration, decision = order.registration, order.decision
    decision.require_approval_of(registration.model)
    if registration.decision != decision.digest():
        raise NotApprovedError(
            f"version {registration.version} was registered with decision "
            f"{registration.decision}, not with this one ({decision.digest()})",
            where=registration.uri,
            remedy="Hand over the decision that the register step was given.",
        )
    version = versions.registered(registration.uri, tracking_uri=order.tracking_uri)
    _require_tags(version, decision)
    with TemporaryDirectory() as place:
        pack, _ = fetch_pack(version, tracking_uri=order.tracking_uri, into=Path(place))
        _require_kept(version, decision, pack)
        asked = _approval(order, pack)
    if asked is not None:
        _require_people(version, asked, tracking_uri=order.tracking_uri)


def require_current(order: Order) -> None:
    """Return only if the champion is still the one that the decision compared with.

    Raises:
        IntegrityError: If it is another, and not the version itself, or the alias was moved by
            hand.
    """
    name, tracking_uri = order.registration.name, order.tracking_uri
    champion = checked_champion(name, tracking_uri=tracking_uri)
    version = champion.require_told(name)
    if version is None or version.version != order.registration.version:
        binding.require_champion(order.decision, champion=champion, name=name)


def _require_tags(version: Version, decision: Decision) -> None:
    expected = {
        "decision": (decision.digest(), versions.DECISION_DIGEST),
        "dataset": (decision.dataset, "penstock.holdout"),
    }
    for field, (digest, tag) in expected.items():
        found = version.tags.get(tag, "")
        if found != digest:
            raise IntegrityError(
                f"the registry's tag {tag} is {found or 'none'}, the decision's {field} {digest}",
                where=field,
                remedy="The tag was altered after the decision, or is another version's.",
            )


def _require_kept(version: Version, decision: Decision, pack: Path | None) -> None:
    """Compare with the decision that was kept as evidence, where the version has any."""
    digest = version.tags.get(versions.EVIDENCE_DIGEST, "")
    if pack is None or not (pack / "decision.json").exists():
        if digest:
            raise IntegrityError(
                "the decision that was kept when it was registered is gone",
                where=f"{version.uri}, decision.json",
                remedy="See what is left with: penstock verify.",
            )
        return
    kept = Decision.read(pack / "decision.json")
    for field in Decision.model_fields:
        ours, theirs = getattr(decision, field), getattr(kept, field)
        if ours != theirs:
            raise IntegrityError(
                f"the decision's {field} is {_short(ours)}, the one that was kept with the version "
                f"says {_short(theirs)}",
                where=field,
                remedy="One of the two was edited: see penstock verify.",
            )


def _approval(order: Order, pack: Path | None) -> ApprovalSpec | None:
    """Return what the policy asks of people, of this release's or of an older one's making."""
    decided = order.decision.policy
    if order.policy:
        policy = Policy.parse(order.policy, where="gate")
        if policy.digest() != decided:
            raise IntegrityError(
                f"the decision was made on policy {decided}, not on this one ({policy.digest()})",
                where="policy",
                remedy="The policy was edited after the decision: run the gate again.",
            )
        return policy.approval
    path = pack / "policy.json" if pack else None
    if path is None or not path.exists():
        return None
    raw = json.loads(path.read_text(encoding="utf-8"))
    found = files.digest_of_text(files.canonical_json(raw))
    if found != decided:
        raise IntegrityError(
            f"the policy that was kept with the version has digest {found}, the decision says "
            f"{decided}",
            where="policy",
            remedy="What was kept was edited: see penstock verify.",
        )
    # Of the policy only this section: what it asked of a model has been judged, and this release
    # may refuse a rule that an older one took.
    return ApprovalSpec.parse(raw.get("approval", {}), where="policy.json: approval")


def _require_people(version: Version, asked: ApprovalSpec, *, tracking_uri: str) -> None:
    if asked.people == 0:
        return
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        tags = store.get_registered_model(version.name).tags
    found = approvals.judge_tags(version.uri, tags=version.tags, model_tags=tags, spec=asked)
    if not found.approved:
        raise NotApprovedError(
            found.sentence,
            where=version.uri,
            remedy=f"Approve it with: penstock approve {version.uri} --reason TEXT",
        )


def _short(value: object) -> str:
    return f"{value!s:.120}" or "none"
