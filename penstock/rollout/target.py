"""Where a service lives: its router, the journals of its rollouts, a folder for its models."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from penstock.common import progress
from penstock.errors import ServiceError
from penstock.rollout.journal import Journal
from penstock.rollout.router import Router, ServiceStatus
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.store import Store

if TYPE_CHECKING:
    from penstock.rollout.experiment.events import EventSource


class Target(Protocol):
    """One service, wherever it lives."""

    @property
    def service(self) -> str:
        """Its name, which is the registered model's."""
        ...

    @property
    def kind(self) -> str:
        """Its router as `deployment.router` names it, chosen where that leaves it open.

        Raises:
            ServiceError: If it is left open and the cluster has not what any of them needs.
        """
        ...

    @property
    def router(self) -> Router:
        """What carries its traffic."""
        ...

    @property
    def models(self) -> Path:
        """A folder of this machine to fetch models into, one folder each."""
        ...

    def store(self, identity: str) -> Store:
        """Return what keeps the rollout of that identity, whether or not it has begun."""
        ...

    def stores(self) -> list[Store]:
        """Return what keeps each rollout that has begun."""
        ...

    def require_experiments(self) -> None:
        """Return if the service can have an experiment.

        Raises:
            InputError: If its router or its settings keep it from one.
            ServiceError: If what keeps the events does not answer.
        """
        ...

    def events(self, identity: str) -> EventSource:
        """Return where the events of an experiment are read from."""
        ...

    def forget_events(self, identity: str) -> None:
        """Delete the events of an experiment that do not lie beside its journal.

        Raises:
            ServiceError: If what keeps them does not answer.
        """
        ...

    def forget_all_but(self, versions: Collection[int]) -> None:
        """Delete what was captured and logged of versions that are neither these nor up.

        The lease is held by the caller.
        """
        ...

    def driven(self) -> bool:
        """Return whether a controller drives it now, as far as can be known."""
        ...

    def status(self) -> list[ServiceStatus]:
        """Return what the service does, and what else serves there; it may be nothing."""
        ...


def target_of(
    spec: DeploymentSpec,
    *,
    service: str,
    home: Path,
    tracking_uri: str,
    keep_port: bool = False,
) -> Target:
    """Return where a deployment's service lives.

    Args:
        spec: Names the router.
        service: The service, which is the registered model.
        home: Folder of this machine that keeps what a local service needs.
        tracking_uri: The MLflow store; a cluster reads models where it says.
        keep_port: A local service keeps the port that it has; only where it has none it takes the
            deployment's.

    Raises:
        InputError: If `service` cannot be the name of one there, or the plan needs what that
            router cannot do.
        ServiceError: If it is a cluster's, and none is known here.
    """
    if spec.router == "local":
        from penstock.rollout.backends.local.target import LocalTarget

        return LocalTarget(
            home,
            service=service,
            port=spec.port,
            keep_port=keep_port,
            ready_timeout=spec.ready_timeout,
            captures=spec.captures,
            features=spec.features,
            # A home lies beside the project file.
            trusted_keys=home.parent / spec.trusted_keys if spec.trusted_keys else None,
        )
    from penstock.rollout.backends.kserve.target import ClusterTarget

    return ClusterTarget(spec, service=service, tracking_uri=tracking_uri)


def history(target: Target) -> list[Journal]:
    """Return the rollouts of a service that have begun, the oldest first. Every journal is read."""
    found = [(store, Journal(store)) for store in target.stores()]
    begun = [(store.number, journal) for store, journal in found if journal.exists]
    # Those of a former release have no number, and began before all that have.
    return [each for _, each in sorted(begun, key=lambda one: (one[0], one[1].rollout.started))]


def newest(target: Target) -> Journal | None:
    """Return the rollout of a service that began last; None if it never had one."""
    for store in reversed(target.stores()):
        if not store.number:
            break
        journal = Journal(store)
        if journal.exists:
            return journal
    found = history(target)
    return found[-1] if found else None


def prune(target: Target, *, keep: int) -> None:
    """Delete the journals of the oldest rollouts that have ended, and what was captured of them.

    Args:
        target: Where the service lives; its lease is held by the caller.
        keep: How many that have ended stay.
    """
    stores = target.stores()
    for store in stores:
        if not store.ended:
            journal = Journal(store)
            if journal.exists:
                journal.mark()
    ended = [store for store in stores if store.ended]
    gone = ended[: max(0, len(ended) - keep)]
    for store in gone:
        _forget(target, store)
    if gone:
        named = [store.name.partition("-")[0] for store in stores if store not in gone]
        target.forget_all_but({int(name) for name in named if name.isdecimal()})


def _forget(target: Target, store: Store) -> None:
    """Delete a journal, after the events that it alone names; where they stay, it stays too."""
    try:
        target.forget_events(store.name)
    except ServiceError as error:
        progress.say(f"rollout {store.name} is kept: {error}")
        return
    store.forget()
