"""What a service on a cluster consists of, kept in the annotation of one object.

Where that is the HTTPRoute, state and traffic are one: a write changes both or neither, and a write
on a version of it that somebody else has changed is refused by the API server.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value
from penstock.rollout.router import Release
from penstock.serving.marks import digest_of, key_of

Role = Literal["stable", "candidate", "retired"]


class Arm(Value):
    """One version, and the InferenceService that serves it."""

    version: int
    name: str = Field(description="Of the InferenceService")
    backend: str = Field(
        description="Of the Service that KServe makes for it; empty: for none alone"
    )
    uri: str = Field(description="`models:/name/version`")
    model: str = Field(description="Digest that its folder must have")
    export: str = Field(default="", description="Digest of its ONNX form; empty: it has none")
    drill: str = Field(default="", description="The fault put in on purpose; empty: none")
    storage: str = Field(description="Where KServe reads the folder from")
    own_traffic: str = Field(
        default="", description="Digest of what marks the rollout's own requests; empty: none is"
    )

    @classmethod
    def of(cls, release: Release, *, name: str, backend: str, storage: str, token: str = "") -> Arm:
        """Return a release as it is served."""
        return cls(
            version=release.version,
            name=name,
            backend=backend,
            uri=release.uri,
            model=release.model,
            export=release.export,
            drill=release.drill,
            storage=storage,
            own_traffic=digest_of(key_of(token)) if token else "",
        )

    def same(self, other: Arm) -> bool:
        """Return whether both are one version served one way, whatever marks our requests."""
        return self.model_copy(update={"own_traffic": other.own_traffic}) == other


class ClusterState(Record):
    """One service. `weight` is the candidate's share of requests, in percent."""

    KIND: ClassVar[str] = "cluster-service"

    service: str
    term: int = Field(default=0, description="Of the lease of whoever wrote it last")
    token: str = Field(description="What the rollout's own requests name an arm with")
    stable: Arm | None = None
    candidate: Arm | None = None
    retired: Arm | None = Field(
        default=None, description="Stable before the last promotion, until it is cleaned up"
    )
    previous: Arm | None = Field(default=None, description="Stable before the one that is")
    passing: tuple[Arm, ...] = Field(
        default=(),
        description="Versions that nothing leads to, which are being brought up or taken away: "
        "written before the first and after the last of their servers",
    )
    baseline: dict[str, int] = Field(
        default={},
        description="By the uid of each of the candidate's pods: restarts of its server when it "
        "was ready for the first time",
    )
    weight: int = 0
    mirror: float = 0.0
    choice_header: str = ""

    def roles(self) -> dict[Role, Arm]:
        """Return the versions that are up by what they are for, the stable one first."""
        every: dict[Role, Arm | None] = {
            "stable": self.stable,
            "candidate": self.candidate,
            "retired": self.retired,
        }
        return {role: arm for role, arm in every.items() if arm}

    def weight_of(self, role: Role) -> int:
        """Return a role's share of new requests, in percent."""
        if role == "retired":
            return 0
        if role == "candidate":
            return self.weight
        return 100 - (self.weight if self.candidate else 0)

    def arm(self, version: int) -> Arm | None:
        """Return the version if it is up."""
        return next((arm for arm in self.roles().values() if arm.version == version), None)
