"""One service's versions, from deployed to removed: the state machine that every backend is under.

What should be is written down first and done then, so whoever comes after a controller that was
killed finds in the state what may have been begun, and does it once more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic

from penstock.errors import InputError, LeaseLostError, PenstockError, ServiceError
from penstock.rollout.backend import Backend
from penstock.rollout.lease import Lease
from penstock.rollout.router import (
    Address,
    Health,
    Meanwhile,
    Observation,
    Release,
    Routing,
    nothing,
)
from penstock.rollout.state import A, Assignment, Role, S, StateStore, version_of


class Service(Generic[A, S]):
    """One service; see `penstock.rollout.router.Router` for the actions.

    Args:
        name: Its name.
        store: Keeps its state.
        lease: The right to drive it.
        backend: What carries it; it reads the state in `store`.
        ready_timeout: Seconds that a version which served before may take to come up again.
    """

    def __init__(
        self,
        name: str,
        *,
        store: StateStore[S],
        lease: Lease,
        backend: Backend[A],
        ready_timeout: float,
    ) -> None:
        self._where = f"service {name}"
        self._store = store
        self._lease = lease
        self._backend = backend
        self._ready_timeout = ready_timeout

    @property
    def url(self) -> str:
        """Where users reach the service."""
        return self._backend.url

    @property
    def lease(self) -> Lease:
        """The right to drive it."""
        return self._lease

    @property
    def backend(self) -> Backend[A]:
        """What carries it."""
        return self._backend

    @property
    def state(self) -> S:
        """What it consists of, as it was read or written last."""
        return self._store.state

    @property
    def stable(self) -> int | None:
        """The version that the service falls back to."""
        return version_of(self.state.stable)

    @property
    def stable_model(self) -> str:
        """The digest of its files."""
        return self.state.stable.model if self.state.stable else ""

    @property
    def candidate(self) -> int | None:
        """The version that is brought up beside it."""
        return version_of(self.state.candidate)

    @property
    def weight(self) -> int:
        """The candidate's share of new requests, in percent."""
        return self.state.weight

    @property
    def previous(self) -> int | None:
        """The version that the stable one took over from, which can be gone back to."""
        return version_of(self.state.retired or self.state.previous)

    def refresh(self) -> bool:
        """Read the state, for a look without the lease; return whether there is a service."""
        return self._store.load()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the service's lease, and first mend it and end what nobody has finished."""
        self._backend.prepare()
        with self._lease.held():
            try:
                self._take_over()
                try:
                    yield
                except BaseException:
                    self._forget_unused()
                    raise
                if not self.state.roles():
                    self._forget_unused()
            finally:
                self._backend.disconnect()

    def open(self) -> None:
        """Make sure that the service's address is its own and answers."""
        self._lease.check()
        self._backend.require_address()
        self._save()

    def deploy(self, release: Release, *, timeout: float) -> Address:
        """Bring `release` up as the candidate, without traffic; return where it alone answers."""
        self.mend()
        arm = self._backend.arm_of(release)
        role = self._role_of(arm)
        if role is None:
            if self.stable == release.version:
                raise InputError(
                    f"version {release.version} is the stable one, from other files or with "
                    "fault injection",
                    where=self._where,
                    remedy="Register the model as a version of its own.",
                )
            self._bring_up(arm, timeout=timeout)
            return self._backend.address("candidate")
        self._backend.apply()
        if role == "candidate":
            # Whoever brought it up may have been killed before it was proved.
            self._backend.prove()
        return self._backend.address(role)

    def route(self, routing: Routing, *, meanwhile: Meanwhile = nothing) -> None:
        """Set mirroring and assignment."""
        if not 0 <= routing.mirror <= 1:
            raise InputError(f"a share of {routing.mirror} to mirror", remedy="Give 0 to 1.")
        if routing.mirror:
            self._make_room(self.state.weight, mirror=routing.mirror, meanwhile=meanwhile)
        self._save(assignment=Assignment.of(routing))

    def set_weight(self, version: int, percent: int, *, meanwhile: Meanwhile = nothing) -> None:
        """Give the candidate `percent` of new requests."""
        if not 0 <= percent <= 100:
            raise InputError(f"a weight of {percent} %", remedy="Give 0 to 100.")
        self._backend.require_weight(percent)
        self._lease.check()
        self._require_candidate(version)
        self._make_room(percent, mirror=self.state.assignment.mirror, meanwhile=meanwhile)
        self._save(weight=percent)
        self._backend.wait_for_weight(version, percent=percent)

    def observe(self) -> Observation:
        """Return what each version that is up has done since it was brought up."""
        self._lease.check()
        return self._backend.observe()

    def health(self, version: int) -> Health:
        """Return how one version's server is."""
        self._lease.check()
        arm, lost = self.state.arm(version), self.state.lost
        if arm is not None:
            return self._backend.health(arm)
        if lost and lost.version == version:
            return Health(ready=False, restarts=lost.restarts, memory=None, reason=lost.reason)
        return Health(ready=False, restarts=0, memory=None, reason="It is not up.")

    def log(self, version: int) -> str:
        """Return the end of the log of one version's server."""
        return self._backend.log(version)

    def replay(self, bodies: Sequence[bytes], *, rate: float) -> AbstractContextManager[None]:
        """Send prediction requests at a steady rate until the block ends."""
        return self._backend.replay(bodies, rate=rate)

    def mend(self) -> None:
        """Bring back what has died, or what somebody else has deleted or altered."""
        self._lease.check()
        self._backend.mend()

    def promote(self, version: int, *, insist: bool = True, meanwhile: Meanwhile = nothing) -> None:
        """Make the candidate the stable version, with all traffic."""
        self._lease.check()
        if self.candidate is None and self.stable == version:
            self._backend.apply()
        else:
            self._require_candidate(version)
            self._make_room(100, mirror=0, insist=insist, meanwhile=meanwhile)
            candidate, state = self._require_candidate(version), self.state
            self._save(
                stable=candidate,
                candidate=None,
                retired=state.stable,
                weight=0,
                assignment=state.unmirrored(),
            )
        self._backend.wait_for_weight(version, percent=100)

    def rollback(self, version: int) -> None:
        """Take all traffic from `version` and give it back to the one before.

        A version that was promoted and cleaned up is rolled back too, where the one before is
        known and comes up again; that takes as long as its start.

        Raises:
            ServiceError: If the one before does not come up: the traffic stays where it is; or if
                the state cannot be written: see `_go_back`.
        """
        self._lease.check()
        if self.candidate is None and self.stable == version:
            self._step_back()
        larger = self._backend.larger_stable()
        self._go_back(weight=0, assignment=self.state.unmirrored(), **larger)
        if self.stable not in (None, version):
            self._backend.wait_for_weight(version, percent=0)

    def clean_up(self) -> None:
        """Remove every version without traffic, and the address where nothing is left."""
        self._lease.check()
        if self.state.weight == 0:
            self._remove("candidate")
        self._remove("retired")
        self._sweep()
        if alone := self._backend.without_floors():
            self._backend.settle()
            self._save(**alone)
        if not self.state.roles():
            self._forget()
        self._backend.tidy()

    def _take_over(self) -> None:
        self._backend.connect()
        found = self._store.load()
        if found:
            # From here on an earlier controller writes nothing any more.
            self._lease.outdo(self.state.term)
            self._store.save()
        if found or self._backend.owns_unnamed:
            self._sweep()
        self._backend.recover()
        if self.state.roles():
            self.mend()
        if found and not self.state.roles():
            # Opened for a version that then did not come, or that does not start again.
            self._forget()

    def _bring_up(self, arm: A, *, timeout: float) -> None:
        self._remove("candidate")
        self._remove("retired")
        self._sweep()
        self._store.save(passing=(arm,))
        try:
            started = self._backend.start(arm, timeout=timeout)
            with self._adopting(started):
                self._store.save(
                    candidate=started,
                    passing=(),
                    weight=0,
                    assignment=self.state.unmirrored(),
                    lost=None,
                )
            self._backend.apply()
            self._backend.prove()
        except BaseException:
            with contextlib.suppress(PenstockError):
                self.clean_up()
            raise

    def _make_room(
        self, percent: int, *, mirror: float, insist: bool = True, meanwhile: Meanwhile = nothing
    ) -> None:
        """Return once the candidate has the servers that a share takes, which is not its yet."""
        if raised := self._backend.floors(percent=percent, mirror=mirror, returns=not insist):
            self._save(**raised)
        self._backend.wait_for_servers(
            timeout=self._ready_timeout, insist=insist, meanwhile=meanwhile
        )

    def _save(self, **changes: Any) -> None:
        """Write down what should be, and make it so."""
        self._store.save(**changes)
        self._backend.apply()

    def _go_back(self, **changes: Any) -> None:
        """Give the traffic back to what served before.

        Raises:
            LeaseLostError: If the lease is lost; nothing has changed.
            ServiceError: If it cannot be written down. Where the backend applies it all the same,
                the traffic is back, and stays so until another controller takes over, which finds
                what was written last: a full disk does not keep users from it.
        """
        try:
            self._store.save(**changes)
        except LeaseLostError:
            raise
        except ServiceError:
            if self._backend.applies_unwritten:
                self._store.state = self.state.model_copy(update=changes)
                self._backend.apply()
            raise
        self._backend.apply()

    def _step_back(self) -> None:
        """Swap the stable version with the one before it, which is brought up if it must be."""
        state = self.state
        before: A | None = state.retired or state.previous
        changes: dict[str, Any] = {"retired": None, "passing": (), "weight": 0}
        changes["assignment"] = state.unmirrored()
        if before is None:
            self._go_back(stable=None, candidate=state.stable, **changes)
            return
        changes["candidate"] = state.stable if self._backend.keeps_beside else None
        if state.retired is None:
            changes["previous"] = None
            before = self._backend.brought_back(before)
            self._store.save(passing=(before,))
        started = self._backend.start(before, timeout=self._ready_timeout)
        if started is before:
            self._go_back(stable=before, **changes)
            return
        with self._adopting(started):
            self._store.save(stable=started, **changes)
        self._backend.apply()

    @contextlib.contextmanager
    def _adopting(self, started: A) -> Iterator[None]:
        """End what was started where the block cannot write it down."""
        try:
            yield
        except BaseException:
            self._backend.abandon(started)
            raise

    def _remove(self, role: Role) -> None:
        """Take a version out of its role once it has answered everything; `sweep` ends it."""
        state = self.state
        arm: A | None = state.roles().get(role)
        if arm is None:
            return
        changes: dict[str, Any] = {role: None}
        if role == "candidate":
            quiet: dict[str, Any] = {"weight": 0, "assignment": state.unmirrored()}
            if state.weight or state.assignment.mirror:
                self._save(**quiet)
            changes |= quiet
        else:
            changes["previous"] = arm.at_rest()
        self._backend.drain(arm)
        self._save(passing=(*self.state.passing, arm), **changes)

    def _sweep(self) -> None:
        self._backend.sweep()
        if self.state.passing:
            self._store.save(passing=())

    def _forget(self) -> None:
        state = self.state
        self._store.forget()
        self._backend.withdraw(state)

    def _forget_unused(self) -> None:
        """Forget a state that was opened for what then did not come."""
        # What ended the command is reported; the next one forgets what could not be forgotten.
        with contextlib.suppress(PenstockError):
            # As it is kept: a write may have come through although its answer was lost.
            if self._store.load() and not self.state.roles():
                self._sweep()
                self._forget()

    def _role_of(self, arm: A) -> Role | None:
        """Return the role in which a version serves already, or is brought up."""
        roles: Mapping[Role, A] = self.state.roles()
        return next((one for one in roles if one != "retired" and roles[one].same(arm)), None)

    def _require_candidate(self, version: int) -> A:
        candidate: A = self.state.require_candidate(version, where=self._where)
        self._backend.require_alive(candidate)
        return candidate


if TYPE_CHECKING:
    from penstock.rollout.router import Router

    def _is_a_router(service: Service[Any, Any]) -> Router:
        return service
