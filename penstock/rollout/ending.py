"""How a rollout moves on and ends: promoted, rolled back, given up. Every move is written first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from penstock.common import progress
from penstock.errors import LeaseLostError, PenstockError, ServiceError
from penstock.records.rollout import Finding, Phase, Rollout, Transition
from penstock.rollout.journal import Journal
from penstock.rollout.router import Meanwhile, Router, nothing


@dataclass(frozen=True)
class Actions:
    """What a rollout checks in the registry and reports to it.

    Attributes:
        require_admitted: Returns only if the candidate may serve now; called before every move
            and at every look. Raises ServiceError where that cannot be known.
        promoted: Makes the candidate the champion in the registry. Idempotent.
        is_champion: Whether the registry has the candidate as its champion.
        rolled_back: Notes at the candidate's version why it was rolled back. Idempotent.
    """

    require_admitted: Callable[[], None]
    promoted: Callable[[], None]
    is_champion: Callable[[], bool]
    rolled_back: Callable[[str], None]


@dataclass(frozen=True)
class Move:
    """Where to go next, and why."""

    phase: Phase
    reason: str
    step: int = 0
    weight: int = 0
    findings: tuple[Finding, ...] = ()
    notified: bool = True


class RefusedChampionError(PenstockError):
    """The registry did not take the candidate as its champion."""


def give_up(
    router: Router, journal: Journal, *, version: int, actions: Actions, reason: str
) -> Rollout:
    """End a rollout from wherever it stands, and return its record.

    It is rolled back, unless its candidate is the champion already, or a person goes back to it and
    it may serve: then the rest of its promotion is done.

    Args:
        router: What carries the traffic; its `exclusive()` is held by the caller.
        journal: The rollout.
        version: Its candidate.
        actions: Its checks in the registry and reports to it.
        reason: Why.

    Raises:
        ServiceError: If the service cannot be steered, or the registry does not answer where its
            answer is needed.
    """
    here = journal.rollout.last
    if here.phase == "promote" and _is_forward(router, journal, version=version, actions=actions):
        # It is the champion already, or a return: few servers of it are better than what was.
        go(journal, promote(router, version, actions=actions, insist=False), version=version)
        return journal.rollout
    if here.phase not in ("rollback", "done"):
        go(journal, Move("rollback", reason), version=version)
    if journal.rollout.outcome is None:
        move = roll_back(router, version, actions=actions, reason=journal.rollout.last.reason)
        go(journal, move, version=version)
    elif not journal.rollout.last.notified:
        actions.rolled_back(journal.rollout.reason)
        go(journal, Move("done", "The registry was notified."), version=version)
    return journal.rollout


def _is_forward(router: Router, journal: Journal, *, version: int, actions: Actions) -> bool:
    if version not in (router.candidate, router.stable):
        return False
    champion = actions.is_champion()
    if champion and router.stable == version:
        return True
    if not champion and journal.rollout.purpose != "return":
        return False
    try:
        actions.require_admitted()
    except ServiceError:
        raise
    except PenstockError:
        return False
    return True


def promote(
    router: Router,
    version: int,
    *,
    actions: Actions,
    insist: bool,
    meanwhile: Meanwhile = nothing,
) -> Move:
    """Give the candidate all traffic, make it the champion, and remove what it took over from.

    Raises:
        Exception: Whatever `meanwhile` raises while it waits for servers; no traffic is moved.
        CapacityError: If it does not get the servers that it must have; see `Router.promote`.
        RefusedChampionError: If the registry did not take it as its champion; it has the traffic.
    """
    router.promote(version, insist=insist, meanwhile=meanwhile)
    try:
        actions.promoted()
    except LeaseLostError:
        raise
    except PenstockError as error:
        raise RefusedChampionError(error.what, where=error.where, remedy=error.remedy) from error
    router.clean_up()
    return Move("done", f"Version {version} serves all requests and is the champion.", weight=100)


def roll_back(router: Router, version: int, *, actions: Actions, reason: str) -> Move:
    """Give the traffic back, report to the registry, and remove the candidate."""
    router.rollback(version)
    outcome, notified = f"Version {version} has no traffic any more and is not the champion.", True
    try:
        actions.rolled_back(reason)
    except PenstockError as error:
        # The traffic is back, which is what counts; whoever drives the service next reports it.
        outcome, notified = f"Version {version} has no traffic any more.", False
        outcome += f" The registry could not be notified: {error}"
    router.clean_up()
    return Move("done", outcome, notified=notified)


def go(journal: Journal, move: Move, *, version: int) -> None:
    """Write a move down, and print it."""
    transition = journal.go(
        move.phase,
        reason=move.reason,
        step=move.step,
        weight=move.weight,
        findings=move.findings,
        notified=move.notified,
    )
    if transition.phase != "done":
        progress.say(_message(transition, version))


def _message(transition: Transition, version: int) -> str:
    messages = {
        "shadow": f"version {version} answers copies of requests",
        "step": f"version {version} at {transition.weight} %",
        "promote": f"version {version} at 100 %",
        "rollback": f"version {version} rolled back: {transition.reason}",
    }
    return messages.get(transition.phase, transition.reason)
