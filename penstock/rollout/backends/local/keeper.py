"""A service while a controller holds it: its state, and the processes that follow it."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from penstock.errors import LeaseLostError, PenstockError, ServiceError
from penstock.processes import supervisor as process
from penstock.processes.identity import ProcessRef
from penstock.rollout.backends.local import servers, strays
from penstock.rollout.backends.local.lease import Lease
from penstock.rollout.backends.local.state import (
    Assignment,
    LocalState,
    Lost,
    Origin,
    Role,
    ServerArm,
    ServiceFolder,
)
from penstock.rollout.routers import front

_log = logging.getLogger(__name__)

_REMOVED = ".removed"


class Keeper:
    """Writes down what should be, and then makes it so.

    Every write is refused once the lease is lost. So whoever takes over finds what should be.

    Args:
        folder: The service's folder.
        lease: The lease on it.
        port: Public port, until the state names one.
        drain: Seconds that a process may take to answer what it accepted.
        ready_timeout: Seconds that a server which is started again may take to become ready.
    """

    def __init__(
        self,
        folder: ServiceFolder,
        lease: Lease,
        *,
        port: int,
        drain: float,
        ready_timeout: float,
    ) -> None:
        self._folder = folder
        self._lease = lease
        self._port = port
        self._drain = drain
        self._ready_timeout = ready_timeout
        self.state = LocalState(service=folder.service, port=port)

    def take_over(self) -> LocalState | None:
        """Make what was left the state, with this lease's term; return it, None if there is none.

        From here on an earlier controller writes nothing any more, and all that the front is told
        is of a term that the state has.
        """
        found = self._folder.read()
        if found is None:
            self.state = LocalState(service=self._folder.service, port=self._port)
        else:
            self.state = found
            self.save()
        return found

    def save(self, **changes: Any) -> None:
        """Write a change of the state down.

        Raises:
            LeaseLostError: If the lease is lost; nothing is written.
            ServiceError: If it cannot be written; the state is as it was.
        """
        state = self.state.model_copy(update=changes)
        self.state = self._folder.write(state, lease=self._lease) or state

    def go_back(self, **changes: Any) -> None:
        """Give the traffic back to what served before; a full disk does not keep users from it.

        Raises:
            LeaseLostError: If the lease is lost; nothing has changed.
            ServiceError: If it cannot be written down. The traffic is back, and stays so until
                another controller takes over, which finds what was written last.
        """
        try:
            self.save(**changes)
        except LeaseLostError:
            raise
        except ServiceError:
            self.state = self.state.model_copy(update=changes)
            self.apply()
            raise
        self.apply()

    def adopt(self, started: ProcessRef, **changes: Any) -> None:
        """Write down a process that was started; end it if that cannot be done."""
        try:
            self.save(**changes)
        except BaseException:
            process.stop(started, grace=5)
            raise

    def bring_back(self, arm: ServerArm) -> ServerArm:
        """Start the server of a version that died; it is not written down yet.

        Raises:
            ServiceError: If it does not become ready.
        """
        return servers.bring_back(self._folder, arm, timeout=self._ready_timeout)

    def bring_up(self, origin: Origin) -> ServerArm:
        """Start the server of a version that was removed; it is not written down yet.

        Raises:
            ServiceError: If it does not become ready.
        """
        return servers.bring_up(self._folder, origin, timeout=self._ready_timeout)

    def apply(self) -> None:
        """Make the front's table what the state says; start the front if it does not run."""
        running = self.state.front
        if running is None or not process.is_alive(running.process):
            running = front.start(self._folder, port=self.state.port)
            self.adopt(running.process, port=running.port, front=running)
        front.apply(self._folder, running, self.state, term=self._lease.term)

    def revive(self, role: Role) -> bool:
        """Start a role's server again if it died; return whether anything changed."""
        arm: ServerArm | None = getattr(self.state, role)
        if arm is None or process.is_alive(arm.process):
            return False
        # A controller that was killed as it started it again has counted this death.
        arm = arm.model_copy(update={"restarts": arm.deaths, "death_counted": True})
        self.save(**{role: arm})
        _log.warning("version %s, the %s one, had died: starting it again", arm.version, role)
        try:
            revived = self.bring_back(arm)
        except LeaseLostError:
            raise
        except PenstockError as error:
            _log.warning("version %s does not start again: %s", arm.version, error)
            self._give_up(role, arm, reason=str(error))
        else:
            self.adopt(revived.process, **{role: revived})
        return True

    def _give_up(self, role: Role, arm: ServerArm, *, reason: str) -> None:
        if role == "candidate":
            lost = Lost(version=arm.version, restarts=arm.restarts, reason=reason)
            self.save(candidate=None, weight=0, assignment=self.unmirrored(), lost=lost)
        elif role == "retired":
            self.save(retired=None, previous=arm.origin)
        elif len(self.state.arms()) == 1:
            # It serves nobody as it is; a new version must not be kept out by that.
            self.save(stable=None, previous=arm.origin)

    def remove(self, arm: ServerArm, **changes: Any) -> None:
        """Stop one server: no new requests, drained, out of the table, ended; in this order."""
        self.apply()
        deadline = time.monotonic() + self._drain
        while self._in_flight(arm) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.save(**changes)
        self.apply()
        process.stop(arm.process, grace=self._drain)

    def end_strays(self) -> None:
        """End the processes that the state does not name: a start that was cut short left them."""
        named = [part.process for part in (self.state.front, *self.state.arms()) if part]
        for stray in strays.strays(self._folder.path, known=named):
            self._lease.check()
            process.stop(stray, grace=self._drain)

    def remove_unused_models(self) -> None:
        """Remove the folders of models that nothing serves and nobody goes back to.

        Each is renamed first, so that what is half removed is never taken for a model. One that
        cannot be removed is left for the next time.
        """
        origins = [arm.origin for arm in self.state.arms()]
        if self.state.previous:
            # It has no server any more, but one command brings it back.
            origins.append(self.state.previous)
        for folder in self._folder.unused_models({origin.folder for origin in origins}):
            try:
                shutil.rmtree(self._put_aside(folder))
            except OSError as error:
                _log.warning("%s was not removed: %s", folder, error)

    def _put_aside(self, folder: Path) -> Path:
        with self._lease.guarded():
            if folder.name.endswith(_REMOVED):
                return folder
            return folder.replace(folder.with_name(f".{folder.name}{_REMOVED}"))

    def _in_flight(self, arm: ServerArm) -> int:
        if self.state.front is None:
            return 0
        arms = front.read(self._folder, self.state.front)["arms"]
        return sum(int(found["in_flight"]) for found in arms if found["identity"] == arm.identity)

    def unmirrored(self) -> Assignment:
        """Return the assignment without mirroring."""
        return self.state.assignment.model_copy(update={"mirror": 0.0})

    def close(self) -> None:
        """Forget the state and stop the front: nothing is served any more."""
        running = self.state.front
        self._folder.write(None, lease=self._lease)
        self.state = LocalState(service=self._folder.service, port=self._port)
        if running:
            process.stop(running.process, grace=self._drain)
