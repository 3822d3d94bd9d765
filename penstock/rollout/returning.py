"""A return to an earlier champion: its order, its journal, and one that nobody asked for."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from penstock.errors import IntegrityError, LeaseLostError, ServiceError
from penstock.records.rollout import ReturnOrder, Rollout
from penstock.registry import audit, champion_history, versions
from penstock.registry.admission import require_return
from penstock.registry.champion import checked_champion
from penstock.registry.versions import Version
from penstock.rollout.journal import Journal, unfinished
from penstock.rollout.resume import abandon, go_on
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import Target, newest


def begin_return(
    target: Target,
    chosen: Version,
    *,
    by: str,
    means: str,
    spec: DeploymentSpec,
    tracking_uri: str,
    champion: int | None,
    why: str = "",
) -> tuple[Journal, ReturnOrder]:
    """Write down that a version is to serve again; the lease is held by the caller.

    Args:
        target: Where the service lives.
        chosen: The version, which may serve again.
        by: Who requested it.
        means: How that identity was established; empty: it is no person's.
        spec: How the service is deployed.
        tracking_uri: The MLflow store.
        champion: The champion now.
        why: What is to be said of it beside who did it.
    """
    order = ReturnOrder(
        service=chosen.name,
        version=chosen.version,
        by=by,
        means=means,
        deployment=spec.model_dump(mode="json"),
        tracking_uri=tracking_uri,
    )
    name = f"{chosen.version}-return-{secrets.token_hex(6)}"
    reason = f"Rollback by {by}, from version {target.router.stable or 'none'}. {why}".strip()
    journal = Journal(target.store(name))
    journal.begin(
        Rollout(
            identity=name,
            service=target.service,
            router=target.kind,
            url=target.router.url,
            candidate=chosen.version,
            stable=target.router.stable,
            purpose="return",
            champion=champion,
            uri=chosen.uri,
            model=chosen.model,
            decision=chosen.tags.get(versions.DECISION_DIGEST, ""),
            direct=reason,
            started=datetime.now(UTC),
            plan={},
        ),
        reason=reason,
        order=order,
    )
    return journal, order


def return_champion(
    target: Target,
    *,
    spec: DeploymentSpec,
    tracking_uri: str,
    champion: int,
    to: int,
    reason: str,
) -> Rollout | None:
    """Serve an earlier champion again because the champion does harm; the guardian asks for it.

    Unlike `control.roll_back` it ends nobody else's rollout, and acts only while the champion is
    the one that does harm. Asked again, also after a kill, it goes on, and returns once.

    Args:
        target: Where the service lives.
        spec: How it is deployed.
        tracking_uri: The MLflow store.
        champion: The version that does harm.
        to: The champion before it.
        reason: What the harm is, in sentences.

    Returns:
        The return's record; None: `champion` is not the champion any more, and nothing was done.

    Raises:
        NotApprovedError: If `to` was never the champion, or was rejected since.
        InputError: If there is no such version any more.
        IntegrityError: If it is not what was registered, or the champion's alias is not trusted.
        ServiceError: If another rollout is under way, somebody drives the service, the registry
            does not answer, or `to` does not come up: what served serves on.
    """
    where = f"service {target.service}"
    with target.router.exclusive():
        target.router.open()
        _require_no_other(target)
        for ended in _ended(target):
            if ended.outcome == "promoted" and ended.candidate == to:
                return ended
        found = checked_champion(target.service, tracking_uri=tracking_uri)
        if found.problem:
            raise IntegrityError(
                found.problem, where=where, remedy=f"{champion_history.remedy(target.service)}."
            )
        number = found.version.version if found.version else None
        serving = target.router.stable
        if number == serving == to:
            return _done_before(target, to=to)
        if number != champion or serving != champion:
            return None
        chosen = require_return(target.service, to, tracking_uri=tracking_uri)
        journal, order = begin_return(
            target,
            chosen,
            by=audit.GUARDIAN,
            means="",
            spec=spec,
            tracking_uri=tracking_uri,
            champion=champion,
            why=reason,
        )
        rollout = _driven(target, journal, order)
    if rollout.outcome != "promoted":
        raise ServiceError(
            f"version {to} could not be brought back: {rollout.reason}",
            where=where,
            remedy="Look at what serves with: penstock status.",
        )
    return rollout


def is_guardians(journal: Journal) -> bool:
    """Return whether a rollout is a return that the guardian began."""
    order = journal.order
    return isinstance(order, ReturnOrder) and order.automatic


def _require_no_other(target: Target) -> None:
    for journal in unfinished(target.stores()):
        if not is_guardians(journal):
            raise ServiceError(
                f"the rollout of version {journal.rollout.candidate} has not ended, so the "
                "guardian leaves the service alone",
                where=f"service {target.service}",
                remedy="End it with: penstock rollout resume, or penstock rollout abort.",
            )


def _ended(target: Target) -> list[Rollout]:
    """End what a guardian that was killed left half-way: on to its end, or back."""
    reason = "The guardian that drove it was killed."
    return [
        abandon(target, journal, journal.order, reason=reason)
        for journal in unfinished(target.stores())
    ]


def _done_before(target: Target, *, to: int) -> Rollout | None:
    """Return the guardian's own return, where it was the last thing that happened."""
    last = newest(target)
    if last is None or not is_guardians(last) or last.rollout.candidate != to:
        return None
    return last.rollout if last.rollout.outcome == "promoted" else None


def _driven(target: Target, journal: Journal, order: ReturnOrder) -> Rollout:
    try:
        return go_on(target, journal, order)
    except LeaseLostError:
        raise
    except ServiceError as error:
        # Nobody waits for it who would resume it.
        return abandon(target, journal, order, reason=f"It does not come up. {error}")
