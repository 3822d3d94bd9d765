"""Taking up a rollout where its journal stands: on to its end, or back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from penstock.data import sample
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.records.base import restored
from penstock.records.experiment import ExperimentOrder, ended_by_reading
from penstock.records.model import FILE_NAME, Model
from penstock.records.rollout import Order, ReturnOrder, Rollout
from penstock.registry import admission, audit, binding, versions
from penstock.registry.admission import Admission
from penstock.registry.audit import Actor
from penstock.registry.champion import Champion, checked_champion, set_champion
from penstock.rollout import feature_check, smoke
from penstock.rollout.ending import Actions, give_up
from penstock.rollout.engine import Controller
from penstock.rollout.fetching import fetch
from penstock.rollout.journal import Journal, unfinished
from penstock.rollout.router import Address, Release, Router
from penstock.rollout.spec import CanarySpec, DeploymentSpec
from penstock.rollout.target import Target
from penstock.serving import parity_check

REPLAYED_ROWS = sample.ROWS
"""Rows of the holdout that are replayed, and that show which values the target has."""


def go_on(
    target: Target,
    journal: Journal,
    order: Order | ReturnOrder | None,
    *,
    tell: Callable[[str], bool] = lambda _: True,
) -> Rollout:
    """Take a rollout up where its journal stands, and run it to its end.

    Args:
        target: Where the service lives; its lease is held by the caller.
        journal: A rollout that has begun.
        order: Its inputs; None: not known any more, and it is rolled back.
        tell: Notifies people that a step holds for them.

    Raises:
        LeaseLostError: If another controller took over.
        ServiceError: If the service could neither be steered nor mended.
        KeyboardInterrupt: After the rollout was given up.
    """
    rollout = journal.rollout
    if order is None or rollout.last.phase in ("rollback", "done"):
        return abandon(target, journal, order, reason="It has no record of how to continue.")
    spec = DeploymentSpec.parse(order.deployment, where="deployment")
    try:
        release = _release(target, order, fault=rollout.fault)
    except ServiceError:
        raise
    except PenstockError as error:
        # Its files or tags are not what was registered, or it was deleted.
        return abandon(target, journal, order, reason=f"It may not serve. {error}")
    controller = _controller(target, journal, order)(
        router=target.router,
        journal=journal,
        release=release,
        plan=restored(CanarySpec, rollout.plan, where=f"rollout {rollout.identity}: plan"),
        task=Model.read(release.folder / FILE_NAME).task,
        actions=actions_of(journal, order),
        prove=_prover(target.router, order, release, rows=spec.smoke_rows),
        ready_timeout=spec.ready_timeout,
        tell=tell,
    )
    with _traffic(target.router, journal, order, folder=release.folder):
        return controller.run()


def _controller(
    target: Target, journal: Journal, order: Order | ReturnOrder
) -> Callable[..., Controller]:
    """Return what runs a rollout: an experiment has a controller of its own."""
    if not isinstance(order, ExperimentOrder):
        return Controller
    from penstock.rollout.experiment.controller import ExperimentController

    return partial(
        ExperimentController, experiment=order.experiment, events=target.events(journal.name)
    )


def abandon(
    target: Target, journal: Journal, order: Order | ReturnOrder | None, *, reason: str
) -> Rollout:
    """End a rollout that is out of date; see `ending.give_up`."""
    return give_up(
        target.router,
        journal,
        version=journal.rollout.candidate,
        actions=actions_of(journal, order),
        reason=reason,
    )


def settle(target: Target, *, reason: str, but: str = "") -> list[Rollout]:
    """End what other controllers left half-way, and return it: they hold the service no more.

    Args:
        target: Where the service lives; its lease is held by the caller.
        reason: Why what is rolled back is.
        but: The rollout that is to go on.

    Raises:
        ServiceError: If the service cannot be steered, or the registry does not answer.
    """
    others = [journal for journal in unfinished(target.stores()) if journal.name != but]
    return [abandon(target, journal, journal.order, reason=reason) for journal in others]


def actions_of(journal: Journal, order: Order | ReturnOrder | None) -> Actions:
    """Return a rollout's checks in the registry and reports to it."""
    rollout = journal.rollout
    store = order.tracking_uri if order else ""
    if isinstance(order, ReturnOrder):
        return Actions(
            require_admitted=lambda: _require_return(rollout, order),
            promoted=lambda: _champion_again(rollout, order),
            is_champion=lambda: _is_champion(rollout, tracking_uri=store),
            rolled_back=lambda _: None,
        )
    return Actions(
        require_admitted=_release_admission(rollout, order) if order else lambda: None,
        promoted=lambda: _promoted(journal.rollout, order) if order else None,
        is_champion=lambda: _is_champion(rollout, tracking_uri=store),
        rolled_back=lambda reason: _tell(journal.rollout, reason, tracking_uri=store),
    )


