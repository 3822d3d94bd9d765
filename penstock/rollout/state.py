"""What one service consists of: one record, whatever carries it, and what keeps it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from penstock.errors import InputError, ServiceError
from penstock.records.base import Record, Value, renamed
from penstock.records.rollout import HistogramBuckets
from penstock.rollout.lease import Lease
from penstock.rollout.router import Routing

Role = Literal["stable", "candidate", "retired"]


class Arm(Value):
    """One version as it is served; each backend adds what serves it."""

    version: int
    uri: str = Field(description="`models:/name/version`")
    model: str = Field(description="Digest that its folder must have")
    export: str = Field(default="", description="Digest of its ONNX form; empty: it has none")
    fault: str = Field(default="", description="The fault that is injected; empty: none")

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_releases(cls, given: Any) -> Any:
        return renamed(given, fault="drill")

    def same(self, other: Arm) -> bool:
        """Return whether both are one version served one way, wherever its files lie."""
        return _identity(self) == _identity(other)

    def at_rest(self) -> Self:
        """Return it as it is kept when nothing serves it any more."""
        return self


def version_of(arm: Arm | None) -> int | None:
    """Return the number of a version, None if there is none."""
    return arm.version if arm else None


def _identity(arm: Arm) -> tuple[object, ...]:
    return arm.version, arm.uri, arm.model, arm.export, arm.fault


class Lost(Value):
    """A candidate that was given up because its server did not start again."""

    version: int
    restarts: int
    reason: str


class AssignedUsers(Value):
    """How an experiment assigns users; the fields are `router.ExperimentRouting`'s."""

    identity: str
    salt: str
    header: str
    labels: bool = False


class Assignment(Value):
    """How requests find their version besides the weight; the fields are `router.Routing`'s."""

    mirror: float = 0.0
    sticky_header: str = ""
    choice_header: str = ""
    grids: HistogramBuckets | None = Field(default=None, description="None: the default ones")
    experiment: AssignedUsers | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A service without an experiment has the record that earlier releases read.
        fields: dict[str, Any] = write(self)
        return {key: fields[key] for key in fields if key != "experiment" or fields[key]}

    @classmethod
    def of(cls, routing: Routing) -> Assignment:
        """Return a routing as it is written down."""
        return cls(
            mirror=routing.mirror,
            sticky_header=routing.sticky_header,
            choice_header=routing.choice_header,
            grids=routing.grids if routing.grids != HistogramBuckets() else None,
            experiment=AssignedUsers(**asdict(routing.experiment)) if routing.experiment else None,
        )


A = TypeVar("A", bound=Arm)


class ServiceState(Record, Generic[A]):
    """One service. `weight` is the candidate's share of requests, in percent."""

    KIND: ClassVar[str] = "service"

    service: str
    term: int = Field(default=0, description="Of the lease of whoever wrote it last")
    stable: A | None = None
    candidate: A | None = None
    retired: A | None = Field(
        default=None, description="Stable before the last promotion, until it is cleaned up"
    )
    previous: A | None = Field(
        default=None, description="Stable before the one that is; one command brings it back"
    )
    passing: tuple[A, ...] = Field(
        default=(),
        description="Versions that nothing leads to, which are being brought up or taken away: "
        "written before the first and after the last of their servers",
    )
    weight: int = 0
    assignment: Assignment = Assignment()
    lost: Lost | None = Field(default=None, description="The candidate that was given up last")

    def roles(self) -> dict[Role, A]:
        """Return the versions that are up by what they are for, the stable one first."""
        every: dict[Role, A | None] = {
            "stable": self.stable,
            "candidate": self.candidate,
            "retired": self.retired,
        }
        return {role: arm for role, arm in every.items() if arm}

    def arms(self) -> tuple[A, ...]:
        """Return the versions that are up, the stable one first."""
        return tuple(self.roles().values())

    def arm(self, version: int) -> A | None:
        """Return the version if it is up."""
        return next((arm for arm in self.arms() if arm.version == version), None)

    def require_candidate(self, version: int, *, where: str) -> A:
        """Return the candidate, which must be of this version.

        Raises:
            ServiceError: If it was, and was given up.
            InputError: If it is not.
        """
        if self.candidate is not None and self.candidate.version == version:
            return self.candidate
        if self.lost and self.lost.version == version:
            raise ServiceError(
                f"version {version} died and does not start again: {self.lost.reason}",
                where=where,
                remedy="Roll it back.",
            )
        raise InputError(
            f"version {version} is not the candidate", where=where, remedy="Deploy it first."
        )

    def weight_of(self, role: Role) -> int:
        """Return a role's share of new requests, in percent."""
        if role == "retired":
            return 0
        if role == "candidate":
            return self.weight
        return 100 - (self.weight if self.candidate else 0)

    def unmirrored(self) -> Assignment:
        """Return the assignment without mirroring, and without an experiment."""
        return self.assignment.model_copy(update={"mirror": 0.0, "experiment": None})


S = TypeVar("S", bound=ServiceState[Any])


class StateStore(ABC, Generic[S]):
    """Keeps a service's state; written only by whoever holds the lease.

    Args:
        lease: The right to write it.
        fresh: The state of a service that is not there yet.

    Attributes:
        state: As it was read or written last.
    """

    def __init__(self, lease: Lease, *, fresh: S) -> None:
        self._lease = lease
        self._fresh = fresh
        self.state = fresh

    def load(self) -> bool:
        """Read the state; return whether there is one.

        Raises:
            PenstockError: If it is there and cannot be read.
        """
        found = self._read()
        self.state = found or self._fresh
        return found is not None

    def save(self, **changes: Any) -> None:
        """Write a change of the state down, with the term of the lease.

        Raises:
            LeaseLostError: If the lease is lost; nothing is written.
            ServiceError: If it cannot be written; the state is as it was.
        """
        self._lease.check()
        state = self.state.model_copy(update={**changes, "term": self._lease.term})
        self._write(state)
        self.state = state

    def forget(self) -> None:
        """Delete the state.

        Raises:
            LeaseLostError: If the lease is lost; it is left as it is.
        """
        self._lease.check()
        self._delete()
        self.state = self._fresh

    @abstractmethod
    def _read(self) -> S | None:
        """Return the state that is kept, or None."""

    @abstractmethod
    def _write(self, state: S) -> None:
        """Write it, whole or not at all."""

    @abstractmethod
    def _delete(self) -> None:
        """Delete it."""
