"""What people do to a service: look, go back, resume, approve, abort."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from datetime import UTC, datetime

from penstock import progress
from penstock.errors import InputError, ServiceError
from penstock.records.model import FILE_NAME, Model
from penstock.records.rollout import Rollout
from penstock.registry import versions
from penstock.registry.audit import Word
from penstock.registry.versions import Version
from penstock.rollout.engine import Actions, Controller
from penstock.rollout.fetching import fetch
from penstock.rollout.journal import Journal
from penstock.rollout.place import Place, history, unfinished
from penstock.rollout.release import ROLLED_BACK, abandon, go_on, release_of
from penstock.rollout.router import ServiceStatus
from penstock.rollout.spec import CanarySpec, DeploymentSpec
from penstock.rollout.words import headline, status_lines


@dataclass(frozen=True)
class Standing:
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


def standing(place: Place) -> list[Standing]:
    """Return what serves or died serving."""
    past = history(place)
    newest = past[-1].rollout if past else None
    return [
        Standing(service=each, rollout=newest if each.service == place.service else None)
        for each in place.standing()
    ]


def resume(place: Place) -> Rollout:
    """Go on with the rollout that a killed controller left.

    Raises:
        InputError: If there is none.
        ServiceError: If its controller still runs.
    """
    journal = _unfinished(place)
    order = journal.order
    if order is None:
        raise InputError(
            "a rollback that was asked for by hand was cut short",
            where=f"service {place.service}",
            remedy="Ask for it again: penstock rollback.",
        )
    with place.router.exclusive():
        place.router.open()
        release = release_of(place, order, drill=journal.rollout.drill)
        rollout = go_on(place.router, journal, order, release)
    progress.say(headline(rollout))
    return rollout


def approve(place: Place) -> str:
    """Let a rollout that holds at a step go on; return what was approved, in words.

    Raises:
        InputError: If there is none, or it does not hold now.
    """
    journal = _unfinished(place)
    here = journal.rollout.last
    plan = CanarySpec.model_validate(journal.rollout.plan)
    if here.phase != "step" or not plan.steps[here.step].hold:
        raise InputError(
            f"the rollout of version {journal.rollout.candidate} is at {here.phase} and waits for "
            "nobody",
            where=f"service {place.service}",
            remedy="Only a step with `hold: true` takes an approval.",
        )
    journal.approve(here.step, by=getpass.getuser())
    return f"version {journal.rollout.candidate} beyond {here.weight} %"


def abort(place: Place, *, reason: str) -> Rollout | None:
    """Roll back the rollout that is under way.

    Returns its record, or None where its controller still runs: it was asked to, and does it at
    its next look.

    Raises:
        InputError: If no rollout is under way.
    """
    journal = _unfinished(place)
    if place.driven():
        journal.ask_to_abort(reason)
        return None
    with place.router.exclusive():
        return abandon(place.router, journal, reason=f"Asked to abort: {reason}")


def roll_back(
    place: Place, *, spec: DeploymentSpec, tracking_uri: str, to: int | None = None
) -> Rollout:
    """Serve the previous champion again, or a named version, with all traffic and the alias.

    Args:
        place: Where the service lives.
        spec: How it is deployed.
        tracking_uri: The MLflow store.
        to: A version; None takes the one that was champion before.

    Raises:
        InputError: If there is no such version, or it serves already.
        NotApprovedError: If no decision let the version in.
        ServiceError: If a rollout is under way, or the version does not come up; what served
            before serves on.
    """
    where = f"service {place.service}"
    target = _target(place.service, to=to, tracking_uri=tracking_uri)
    router = place.router
    with router.exclusive():
        router.open()
        if router.stable == target.version:
            raise InputError(f"version {target.version} serves already", where=where)
        for under_way in unfinished(place):
            abandon(router, under_way, reason="A rollback was asked for.")
        release = fetch(target, into=place.models, tracking_uri=tracking_uri)
        before = router.stable
        journal = _begin_rollback(place, target)
        controller = Controller(
            router=router,
            journal=journal,
            release=release,
            plan=CanarySpec(),
            task=Model.read(release.folder / FILE_NAME).task,
            actions=Actions(
                prove=lambda _: None,
                promoted=lambda: _champion_again(target, before, tracking_uri=tracking_uri),
                rolled_back=lambda _: None,
            ),
            ready_timeout=spec.ready_timeout,
        )
        rollout = controller.run()
    if rollout.outcome != "promoted":
        raise ServiceError(rollout.reason, where=where)
    return rollout


def _begin_rollback(place: Place, target: Version) -> Journal:
    now = datetime.now(UTC)
    name = f"{target.version}-rollback-{now:%Y%m%dT%H%M%S}"
    router = place.router
    reason = f"Rollback by {getpass.getuser()}, from version {router.stable or 'none'}."
    journal = Journal(place.store(name))
    journal.begin(
        Rollout(
            identity=name,
            service=place.service,
            router=place.kind,
            url=router.url,
            candidate=target.version,
            stable=router.stable,
            uri=target.uri,
            model=target.model,
            decision=target.tags.get(versions.DECISION_DIGEST, ""),
            direct=reason,
            started=now,
            plan={},
        ),
        reason=reason,
    )
    return journal


def _champion_again(target: Version, before: int | None, *, tracking_uri: str) -> None:
    word = Word(
        by=getpass.getuser(),
        means="operating system user",
        reason=f"Rolled back from version {before or 'none'}.",
    )
    versions.set_champion(
        target.name, target.version, tracking_uri=tracking_uri, event="rolled back", word=word
    )
    if before is not None:
        tags = {ROLLED_BACK: f"Rolled back by hand to version {target.version}."}
        versions.tag(target.name, before, tags, tracking_uri=tracking_uri)


def _target(service: str, *, to: int | None, tracking_uri: str) -> Version:
    if to is not None:
        return versions.registered(f"models:/{service}/{to}", tracking_uri=tracking_uri)
    previous = versions.by_alias(service, versions.PREVIOUS, tracking_uri=tracking_uri)
    if previous is None:
        raise InputError(
            "there is no version that was champion before",
            where=f"models:/{service}@{versions.PREVIOUS}",
            remedy="Name a version: penstock rollback --to VERSION.",
        )
    return previous


def _unfinished(place: Place) -> Journal:
    found = unfinished(place)
    if not found:
        raise InputError(
            "no rollout is under way",
            where=f"service {place.service}",
            remedy="Look at what serves with: penstock status.",
        )
    return found[-1]
