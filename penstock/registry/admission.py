"""Whether a version may serve: the one check before every change of traffic or of the alias.

There are two cases for traffic. A version that is new to users needs all of it at the moment of the
change: a decision that approves its very files, the policy that the decision was made on, the
approvals that the policy requires, and the champion that it was compared with. A version that was
the champion before may serve again on its own record, unless somebody has rejected it since. A
batch is scored by either, and by a version that is approved and has not served yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from penstock import tracking
from penstock.common import files
from penstock.errors import IntegrityError, NotApprovedError
from penstock.gate.approval import ApprovalSpec
from penstock.gate.policy import Policy
from penstock.records.decision import Decision
from penstock.records.evidence import folder_of
from penstock.records.rollout import Order
from penstock.registry import approvals, audit, binding, champion_history, registration, versions
from penstock.registry.audit import Actor, AuditLog
from penstock.registry.champion import checked_champion
from penstock.registry.versions import Version, answers


class Admission:
    """The checks for a version that is new to users. `require` does all of them each time.

    Args:
        order: The version as it was registered, its decision, and the policy; an empty policy takes
            the one that is kept as evidence.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._uri = order.registration.uri
        self._approval: ApprovalSpec | None = None

    def require(self) -> Version:
        """Return the version only if every check passes now.

        Raises:
            NotApprovedError: If the decision does not approve the model, is not the one that the
                version was registered with, or people have not approved or have rejected.
            IntegrityError: If what is registered or kept differs from the decision, naming the
                field; if the policy that the decision names is not to be had; if the champion is
                neither the one that it compared with nor the version itself.
            ServiceError: If the registry does not answer.
        """
        registration, decision = self._order.registration, self._order.decision
        store = self._order.tracking_uri
        decision.require_approval_of(registration.model)
        if registration.decision != decision.digest():
            raise NotApprovedError(
                f"version {registration.version} was registered with decision "
                f"{registration.decision}, not with this one ({decision.digest()})",
                where=registration.uri,
                remedy="Hand over the decision that the register step was given.",
            )
        version = versions.registered(self._uri, tracking_uri=store)
        tags = _model_tags(version, tracking_uri=store)
        _require_registered(version, log=audit.read(tags), tracking_uri=store)
        _require_tags(version, self._order)
        _require_people(version, tags, spec=self._approval_spec(version))
        self._require_champion(version)
        return version

    def _approval_spec(self, version: Version) -> ApprovalSpec:
        """Return the approvals that the policy requires, read once: it does not change."""
        if self._approval is None:
            kept = _kept(version, tracking_uri=self._order.tracking_uri)
            _require_kept(version, self._order.decision, kept)
            self._approval = _approval_spec_of(self._order, kept)
        return self._approval

    def _require_champion(self, version: Version) -> None:
        found = checked_champion(version.name, tracking_uri=self._order.tracking_uri)
        champion = found.require_recorded(version.name)
        if champion is None or champion.version != version.version:
            binding.require_champion(self._order.decision, champion=found, name=version.name)


def require_return(name: str, version: int, *, tracking_uri: str) -> Version:
    """Return a version only if it may serve again: it was the champion before.

    Args:
        name: The registered model.
        version: Its number.
        tracking_uri: The MLflow store.

    Raises:
        NotApprovedError: If it was never the champion, or a person has rejected it and not taken
            that back.
        IntegrityError: If what is registered is not what the audit log says, or the log is
            broken.
        InputError: If there is no such version.
        ServiceError: If the registry does not answer.
    """
    found = versions.registered(f"models:/{name}/{version}", tracking_uri=tracking_uri)
    tags = _model_tags(found, tracking_uri=tracking_uri)
    log = audit.read(tags)
    _require_registered(found, log=log, tracking_uri=tracking_uri)
    if not _was_champion(found, log, tracking_uri=tracking_uri):
        raise NotApprovedError(
            f"version {version} was never the champion, so a rollback cannot go to it",
            where=found.uri,
            remedy="Release it: run its pipeline, or the step deploy, with its decision.",
        )
    _require_no_rejection(found, tags, tracking_uri=tracking_uri)
    return found


