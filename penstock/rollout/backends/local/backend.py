"""The backend of this machine: server processes on loopback behind one proxy."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from penstock.captures.spec import CapturesSpec
from penstock.errors import InputError, LeaseLostError, PenstockError, ServiceError
from penstock.processes import logs
from penstock.processes import supervisor as process
from penstock.processes.loopback import LOOPBACK
from penstock.records.feature_server import FeatureServerSpec
from penstock.records.rollout import Pairs
from penstock.rollout.backend import Backend
from penstock.rollout.backends.local import servers, strays
from penstock.rollout.backends.local.lease import FileLease
from penstock.rollout.backends.local.state import (
    SERVICE_NAME,
    FileStore,
    LocalState,
    ProxyProcess,
    ServerArm,
    ServiceFolder,
)
from penstock.rollout.lease import SECONDS
from penstock.rollout.proxy import control
from penstock.rollout.router import Address, Health, Observation, Release
from penstock.rollout.service import Service
from penstock.rollout.state import Lost, Role
from penstock.rollout.traffic import predict_url, replay
from penstock.serving.request_headers import REPLAY, SMOKE

_log = logging.getLogger(__name__)

_REMOVED = ".removed"
_ROLES: tuple[Role, ...] = ("stable", "candidate", "retired")


class LocalBackend(Backend[ServerArm]):
    """See `penstock.rollout.backend.Backend`.

    A process that died is started again here: nobody else would.

    Args:
        folder: The service's folder.
        lease: The lease on it.
        store: Its state.
        port: Public port on loopback; 0 takes a free one, or the one that it already has.
        keep_port: Take whatever port the service has, and `port` only where it has none.
        drain: Seconds that a version which is removed may take to answer what it accepted.
        ready_timeout: Seconds that a server which is started again may take to become ready.
    """

    # Nothing but a killed start leaves a process without a state.
    owns_unnamed = True
    # The proxy takes its table from this process, whatever the disk takes.
    applies_unwritten = True
    keeps_beside = True

    def __init__(
        self,
        folder: ServiceFolder,
        *,
        lease: FileLease,
        store: FileStore,
        port: int,
        keep_port: bool,
        drain: float,
        ready_timeout: float,
    ) -> None:
        self._folder = folder
        self._lease = lease
        self._store = store
        self._port = port
        self._keep_port = keep_port
        self._drain = drain
        self._ready_timeout = ready_timeout
        self._applied = False

    @property
    def _state(self) -> LocalState:
        return self._store.state

    @property
    def url(self) -> str:
        """Where users reach the service."""
        return f"http://{LOOPBACK}:{self._state.port}"

    def prepare(self) -> None:
        """Make the service's folder."""
        self._folder.make()

    def connect(self) -> None:
        """Remove what a write that was killed left half done."""
        self._applied = False
        self._folder.sweep(lease=self._lease)

    def recover(self) -> None:
        """Check that the service answers on the configured port.

        Raises:
            InputError: If it answers on another one.
        """
        state = self._state
        if self._keep_port or self._port in (0, state.port):
            return
        if state.proxy and process.is_alive(state.proxy.process):
            raise InputError(
                f"it answers on port {state.port}, not on {self._port}",
                where=f"service {state.service}",
                remedy="Name that port, or stop the service first with: penstock stop.",
            )
        self._store.save(port=self._port, proxy=None)

    def arm_of(self, release: Release) -> ServerArm:
        """Return a release as it would be served here."""
        return ServerArm.of(release)

    def start(self, arm: ServerArm, *, timeout: float) -> ServerArm:
        """Start a version's server unless it runs; return it once it is ready.

        Raises:
            ServiceError: If it does not become ready; nothing is left running of it.
        """
        if arm.alive:
            return arm
        # A port that is taken is found out in no time.
        self.apply()
        if arm.identity:
            return servers.bring_back(self._folder, arm, timeout=timeout)
        return servers.bring_up(self._folder, arm, timeout=timeout)

    def abandon(self, arm: ServerArm) -> None:
        """End the process: it is this controller's own, even if the lease is lost."""
        if arm.process:
            process.stop(arm.process, grace=5)

    def require_alive(self, arm: ServerArm) -> None:
        """Return if a candidate's process runs.

        Raises:
            ServiceError: If it has died.
        """
        if not arm.alive:
            raise ServiceError(
                f"the server of version {arm.version} has died",
                where=f"service {self._folder.service}",
            )

    def apply(self) -> None:
        """Make the proxy's table what the state says; start the proxy if it does not run."""
        running = self._running_proxy()
        if running is None:
            running = control.start(self._folder, port=self._state.port)
            try:
                self._store.save(port=running.port, proxy=running)
            except BaseException:
                process.stop(running.process, grace=5)
                raise
        control.apply(self._folder, running, self._state, term=self._lease.term)
        self._applied = True

    def drain(self, arm: ServerArm) -> None:
        """Wait until a version has answered what it accepted, or the time for that is over."""
        self.apply()
        deadline = time.monotonic() + self._drain
        while self._in_flight(arm) and time.monotonic() < deadline:
            time.sleep(0.05)

    def sweep(self) -> None:
        """End the processes that have no role: what is being removed, and what a start left."""
        named = [arm.process for arm in self._state.arms() if arm.process]
        if self._state.proxy:
            named.append(self._state.proxy.process)
        leaving = [arm.process for arm in self._state.passing if arm.process]
        for ref in leaving:
            self._end(ref)
        for ref in strays.strays(self._folder.path, known=[*named, *leaving]):
            self._end(ref)

    def tidy(self) -> None:
        """Remove the folders of models that nothing serves and nobody goes back to.

        Each is renamed first, so that what is half removed is never taken for a model. One that
        cannot be removed is left for the next time.
        """
        state = self._state
        # The one before has no server any more, but one command brings it back.
        kept = (*state.arms(), *((state.previous,) if state.previous else ()))
        for folder in self._folder.unused_models({arm.folder for arm in kept}):
            try:
                shutil.rmtree(self._put_aside(folder))
            except OSError as error:
                _log.warning("%s was not removed: %s", folder, error)

    def withdraw(self, state: Any) -> None:
        """Stop the proxy: nothing is served any more."""
        if state.proxy:
            process.stop(state.proxy.process, grace=self._drain)

    def mend(self) -> None:
        """Start again what has died and should run.

        A candidate that does not start again is given up, its traffic with it. A stable version
        that does not is kept as long as there is a candidate, and tried again the next time.
        """
        if not self._state.arms():
            return
        # The proxy first, so that whatever still runs is reached again.
        if self._running_proxy() is None:
            self.apply()
        revived = [self._revive(role) for role in _ROLES]
        if any(revived) or not self._applied:
            self.apply()

    def address(self, role: Role) -> Address:
        """Return where a role's version alone answers."""
        return Address(self._state.roles()[role].url, {SMOKE: self._folder.key()})

    def observe(self) -> Observation:
        """Return the proxy's counters."""
        if self._state.proxy is None:
            return Observation(epoch="", arms={}, pairs=Pairs())
        return control.observe(self._folder, self._state.proxy)

    def health(self, arm: ServerArm) -> Health:
        """Return how one version's server is; deaths that were not mended yet count too."""
        return servers.health_of(self._folder, arm)

    def log(self, version: int) -> str:
        """Return the end of the log of a version's server."""
        return logs.tail(servers.log_of(self._folder, version))

    def replay(self, bodies: Sequence[bytes], *, rate: float) -> AbstractContextManager[None]:
        """Send requests through the proxy, which counts them as it counts users'."""
        address = predict_url(self.url, self._folder.service)
        return replay(address, bodies, rate=rate, headers={REPLAY: self._folder.key()})

    def _running_proxy(self) -> ProxyProcess | None:
        """Return the proxy if it runs."""
        running = self._state.proxy
        return running if running and process.is_alive(running.process) else None

    def _end(self, ref: process.ProcessRef) -> None:
        self._lease.check()
        process.stop(ref, grace=self._drain)

    def _revive(self, role: Role) -> bool:
        """Start a role's server again if it died; return whether anything changed."""
        arm = self._state.roles().get(role)
        if arm is None or arm.alive:
            return False
        # A controller that was killed as it started it again has counted this death.
        arm = arm.model_copy(update={"restarts": arm.deaths, "death_counted": True})
        self._store.save(**{role: arm})
        _log.warning("version %s, the %s one, had died: starting it again", arm.version, role)
        try:
            revived = servers.bring_back(self._folder, arm, timeout=self._ready_timeout)
        except LeaseLostError:
            raise
        except PenstockError as error:
            _log.warning("version %s does not start again: %s", arm.version, error)
            self._give_up(role, arm, reason=str(error))
            return True
        try:
            self._store.save(**{role: revived})
        except BaseException:
            self.abandon(revived)
            raise
        return True

    def _give_up(self, role: Role, arm: ServerArm, *, reason: str) -> None:
        state = self._state
        if role == "candidate":
            lost = Lost(version=arm.version, restarts=arm.restarts, reason=reason)
            self._store.save(candidate=None, weight=0, assignment=state.unmirrored(), lost=lost)
        elif role == "retired":
            self._store.save(retired=None, previous=arm.at_rest())
        elif len(state.arms()) == 1:
            # It serves nobody as it is; a new version must not be kept out by that.
            self._store.save(stable=None, previous=arm.at_rest())

    def _in_flight(self, arm: ServerArm) -> int:
        if self._state.proxy is None:
            return 0
        arms = control.read(self._folder, self._state.proxy)["arms"]
        return sum(int(found["in_flight"]) for found in arms if found["identity"] == arm.identity)

    def _put_aside(self, folder: Path) -> Path:
        with self._lease.guarded():
            if folder.name.endswith(_REMOVED):
                return folder
            return folder.replace(folder.with_name(f".{folder.name}{_REMOVED}"))


