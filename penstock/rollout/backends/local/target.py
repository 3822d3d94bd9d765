"""A service on this machine."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.captures.spec import CapturesSpec
from penstock.records.feature_server import FeatureServerSpec
from penstock.rollout.backends.local.backend import local_service
from penstock.rollout.backends.local.services import running_controller, status
from penstock.rollout.backends.local.state import ROLLOUTS, ServiceFolder
from penstock.rollout.router import Router, ServiceStatus
from penstock.rollout.store import FolderStore, Store

if TYPE_CHECKING:
    from penstock.rollout.experiment.events import EventSource


class LocalTarget:
    """See `penstock.rollout.target.Target`.

    Args:
        home: Folder below which all services of this machine are kept.
        service: The service.
        port: Its public port; 0 takes a free one, or the one that it has.
        keep_port: Take whatever port it has, and `port` only where it has none.
        ready_timeout: Seconds that a server which is started again may take to become ready.
        captures: What its servers keep of the rows that they answer; None: what the defaults say.
        features: Where they ask for features; None: nowhere.
        trusted_keys: Folder of the keys by which a model must be signed; None: it need not be.

    Raises:
        InputError: If `service` cannot be the name of a folder and part of an address.
    """

    def __init__(
        self,
        home: Path,
        *,
        service: str,
        port: int = 0,
        keep_port: bool = False,
        ready_timeout: float = 120.0,
        captures: CapturesSpec | None = None,
        features: FeatureServerSpec | None = None,
        trusted_keys: Path | None = None,
    ) -> None:
        self._home, self._service = home, service
        self._router = local_service(
            home,
            service,
            port=port,
            keep_port=keep_port,
            ready_timeout=ready_timeout,
            captures=captures,
            features=features,
            trusted_keys=trusted_keys,
        )
        self._folder = ServiceFolder(home, service)
        self._rollouts = self._folder.path / ROLLOUTS

    @property
    def service(self) -> str:
        """Its name."""
        return self._service

    @property
    def kind(self) -> str:
        """The one router of this machine."""
        return "local"

    @property
    def router(self) -> Router:
        """Server processes behind one proxy process."""
        return self._router

    @property
    def models(self) -> Path:
        """The folder that its servers read from."""
        return self._folder.models

    def store(self, identity: str) -> Store:
        """Return the folder of a rollout."""
        return FolderStore(self._rollouts / identity, guard=self._router.lease.guarded)

    def stores(self) -> list[Store]:
        """Return the folders of those that have begun."""
        return list(FolderStore.all_below(self._rollouts, guard=self._router.lease.guarded))

    def require_experiments(self) -> None:
        """Return: every service of this machine has a proxy."""

    def events(self, identity: str) -> EventSource:
        """Return the file that the proxy appends the events of an experiment to."""
        # Needed by whoever reads an experiment, and by nobody who only drives a service.
        from penstock.rollout.experiment.observations import EventFile

        return EventFile(self._folder.events(identity))

    def forget_events(self, identity: str) -> None:
        """Do nothing: they lie beside the journal."""

    def forget_all_but(self, versions: Collection[int]) -> None:
        """Delete the captures and logs of versions that are neither these nor up."""
        state = self._folder.read()
        up = [arm.version for arm in state.arms()] if state else []
        self._folder.forget_all_but({*versions, *up})

    def driven(self) -> bool:
        """Return whether a process that is not known to be dead holds the lease."""
        return running_controller(self._home, self._service) is not None

    def status(self) -> list[ServiceStatus]:
        """Return every service below the home that serves or died serving."""
        return status(self._home)