def promote(order: Order, *, reason: str, rollout: str = "") -> None:
    """Make an ordered version the champion, if the champion is the one it was compared with."""
    registration, decision = order.registration, order.decision
    set_champion(
        registration.name,
        registration.version,
        tracking_uri=order.tracking_uri,
        event="promoted",
        actor=canary_actor(order, reason),
        expect=binding.compared_with(decision),
        rollout=rollout,
    )


def canary_actor(order: Order, reason: str) -> Actor:
    """Return who an ordered version serves by, for the audit log."""
    digests = {"model": order.registration.model, "decision": order.registration.decision}
    name = audit.EXPERIMENT if isinstance(order, ExperimentOrder) else audit.CANARY
    return Actor(name=name, reason=reason, digests=digests)


def prove(router: Router, address: Address, order: Order, release: Release, *, rows: int) -> None:
    """Compare a server's answers to holdout rows with the model's own; see `smoke.check`.

    Where servers ask a feature server, it is compared with the offline store first.
    """
    with ThreadPoolExecutor(1) as beside:
        # Most of loading a model is importing its libraries, and reading rows costs as much again.
        scorer = beside.submit(smoke.scorer_of, release)
        spec = DeploymentSpec.parse(order.deployment, where="deployment")
        feature_check.check(release.folder, Path(order.holdout), spec.feature_server)
        sample = parity_check.sample_rows(Path(order.holdout), rows=rows)
        smoke.check(
            address,
            service=order.registration.name,
            scorer=scorer.result(),
            sample=sample,
            log=lambda: router.log(release.version),
        )


def _release(target: Target, order: Order | ReturnOrder, *, fault: str) -> Release:
    if isinstance(order, Order):
        uri = order.registration.uri
    else:
        uri = f"models:/{order.service}/{order.version}"
    version = versions.registered(uri, tracking_uri=order.tracking_uri)
    return fetch(version, into=target.models, tracking_uri=order.tracking_uri, fault=fault)


def _prover(
    router: Router, order: Order | ReturnOrder, release: Release, *, rows: int
) -> Callable[[Address], None]:
    if isinstance(order, ReturnOrder):
        # No holdout is at hand; it was proved when it became the champion, and its server compares
        # the digests of its files before it is ready.
        return lambda _: None
    return lambda address: prove(router, address, order, release, rows=rows)


def _release_admission(rollout: Rollout, order: Order) -> Callable[[], None]:
    current = Admission(order)
    recorded = False

    def require() -> None:
        nonlocal recorded
        version = current.require()
        if not recorded:
            admission.record_once(
                version,
                event=audit.ADMITTED,
                identity=rollout.identity,
                facts={"move": _move_of(rollout)},
                actor=canary_actor(
                    order, "Its decision, its policy and the champion are as they were."
                ),
                tracking_uri=order.tracking_uri,
            )
            recorded = True

    return require


def _move_of(rollout: Rollout) -> str:
    if rollout.purpose == "experiment":
        return "experiment"
    return "first release" if rollout.direct else "canary"