def local_service(
    home: Path,
    service: str,
    *,
    port: int = 8080,
    keep_port: bool = False,
    drain: float = 30.0,
    lease: float = SECONDS,
    ready_timeout: float = 120.0,
    captures: CapturesSpec | None = None,
    features: FeatureServerSpec | None = None,
    trusted_keys: Path | None = None,
) -> Service[ServerArm, LocalState]:
    """Return a service of this machine.

    Args:
        home: Folder below which state, logs and models are kept, in `serving/<service>`.
        service: Name of the service, which is the model's name in requests.
        port: Public port on loopback; 0 takes a free one, or the one that it already has.
        keep_port: Take whatever port the service has, and `port` only where it has none.
        drain: Seconds that a version which is removed may take to answer what it accepted.
        lease: Seconds after which a controller that fell silent may be taken over from.
        ready_timeout: Seconds that a server which is started again may take to become ready.
        captures: What its servers keep of the rows that they answer; None: what the defaults say.
        features: Where they ask for features; None: nowhere.
        trusted_keys: Folder of the keys by which a model must be signed; None: it need not be.

    Raises:
        InputError: If `service` cannot be the name of a folder and part of an address.
    """
    if not re.fullmatch(SERVICE_NAME, service):
        raise InputError(
            f"{service!r} cannot be the name of a service",
            remedy="Use letters, digits, dashes, dots and underscores, 63 at most.",
        )
    folder = ServiceFolder(
        home, service, captures=captures, features=features, trusted_keys=trusted_keys
    )
    held = FileLease(folder.path, service=service, seconds=lease)
    store = FileStore(folder, lease=held, port=port)
    backend = LocalBackend(
        folder,
        lease=held,
        store=store,
        port=port,
        keep_port=keep_port,
        drain=drain,
        ready_timeout=ready_timeout,
    )
    return Service(service, store=store, lease=held, backend=backend, ready_timeout=ready_timeout)
