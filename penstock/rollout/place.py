"""Where a service lives: its router, the journals of its rollouts, a folder for its models."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from penstock.rollout.journal import Journal, journals
from penstock.rollout.router import Router, ServiceStatus
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.store import Store


class Place(Protocol):
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

    def driven(self) -> bool:
        """Return whether a controller drives it now, as far as can be known."""
        ...

    def standing(self) -> list[ServiceStatus]:
        """Return what the service does, and what else serves there; it may be nothing."""
        ...


def place_of(spec: DeploymentSpec, *, service: str, home: Path, tracking_uri: str) -> Place:
    """Return where a deployment's service lives.

    Args:
        spec: Names the router.
        service: The service, which is the registered model.
        home: Folder of this machine that keeps what a local service needs.
        tracking_uri: The MLflow store; a cluster reads models where it says.

    Raises:
        InputError: If `service` cannot be the name of one there, or the plan asks for what that
            router cannot do.
        ServiceError: If it is a cluster's, and none is known here.
    """
    if spec.router == "local":
        from penstock.rollout.routers.place import LocalPlace

        return LocalPlace(home, service=service, port=spec.port)
    from penstock.rollout.kserve.place import ClusterPlace

    return ClusterPlace(spec, service=service, tracking_uri=tracking_uri)


def history(place: Place) -> list[Journal]:
    """Return the rollouts of a service that have begun, the oldest first."""
    return journals(place.stores())


def unfinished(place: Place) -> list[Journal]:
    """Return those of them for which something is left to be done."""
    return [journal for journal in history(place) if not journal.rollout.ended]
