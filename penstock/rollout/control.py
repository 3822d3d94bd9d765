"""What people do to a service: look, go back, resume, approve, abort."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from penstock.common import progress
from penstock.errors import InputError, ServiceError
from penstock.records.base import restored
from penstock.records.rollout import Rollout
from penstock.registry.admission import require_return
from penstock.registry.champion import checked_champion, rollback_target
from penstock.registry.identity import current_identity
from penstock.registry.versions import Version
from penstock.rollout.journal import Journal, unfinished
from penstock.rollout.resume import abandon, go_on, settle
from penstock.rollout.returning import begin_return
from penstock.rollout.router import ServiceStatus
from penstock.rollout.spec import CanarySpec, DeploymentSpec
from penstock.rollout.target import Target, newest
from penstock.rollout.words import headline, status_lines

_LOOK = 0.5
"""Seconds between two looks at whether a controller still runs."""


@dataclass(frozen=True)
class ServiceOverview:
    """What one service does, and the rollout it is in or was in last.

    Attributes:
        service: Its processes and weights.
        rollout: Its newest rollout; None if it never had one.
    """

    service: ServiceStatus
    rollout: Rollout | None

    def lines(self) -> list[str]:
        """Return it for a terminal."""
        shares = ", ".join(f"version {v}: {w} %" for v, w in self.service.weights.items())
        state = "running" if self.service.running else "NOT RUNNING (bring it back: penstock run)"
        lines = [f"{self.service.service}  {self.service.url}  {state}", f"  Weights  {shares}"]
        return lines + (status_lines(self.rollout) if self.rollout else [])


def status(target: Target) -> list[ServiceOverview]:
    """Return what serves or died serving."""
    last = newest(target)
    rollout = last.rollout if last else None
    return [
        ServiceOverview(service=each, rollout=rollout if each.service == target.service else None)
        for each in target.status()
    ]


def resume(target: Target, *, tell: Callable[[str], bool] = lambda _: True) -> Rollout:
    """Go on with the rollout that a killed controller left.

    Args:
        target: Where the service lives.
        tell: Notifies people that a step with `hold: true` waits for them.

    Raises:
        InputError: If there is none, or it is an experiment.
        ServiceError: If its controller still runs.
    """
    if _unfinished(target).rollout.purpose == "experiment":
        raise InputError(
            "what is under way is an experiment",
            where=f"service {target.service}",
            remedy="Go on with it: penstock experiment start.",
        )
    with target.router.exclusive():
        target.router.open()
        # It may have ended while the lease was waited for.
        journal = _unfinished(target)
        rollout = go_on(target, journal, journal.order, tell=tell)
    progress.say(headline(rollout))
    return rollout


def approve(target: Target) -> str:
    """Let a rollout that holds at a step go on; return what was approved, in words.

    Raises:
        InputError: If there is none, or it does not hold now.
    """
    journal = _unfinished(target)
    here = journal.rollout.last
    plan = restored(CanarySpec, journal.rollout.plan, where=f"rollout {journal.name}: plan")
    if here.phase != "step" or not plan.steps[here.step].hold:
        raise InputError(
            f"the rollout of version {journal.rollout.candidate} is at {here.phase} and waits for "
            "nobody",
            where=f"service {target.service}",
            remedy="Only a step with `hold: true` takes an approval.",
        )
    journal.approve(here.step, by=current_identity().name)
    return f"version {journal.rollout.candidate} beyond {here.weight} %"


def abort(target: Target, *, reason: str, patience: float = 60.0) -> Rollout | None:
    """Roll back the rollout that is under way.

    A controller that runs does it at its next poll.

    Args:
        target: Where the service lives.
        reason: Why.
        patience: Seconds to wait for a controller that runs.

    Returns:
        The rollout's record; None if its controller has not come to it yet.

    Raises:
        InputError: If no rollout is under way, or it is too late: the version is the champion.
    """
    name = _unfinished(target).name
    if target.driven():
        Journal(target.store(name)).request_abort(reason)
    until = time.monotonic() + patience
    while target.driven():
        rollout = Journal(target.store(name)).rollout
        if rollout.ended:
            return _aborted(target, rollout)
        if time.monotonic() > until:
            return None
        time.sleep(_LOOK)
    with target.router.exclusive():
        journal = Journal(target.store(name))
        if not journal.rollout.ended:
            abandon(target, journal, journal.order, reason=f"Asked to abort: {reason}")
    return _aborted(target, journal.rollout)


def _aborted(target: Target, rollout: Rollout) -> Rollout:
    if rollout.outcome == "promoted":
        raise InputError(
            f"it is too late to abort: version {rollout.candidate} serves all requests and is the "
            "champion",
            where=f"service {target.service}",
            remedy="Go back to the champion before it with: penstock rollback.",
        )
    return rollout


def roll_back(
    target: Target, *, spec: DeploymentSpec, tracking_uri: str, to: int | None = None
) -> Rollout:
    """Serve an earlier champion again, with all traffic and the alias.

    A rollback that was cut short is finished by asking again, or by `resume`.

    Args:
        target: Where the service lives.
        spec: How it is deployed.
        tracking_uri: The MLflow store.
        to: A version that was the champion at some time; None takes the newest one before the
            champion that was not rolled back.

    Raises:
        InputError: If there is no such version, or it serves already.
        NotApprovedError: If it was never the champion, or was rejected since.
        IntegrityError: If it is not what was registered.
        ServiceError: If a controller drives the service, or the version does not come up; what
            served before serves on.
    """
    where = f"service {target.service}"
    router = target.router
    with router.exclusive():
        router.open()
        for ended in settle(target, reason="A rollback was requested."):
            finished = ended.purpose == "return" and ended.outcome == "promoted"
            if finished and to in (None, ended.candidate):
                return ended
        champion = checked_champion(target.service, tracking_uri=tracking_uri).version
        chosen = _chosen(target.service, to=to, tracking_uri=tracking_uri)
        if router.stable == chosen.version and champion == chosen:
            raise InputError(f"version {chosen.version} serves already", where=where)
        who = current_identity()
        journal, order = begin_return(
            target,
            chosen,
            by=who.name,
            means=who.means,
            spec=spec,
            tracking_uri=tracking_uri,
            champion=champion.version if champion else None,
        )
        rollout = go_on(target, journal, order)
    if rollout.outcome != "promoted":
        raise ServiceError(rollout.reason, where=where)
    return rollout


def _chosen(service: str, *, to: int | None, tracking_uri: str) -> Version:
    """Return the version to go back to, which may serve again."""
    if to is None:
        before = rollback_target(service, tracking_uri=tracking_uri)
        if before is None:
            raise InputError(
                "there is no version that was champion before and was not rolled back",
                where=f"service {service}",
                remedy="Name a version that was champion: penstock rollback --to VERSION.",
            )
        to = before.version
    return require_return(service, to, tracking_uri=tracking_uri)


def _unfinished(target: Target) -> Journal:
    found = unfinished(target.stores())
    if not found:
        raise InputError(
            "no rollout is under way",
            where=f"service {target.service}",
            remedy="Look at what serves with: penstock status.",
        )
    return found[-1]
