"""The router of this machine: server processes on loopback behind one front process."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import InputError, PenstockError, ServiceError
from penstock.processes import logs
from penstock.processes import supervisor as process
from penstock.processes.loopback import LOOPBACK
from penstock.records.rollout import Pairs
from penstock.rollout.backends.local import servers
from penstock.rollout.backends.local.keeper import Keeper
from penstock.rollout.backends.local.lease import SECONDS, Lease
from penstock.rollout.backends.local.state import (
    SERVICE_NAME,
    Assignment,
    LocalState,
    Origin,
    Role,
    ServerArm,
    ServiceFolder,
)
from penstock.rollout.router import Address, Health, Observation, Release, Routing
from penstock.rollout.routers import front
from penstock.rollout.traffic import predict_url, replay
from penstock.serving.marks import REPLAY, SMOKE


class LocalRouter:
    """One service on this machine; see `penstock.rollout.router.Router` for the actions.

    Every change is written to `state.json` before it is made; see `Keeper`.

    Args:
        home: Folder below which state, logs and models are kept, in `serving/<service>`.
        service: Name of the service, which is the model's name in requests.
        port: Public port on loopback; 0 takes a free one, or the one that it already has.
        keep_port: Take whatever port the service has, and `port` only where it has none.
        drain: Seconds that a version which is removed may take to answer what it accepted.
        lease: Seconds after which a controller that fell silent may be taken over from.
        ready_timeout: Seconds that a server which is started again may take to become ready.

    Raises:
        InputError: If `service` cannot be the name of a folder and part of an address.
    """

    def __init__(
        self,
        home: Path,
        *,
        service: str,
        port: int = 8080,
        keep_port: bool = False,
        drain: float = 30.0,
        lease: float = SECONDS,
        ready_timeout: float = 120.0,
    ) -> None:
        if not re.fullmatch(SERVICE_NAME, service):
            raise InputError(
                f"{service!r} cannot be the name of a service",
                remedy="Use letters, digits, dashes, dots and underscores, 63 at most.",
            )
        self._folder = ServiceFolder(home, service)
        self._lease = Lease(self._folder.path, service=service, seconds=lease)
        self._port = port
        self._keep_port = keep_port
        self._drain = drain
        self._keeper = Keeper(
            self._folder, self._lease, port=port, drain=drain, ready_timeout=ready_timeout
        )

    @property
    def _state(self) -> LocalState:
        return self._keeper.state

    @property
    def models(self) -> Path:
        """The folder for models to be served, one folder each; unused ones are removed."""
        return self._folder.models

    @property
    def url(self) -> str:
        """Where users reach the service."""
        return f"http://{LOOPBACK}:{self._state.port}"

    @property
    def stable(self) -> int | None:
        """The version that the service falls back to."""
        return self._state.stable.version if self._state.stable else None

    @property
    def candidate(self) -> int | None:
        """The version that is brought up beside it."""
        return self._state.candidate.version if self._state.candidate else None

    @property
    def previous(self) -> int | None:
        """The version that the stable one took over from; its model's folder is kept."""
        origin = self._state.retired.origin if self._state.retired else self._state.previous
        return origin.version if origin else None

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the service's lease, and first mend it: restart what died, end what was left behind.

        Raises:
            ServiceError: If another controller holds the lease, or the port was taken meanwhile.
            InputError: If the service answers on another port than the one asked for.
        """
        self._folder.make()
        with self._lease.held(above=self._folder.term()):
            self._recover()
            try:
                yield
            finally:
                self._close_unused()

    def guarded(self) -> AbstractContextManager[None]:
        """Return a block that is run while nobody can take the service over; keep it short.

        Raises:
            LeaseLostError: If the lease is not held any more; the block is not run.
        """
        return self._lease.guarded()

    def open(self) -> None:
        """Make sure that the service's address is its own and answers."""
        self._lease.check()
        self._keeper.apply()

    def deploy(self, release: Release, *, timeout: float) -> Address:
        """Bring `release` up as the candidate, without traffic; return where it alone answers."""
        self.mend()
        origin = Origin.of(release)
        for arm in (self._state.stable, self._state.candidate):
            if arm and arm.origin.same(origin):
                self._keeper.apply()
                return self._address(arm)
        if self.stable == release.version:
            raise InputError(
                f"version {release.version} is the stable one, from other files or with a drill",
                where=f"service {self._state.service}",
                remedy="Register the model as a version of its own.",
            )
        self._remove_candidate()
        self._remove_retired()
        try:
            # The front first: a port that is taken is found out in no time.
            self._keeper.apply()
            arm = servers.bring_up(self._folder, origin, timeout=timeout)
        except BaseException:
            with contextlib.suppress(PenstockError):
                self.clean_up()
            raise
        self._keeper.adopt(
            arm.process, candidate=arm, weight=0, assignment=self._keeper.unmirrored(), lost=None
        )
        self._keeper.apply()
        return self._address(arm)

    def route(self, routing: Routing) -> None:
        """Set mirroring and assignment."""
        if not 0 <= routing.mirror <= 1:
            raise InputError(f"a share of {routing.mirror} to mirror", remedy="Give 0 to 1.")
        self._keeper.save(assignment=Assignment.of(routing))
        self._keeper.apply()

    def set_weight(self, version: int, percent: int) -> None:
        """Give the candidate `percent` of new requests."""
        if not 0 <= percent <= 100:
            raise InputError(f"a weight of {percent} %", remedy="Give 0 to 100.")
        self._lease.check()
        self._require_candidate(version)
        self._keeper.save(weight=percent)
        self._keeper.apply()

    def observe(self) -> Observation:
        """Return what each version that is up has done since it was brought up."""
        self._lease.check()
        if self._state.front is None:
            return Observation(epoch="", arms={}, pairs=Pairs())
        return front.observe(self._folder, self._state.front)

    def health(self, version: int) -> Health:
        """Return how one version's server is; deaths that were not mended yet count too."""
        self._lease.check()
        for arm in self._state.arms():
            if arm.version == version:
                return servers.health_of(self._folder, arm)
        lost = self._state.lost
        if lost and lost.version == version:
            return Health(ready=False, restarts=lost.restarts, memory=None, reason=lost.reason)
        return Health(ready=False, restarts=0, memory=None, reason="It is not up.")

    def log(self, version: int) -> str:
        """Return the end of the log of a version's server."""
        return logs.tail(servers.log_of(self._folder, version))

    def replay(self, bodies: Sequence[bytes], *, rate: float) -> AbstractContextManager[None]:
        """Send requests through the front, which counts them as it counts users'."""
        address = predict_url(self.url, self._folder.service)
        return replay(address, bodies, rate=rate, headers={REPLAY: self._folder.key()})

    def mend(self) -> None:
        """Start again what has died and should run.

        A candidate that does not start again is given up, its traffic with it. A stable version
        that does not is kept as long as there is a candidate, and tried again the next time.
        """
        self._lease.check()
        if not self._state.arms():
            return
        # The front first, so that whatever still runs is reached again.
        self._revive_front()
        roles: tuple[Role, ...] = ("stable", "candidate", "retired")
        revived = [self._keeper.revive(role) for role in roles]
        if any(revived):
            self._keeper.apply()

    def promote(self, version: int) -> None:
        """Make the candidate the stable version, with all traffic."""
        self._lease.check()
        state = self._state
        if state.candidate is None and self.stable == version:
            self._keeper.apply()
            return
        candidate = self._require_candidate(version)
        self._keeper.save(
            stable=candidate,
            candidate=None,
            retired=state.stable,
            weight=0,
            assignment=self._keeper.unmirrored(),
        )
        self._keeper.apply()

    def rollback(self, version: int) -> None:
        """Take all traffic from `version` and give it back to the one before.

        A version that was promoted and cleaned up is rolled back too, where the one before is
        known and starts again; that takes as long as its start.

        Raises:
            ServiceError: If the one before does not start: the traffic stays where it is; or if the
                state cannot be written: the traffic is back, see `Keeper.go_back`.
        """
        self._lease.check()
        if self.candidate is None and self.stable == version:
            self._step_back()
        self._keeper.go_back(weight=0, assignment=self._keeper.unmirrored())

    def clean_up(self) -> None:
        """Stop every version without traffic, and the front too where nothing is left to serve."""
        self._lease.check()
        if self._state.weight == 0:
            self._remove_candidate()
        self._remove_retired()
        if not self._state.arms():
            self._keeper.close()
        self._keeper.end_strays()
        self._keeper.remove_unused_models()

    def _address(self, arm: ServerArm) -> Address:
        return Address(arm.url, {SMOKE: self._folder.key()})

    def _recover(self) -> None:
        # Before anything else is started: what is left over may hold the port.
        self._folder.sweep(lease=self._lease)
        found = self._keeper.take_over()
        self._keeper.end_strays()
        self._check_port()
        self.mend()
        if self._state.arms():
            self._keeper.apply()
        elif found:
            self._keeper.close()

    def _close_unused(self) -> None:
        """Stop a front that nothing came to be served by: it would hold the users' port."""
        if self._state.front and not self._state.arms():
            # What ended the command is told; the next one closes what could not be closed.
            with contextlib.suppress(PenstockError):
                self._keeper.close()

    def _check_port(self) -> None:
        state = self._state
        if self._keep_port or self._port in (0, state.port):
            return
        if state.front and process.is_alive(state.front.process):
            raise InputError(
                f"it answers on port {state.port}, not on {self._port}",
                where=f"service {state.service}",
                remedy="Name that port, or stop the service first with: penstock stop.",
            )
        self._keeper.save(port=self._port, front=None)

    def _revive_front(self) -> None:
        running = self._state.front
        if running is None or not process.is_alive(running.process):
            self._keeper.apply()

    def _step_back(self) -> None:
        """Swap the stable version with the one before it, which is started if it must be."""
        state = self._state
        before, started = state.retired, False
        changes: dict[str, Any] = {"candidate": state.stable, "retired": None, "weight": 0}
        if before and not process.is_alive(before.process):
            before, started = self._keeper.bring_back(before), True
        elif before is None and state.previous:
            before, started = self._keeper.bring_up(state.previous), True
            changes["previous"] = None
        if before and started:
            self._keeper.adopt(before.process, stable=before, **changes)
        else:
            self._keeper.go_back(stable=before, **changes)

    def _remove_candidate(self) -> None:
        if self._state.candidate:
            self._keeper.save(weight=0, assignment=self._keeper.unmirrored())
            self._keeper.remove(self._state.candidate, candidate=None)

    def _remove_retired(self) -> None:
        retired = self._state.retired
        if retired:
            self._keeper.remove(retired, retired=None, previous=retired.origin)

    def _require_candidate(self, version: int) -> ServerArm:
        candidate, lost = self._state.candidate, self._state.lost
        where = f"service {self._state.service}"
        if candidate is None or candidate.version != version:
            if lost and lost.version == version:
                raise ServiceError(
                    f"version {version} died and does not start again: {lost.reason}",
                    where=where,
                    remedy="Roll it back.",
                )
            raise InputError(
                f"version {version} is not the candidate", where=where, remedy="Deploy it first."
            )
        if not process.is_alive(candidate.process):
            raise ServiceError(f"the server of version {version} has died", where=where)
        return candidate


if TYPE_CHECKING:
    from penstock.rollout.router import Router

    def _is_a_router(router: LocalRouter) -> Router:
        return router