def require_scoring(version: Version, *, tracking_uri: str) -> str:
    """Return why a version may score a batch: it is or was the champion, or it is approved.

    Args:
        version: The version.
        tracking_uri: The MLflow store.

    Raises:
        NotApprovedError: If it was rolled back or rejected, or neither champion nor approved.
        IntegrityError: If what is registered or kept is not what the audit log says.
        ServiceError: If the registry does not answer.
    """
    tags = _model_tags(version, tracking_uri=tracking_uri)
    log = audit.read(tags)
    _require_registered(version, log=log, tracking_uri=tracking_uri)
    now = checked_champion(version.name, tracking_uri=tracking_uri)
    if not now.problem and now.version == version:
        return "champion"
    if versions.ROLLED_BACK in version.tags:
        why = version.tags[versions.ROLLED_BACK]
        raise NotApprovedError(f"the version was rolled back: {why:.200}", where=version.uri)
    if _was_champion(version, log, tracking_uri=tracking_uri):
        _require_no_rejection(version, tags, tracking_uri=tracking_uri)
        return "former champion"
    kept = _kept(version, tracking_uri=tracking_uri)
    if "decision.json" not in kept or "policy.json" not in kept:
        raise NotApprovedError(
            "no decision that approves the version is kept with it", where=version.uri
        )
    decision = Decision.loads(kept["decision.json"], where=f"{version.uri}, decision.json")
    if decision.digest() != version.tags.get(versions.DECISION_DIGEST, ""):
        raise IntegrityError(
            "the decision that is kept is not the one that it was registered with",
            where=f"{version.uri}, decision.json",
            remedy="See what is left with: penstock verify.",
        )
    decision.require_approval_of(version.model)
    spec = _approval_spec_of_kept(kept["policy.json"], decided=decision.policy)
    _require_people(version, tags, spec=spec)
    return "approved"


def record_once(
    version: Version,
    *,
    event: str,
    identity: str,
    facts: Mapping[str, Any],
    actor: Actor,
    tracking_uri: str,
) -> None:
    """Record what a rollout did with a version in the audit log, unless it is there already.

    Args:
        version: The version.
        event: Its name in the log: admitted, rolled back.
        identity: The rollout.
        facts: Further facts, to be read by programs.
        actor: Who did it, and why.
        tracking_uri: The MLflow store.

    Raises:
        ServiceError: If the registry does not take it.
    """
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        log = audit.read(store.get_registered_model(version.name).tags)
        entries = [entry for entry in log.of(version.uri) if entry.event == event]
        if not any(entry.facts.get("identity") == identity for entry in entries):
            facts = {"identity": identity, **facts}
            audit.record(
                store, version.name, event=event, uri=version.uri, actor=actor, facts=facts
            )


def _model_tags(version: Version, *, tracking_uri: str) -> Mapping[str, str]:
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        tags: Mapping[str, str] = store.get_registered_model(version.name).tags
    return tags


def _require_registered(version: Version, *, log: AuditLog, tracking_uri: str) -> None:
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        registration.require_registered(store, log, version, tags=versions.REGISTERED_TAGS)


def _require_tags(version: Version, order: Order) -> None:
    registration, decision = order.registration, order.decision
    if (version.model, version.export) != (registration.model, registration.export):
        raise IntegrityError(
            f"the registry names model {version.model} and export {version.export or 'none'}, but "
            f"{registration.model} and {registration.export or 'none'} were registered",
            where=registration.uri,
            remedy="Its tags were changed after the decision: release again.",
        )
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


def _kept(version: Version, *, tracking_uri: str) -> dict[str, str]:
    """Return the text of the decision and the policy that were kept as evidence."""
    if not version.run:
        return {}
    place = folder_of(version.tags.get(versions.DECISION_DIGEST, ""))
    store = tracking.client(tracking_uri)
    texts = {}
    with answers(tracking_uri), TemporaryDirectory() as folder:
        there = {Path(item.path).name for item in store.list_artifacts(version.run, place)}
        for name in there & {"decision.json", "policy.json"}:
            path = store.download_artifacts(version.run, f"{place}/{name}", folder)
            texts[name] = Path(path).read_text(encoding="utf-8")
    return texts