def _require_return(rollout: Rollout, order: ReturnOrder) -> None:
    store = order.tracking_uri
    version = admission.require_return(order.service, order.version, tracking_uri=store)
    admission.record_once(
        version,
        event=audit.ADMITTED,
        identity=rollout.identity,
        facts={"move": "return"},
        actor=Actor(name=order.by, means=order.means, reason="It was the champion before."),
        tracking_uri=store,
    )


def _champion_again(rollout: Rollout, order: ReturnOrder) -> None:
    store, before = order.tracking_uri, rollout.champion
    set_champion(
        order.service,
        order.version,
        tracking_uri=store,
        event="rolled back",
        actor=Actor(name=order.by, means=order.means, reason=rollout.direct),
    )
    if before is not None and before != order.version:
        by = order.by if order.automatic else "hand"
        tags = {versions.ROLLED_BACK: f"Rolled back by {by} to version {order.version}."}
        versions.tag(order.service, before, tags, tracking_uri=store)


def _promoted(rollout: Rollout, order: Order) -> None:
    promote(order, reason=rollout.last.reason, rollout=rollout.identity)


def _is_champion(rollout: Rollout, *, tracking_uri: str) -> bool:
    return _champion_of(rollout, tracking_uri=tracking_uri) is not None


def _left_champion(rollout: Rollout, *, tracking_uri: str) -> bool:
    """Return whether it made its candidate the champion, and not the rollout of another service."""
    found = _champion_of(rollout, tracking_uri=tracking_uri)
    return found is not None and found.rollout in ("", rollout.identity)


def _champion_of(rollout: Rollout, *, tracking_uri: str) -> Champion | None:
    """Return the champion if it is the candidate, and None otherwise."""
    found = checked_champion(rollout.service, tracking_uri=tracking_uri)
    champion = None if found.problem or not found.version else found.version.version
    return found if champion == rollout.candidate else None


def _tell(rollout: Rollout, reason: str, *, tracking_uri: str) -> None:
    """Tag a version that was rolled back, and see to it that this rollout left no champion."""
    by = audit.EXPERIMENT if rollout.purpose == "experiment" else audit.CANARY
    name, actor = rollout.service, Actor(name=by, reason=reason)
    try:
        version = versions.registered(rollout.uri, tracking_uri=tracking_uri)
    except InputError:
        # It was deleted meanwhile: there is nothing to report to.
        return
    before = rollout.stable if rollout.champion is None else rollout.champion
    promoted = any(each.phase == "promote" for each in rollout.transitions)
    if promoted and before is not None and _left_champion(rollout, tracking_uri=tracking_uri):
        set_champion(
            name,
            before,
            tracking_uri=tracking_uri,
            event="rolled back",
            actor=actor,
            expect=rollout.candidate,
        )
    kept = ended_by_reading(rollout)
    if not kept:
        tags = {versions.ROLLED_BACK: reason}
        versions.tag(name, rollout.candidate, tags, tracking_uri=tracking_uri)
    admission.record_once(
        version,
        event=audit.KEPT if kept else "rolled back",
        identity=rollout.identity,
        facts={},
        actor=actor,
        tracking_uri=tracking_uri,
    )


def _traffic(
    router: Router, journal: Journal, order: Order | ReturnOrder, *, folder: Path
) -> AbstractContextManager[object]:
    plan = restored(CanarySpec, journal.rollout.plan, where=f"rollout {journal.name}: plan")
    if isinstance(order, ReturnOrder) or plan.traffic.source == "live" or journal.rollout.direct:
        return contextlib.nullcontext()
    sample = parity_check.sample_rows(Path(order.holdout), rows=REPLAYED_ROWS)
    names = [column.name for column in Model.read(folder / FILE_NAME).columns]
    bodies = [
        json.dumps({"instances": [row]}, ensure_ascii=False).encode()
        for row in parity_check.as_instances(sample, names)
    ]
    return router.replay(bodies, rate=plan.traffic.rate)
