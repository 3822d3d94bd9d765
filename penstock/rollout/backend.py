"""The interface between a service's state machine and what carries the service."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from penstock.rollout.router import Address, Health, Meanwhile, Observation, Release
from penstock.rollout.state import Arm, Role

B = TypeVar("B", bound=Arm)


class Backend(ABC, Generic[B]):
    """What carries a service: it makes true what its state store says, and looks.

    Each action is repeated by whoever comes after a controller that was killed in it. What is not
    abstract is not needed by every backend, and does nothing.

    Attributes:
        owns_unnamed: Whether what serves for a service without a state is a leftover too.
        applies_unwritten: Whether traffic can be given back though that could not be written down.
        keeps_beside: Whether a version that is gone back from stays up as the candidate.
    """

    owns_unnamed: bool
    applies_unwritten: bool
    keeps_beside: bool

    @property
    @abstractmethod
    def url(self) -> str:
        """Where users reach the service."""

    def prepare(self) -> None:
        """Make what the lease needs. The lease is not held yet."""

    @abstractmethod
    def connect(self) -> None:
        """See that what a release needs is there. The lease is held, the state not read yet."""

    def recover(self) -> None:
        """Check that the state that was found fits this backend's settings."""

    def disconnect(self) -> None:
        """Give back what `connect` opened."""

    def require_address(self) -> None:
        """Return if a service without a state may take its address.

        Raises:
            ServiceError: If somebody else has it.
        """

    def require_weight(self, percent: int) -> None:
        """Return if the candidate may be given that share.

        Raises:
            InputError: If this backend cannot do so.
        """

    @abstractmethod
    def arm_of(self, release: Release) -> B:
        """Return a release as it would be served here; nothing is started."""

    @abstractmethod
    def start(self, arm: B, *, timeout: float) -> B:
        """Bring a version up without traffic, unless it is up; return it once it is ready.

        Raises:
            ServiceError: If it does not become ready; what is left of it `sweep` removes.
        """

    def abandon(self, arm: B) -> None:
        """End what was started and could not be written down, as far as `sweep` would not."""

    def require_alive(self, arm: B) -> None:
        """Return unless a candidate is known to be dead.

        Raises:
            ServiceError: If it is.
        """

    def floors(
        self,
        *,
        percent: int,  # noqa: ARG002
        mirror: float,  # noqa: ARG002
        returns: bool,  # noqa: ARG002
    ) -> Mapping[str, B]:
        """Return the versions, by role, whose least number of servers must rise for a share.

        Args:
            percent: Of users' requests, for the candidate.
            mirror: Share of the stable version's requests that it gets copies of.
            returns: Whether the candidate is gone back to.
        """
        return {}

    def larger_stable(self) -> Mapping[str, B]:
        """Return the stable version by its role, if a rollback would leave it too few servers."""
        return {}

    def brought_back(self, arm: B) -> B:
        """Return a version that is gone back to with the servers that it needs from the start."""
        return arm

    def settle(self) -> None:
        """Wait until the autoscalers have seen what load each version has now."""

    def without_floors(self) -> Mapping[str, B]:
        """Return the versions, by role, that may be left to their autoscaler again."""
        return {}

    def wait_for_servers(self, *, timeout: float, insist: bool, meanwhile: Meanwhile) -> None:
        """Return once the candidate has as many servers as the state says.

        Args:
            timeout: Seconds for which they are waited for.
            insist: Whether fewer are too few.
            meanwhile: Called between two looks; what it raises ends the wait.

        Raises:
            CapacityError: If it does not get them in time, and they are insisted on.
        """

    @abstractmethod
    def apply(self) -> None:
        """Make traffic follow the state; return when it is in effect."""

    def prove(self) -> None:
        """Return once the candidate is reached, and weights between it and the stable one work.

        Raises:
            ServiceError: If that does not come about.
        """

    def wait_for_weight(self, version: int, *, percent: int) -> None:
        """Return once users' requests are shared so."""

    def drain(self, arm: B) -> None:
        """Wait until a version without traffic has answered what it accepted."""

    @abstractmethod
    def sweep(self) -> None:
        """End everything that serves for this service and has no role in its state."""

    def tidy(self) -> None:
        """Remove files that nothing serves from and nobody goes back to."""

    def withdraw(self, state: Any) -> None:
        """Take the address away; the state, as it was, is forgotten already."""

    @abstractmethod
    def mend(self) -> None:
        """Bring back what has died or was altered from outside."""

    @abstractmethod
    def address(self, role: Role) -> Address:
        """Return where a role's version alone answers."""

    @abstractmethod
    def observe(self) -> Observation:
        """Return what each version that is up has done so far."""

    @abstractmethod
    def health(self, arm: B) -> Health:
        """Return how a version's server is."""

    @abstractmethod
    def log(self, version: int) -> str:
        """Return the end of the log of a version's server."""

    @abstractmethod
    def replay(self, bodies: Sequence[bytes], *, rate: float) -> AbstractContextManager[None]:
        """Send requests at a steady rate until the block ends."""