def _require_kept(version: Version, decision: Decision, kept: Mapping[str, str]) -> None:
    """Compare with the decision that was kept as evidence, where the version has any."""
    if "decision.json" not in kept:
        if version.tags.get(versions.EVIDENCE_DIGEST, ""):
            raise IntegrityError(
                "the decision that was kept when it was registered is gone",
                where=f"{version.uri}, decision.json",
                remedy="See what is left with: penstock verify.",
            )
        return
    theirs = Decision.loads(kept["decision.json"], where=f"{version.uri}, decision.json")
    for field in Decision.model_fields:
        ours, other = getattr(decision, field), getattr(theirs, field)
        if ours != other:
            raise IntegrityError(
                f"the decision's {field} is {_short(ours)}, the one that was kept with the version "
                f"says {_short(other)}",
                where=field,
                remedy="One of the two was edited: see penstock verify.",
            )


def _approval_spec_of(order: Order, kept: Mapping[str, str]) -> ApprovalSpec:
    """Return the approvals that the decision's policy requires, handed over or kept."""
    decided = order.decision.policy
    if order.policy:
        policy = Policy.decided_on(order.policy, where="gate")
        if policy.digest() != decided:
            raise IntegrityError(
                f"the decision was made on policy {decided}, not on this one ({policy.digest()})",
                where="policy",
                remedy="The policy was edited after the decision: run the gate again.",
            )
        return policy.approval
    if "policy.json" not in kept:
        raise IntegrityError(
            f"the decision was made on policy {decided}, which was neither handed over nor kept "
            "with the version: which approvals it requires is unknown",
            where="policy",
            remedy="Hand over the section gate that the decide step was given.",
        )
    return _approval_spec_of_kept(kept["policy.json"], decided=decided)


def _approval_spec_of_kept(text: str, *, decided: str) -> ApprovalSpec:
    raw = _kept_policy(text)
    found = files.digest_of_text(files.canonical_json(raw))
    if found != decided:
        raise IntegrityError(
            f"the policy that was kept with the version has digest {found}, the decision says "
            f"{decided}",
            where="policy",
            remedy="What was kept was edited: see penstock verify.",
        )
    return _approval(raw)


def _kept_policy(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise IntegrityError(
            f"the policy that was kept with the version is not JSON: {error}",
            where="policy",
            remedy="What was kept was edited: see penstock verify.",
        ) from error


def _require_people(version: Version, tags: Mapping[str, str], *, spec: ApprovalSpec) -> None:
    found = approvals.judge_tags(version.uri, tags=version.tags, model_tags=tags, spec=spec)
    if not found.approved:
        raise _not_approved(version, found.sentence)


def _require_no_rejection(version: Version, tags: Mapping[str, str], *, tracking_uri: str) -> None:
    """Refuse a rejected version. Its approvals need not be valid any more: they were once."""
    kept = _kept(version, tracking_uri=tracking_uri)
    spec = _approval(_kept_policy(kept.get("policy.json", "{}")))
    found = approvals.judge_tags(version.uri, tags=version.tags, model_tags=tags, spec=spec)
    if found.rejected:
        raise _not_approved(version, found.sentence)


def _not_approved(version: Version, why: str) -> NotApprovedError:
    return NotApprovedError(
        why,
        where=version.uri,
        remedy=f"Approve it with: penstock approve {version.uri} --reason TEXT",
    )


def _approval(policy: Mapping[str, Any]) -> ApprovalSpec:
    # Only this section: the rules have been judged, and this release may refuse one that an older
    # release accepted.
    return ApprovalSpec.parse(policy.get("approval", {}), where="policy.json: approval")


def _was_champion(version: Version, log: AuditLog, *, tracking_uri: str) -> bool:
    now = checked_champion(version.name, tracking_uri=tracking_uri)
    if not now.problem and now.version == version:
        return True
    if champion_history.moves(log):
        return champion_history.was_champion(log, version.version)
    # A registry from before there was an audit log has only its aliases.
    before = versions.by_alias(version.name, versions.PREVIOUS, tracking_uri=tracking_uri)
    return before == version


def _short(value: object) -> str:
    return f"{value!s:.120}" or "none"
