"""Approvals and rejections of a version: written to the registry, and checked against the log.

Both are an `Approval` record; they differ by its verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from penstock import tracking
from penstock.common import people
from penstock.errors import InputError, IntegrityError, NotApprovedError, PenstockError
from penstock.gate.approval import ApprovalSpec, Judgement, judge
from penstock.records.approval import REASON_LENGTH, Approval, Identity
from penstock.registry import audit, versions
from penstock.registry.audit import Actor
from penstock.registry.identity import on_platform
from penstock.registry.versions import answers

_LONGEST_DAYS = 36_500.0


@dataclass(frozen=True)
class Seen:
    """What somebody was shown before they approved or rejected; empty: unknown.

    Attributes:
        model: Digest of the model's folder.
        decision: Digest of the decision.
    """

    model: str = ""
    decision: str = ""

    def require(self, uri: str, *, model: str, decision: str) -> None:
        """Return only if the version is still what was shown.

        Raises:
            IntegrityError: If it is not.
        """
        pairs = {"model": (self.model, model), "decision": (self.decision, decision)}
        for what, (shown, found) in pairs.items():
            if shown and shown != found:
                raise IntegrityError(
                    f"the {what} that you looked at is {shown}, the version's {found or 'none'}",
                    where=uri,
                    remedy="Look at the version again, then approve or reject what is there now.",
                )


def give(
    uri: str,
    *,
    verdict: Literal["approved", "rejected"],
    by: Identity,
    reason: str,
    tracking_uri: str,
    valid_days: float = 7.0,
    seen: Seen = Seen(),
) -> Approval:
    """Write one person's approval or rejection into the log, and then to the version.

    Args:
        uri: `models:/name/3`: an alias may name another version than the person looked at.
        verdict: Which of the two.
        by: Who gives it.
        reason: Why; 1 to 1,000 characters.
        tracking_uri: The MLflow store.
        valid_days: After which an approval expires; the policy's own `valid_days` binds too.
        seen: What the person was shown of the version.

    Raises:
        InputError: If there is no such version, `uri` names an alias, the reason is empty or too
            long, or `by` names nobody.
        IntegrityError: If the version has another model or decision than the person was shown, or
            is to be approved and its tags are not what the log says was registered.
        ServiceError: If the registry does not take it.
    """
    if "@" in uri:
        raise InputError(
            f"{uri} is the version that has the alias now, not the one that you looked at",
            where="approval",
            remedy="Name the version by its number: models:/NAME/VERSION.",
        )
    people.check_name(by.name, where="approval")
    if not people.is_known(by.name):
        raise InputError(
            f"{by.name} names nobody", where="approval", remedy="Say who you are: --as NAME."
        )
    if not 0 < len(reason.strip()) <= REASON_LENGTH:
        raise InputError(
            f"a reason has 1 to {REASON_LENGTH:,} characters, this has {len(reason.strip()):,}",
            where="reason",
        )
    version = versions.registered(uri, tracking_uri=tracking_uri)
    decision = version.tags.get(versions.DECISION_DIGEST, "")
    seen.require(version.uri, model=version.model, decision=decision)
    now = datetime.now(UTC)
    approval = Approval(
        uri=version.uri,
        model=version.model,
        decision=decision,
        verdict=verdict,
        by=by,
        reason=reason.strip(),
        time=now,
        expires=now + timedelta(days=min(valid_days, _LONGEST_DAYS)),
    )
    if verdict == "approved":
        versions.require_as_registered(version, tracking_uri=tracking_uri)
    store = tracking.client(tracking_uri)
    key = f"{versions.APPROVAL}{now:%Y%m%dT%H%M%S%f}.{_hex(approval.digest())}"
    with answers(tracking_uri):
        audit.record(
            store,
            version.name,
            event=verdict,
            uri=version.uri,
            actor=Actor(
                name=by.name,
                means=by.means,
                reason=approval.reason,
                digests={"approval": approval.digest(), "decision": approval.decision},
            ),
        )
        store.set_model_version_tag(
            version.name, str(version.version), key, audit.compact(approval)
        )
    return approval


def read(tags: Mapping[str, str], *, log: audit.AuditLog) -> tuple[Approval, ...]:
    """Return the approvals and rejections of a version, from its tags, in the order of the log.

    Args:
        tags: Of the version.
        log: Of its registered model: what is not in it was not given through Penstock.

    Raises:
        NotApprovedError: If one cannot be read, is not in the log or in it twice: somebody wrote
            it by hand.
    """
    found = []
    for key in sorted(tags):
        if not key.startswith(versions.APPROVAL):
            continue
        try:
            found.append(Approval.loads(tags[key], where=key))
        except PenstockError as error:
            raise _forged(f"the approval {key} cannot be read: {error}") from error
    recorded = _recorded(log)
    for approval in found:
        place, _ = recorded.get(approval.digest(), (-1, ""))
        if place < 0 or log.entries[place].event != approval.verdict:
            raise _forged(
                f"the approval of {approval.by.name} ({approval.verdict}, "
                f"{approval.time:%Y-%m-%d %H:%M} UTC) is not in the audit log: it was forged or "
                "edited"
            )
    return _in_order(found, log=log, recorded=recorded)


def given_before(
    approvals: Iterable[Approval], *, log: audit.AuditLog, digest: str
) -> tuple[Approval, ...]:
    """Return the approvals that were in the log when an entry was written, in their order.

    Args:
        approvals: As `read` returns them.
        log: Of the registered model.
        digest: Of the entry.
    """
    before = log.before(digest)
    recorded = _recorded(before)
    known = (approval for approval in approvals if approval.digest() in recorded)
    return _in_order(known, log=before, recorded=recorded)


def _recorded(log: audit.AuditLog) -> dict[str, tuple[int, str]]:
    """Return the entry of each approval in the log, by the approval's digest: place and digest.

    Raises:
        NotApprovedError: If one is recorded twice: nobody may use an old one again.
    """
    recorded: dict[str, tuple[int, str]] = {}
    for place, (digest, entry) in enumerate(zip(log.digests, log.entries, strict=True)):
        approval = entry.digests.get("approval", "")
        if approval in recorded:
            raise _forged(f"the audit log records an approval of {entry.by} on {entry.uri} twice")
        if approval:
            recorded[approval] = place, digest
    return recorded


def _in_order(
    approvals: Iterable[Approval],
    *,
    log: audit.AuditLog,
    recorded: Mapping[str, tuple[int, str]],
) -> tuple[Approval, ...]:
    """Put approvals in the order of the log, rejections that were not taken back last."""
    ordered = sorted(approvals, key=lambda one: recorded[one.digest()])
    taken_back = {
        rejection.digest(): any(
            people.key_of(approval.by.name) == people.key_of(rejection.by.name)
            and log.descends(recorded[approval.digest()][1], recorded[rejection.digest()][1])
            for approval in ordered
            if approval.verdict == "approved"
        )
        for rejection in ordered
        if rejection.verdict == "rejected"
    }
    return tuple(sorted(ordered, key=lambda one: not taken_back.get(one.digest(), True)))


def judge_tags(
    uri: str,
    *,
    tags: Mapping[str, str],
    model_tags: Mapping[str, str],
    spec: ApprovalSpec,
    now: datetime | None = None,
) -> Judgement:
    """Say whether people have approved a version.

    Args:
        uri: The version, `models:/name/3`.
        tags: Its tags.
        model_tags: Those of its registered model, which hold the log.
        spec: What the policy requires.
        now: The moment to judge at; None: now.

    Raises:
        NotApprovedError: If an approval was tampered with.
    """
    log = audit.read(model_tags)
    if log.problems:
        raise _forged(f"the audit log is broken. {log.problems[0]}")
    given = read(tags, log=log)
    require_all(given, log=log, uri=uri)
    return judge(
        given,
        spec=spec,
        model=tags.get(versions.MODEL_DIGEST, ""),
        decision=tags.get(versions.DECISION_DIGEST, ""),
        trained_by=tags.get(versions.TRAINED_BY, ""),
        now=now or datetime.now(UTC),
        platform=on_platform(),
    )


def require_all(given: tuple[Approval, ...], *, log: audit.AuditLog, uri: str) -> None:
    """Return only if every rejection that the log records is among the approvals that were read.

    The log is written first, then the version. A rejection that was cut short in between stands
    until the same person, known in the same way, approves.

    Raises:
        NotApprovedError: If one was removed, or cut short.
    """
    there = {approval.digest() for approval in given}
    approving = [approval for approval in given if approval.verdict == "approved"]
    recorded = _recorded(log)
    for digest, entry in zip(log.digests, log.entries, strict=True):
        missing = entry.event == "rejected" and entry.digests.get("approval") not in there
        if entry.uri != uri or not missing:
            continue
        taken_back = any(
            people.key_of(approval.by.name) == people.key_of(entry.by)
            and approval.by.means == entry.means
            and log.descends(recorded[approval.digest()][1], digest)
            for approval in approving
        )
        if not taken_back:
            raise _forged(
                f"the rejection by {entry.by} is in the audit log and not with the version: it was "
                "removed, or cut short"
            )


def _forged(what: str) -> NotApprovedError:
    return NotApprovedError(
        what,
        where="approval",
        remedy="See penstock audit. Remove what was written by hand, and have the person approve "
        "again: penstock approve models:/NAME/VERSION --reason TEXT",
    )


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")[:8]
