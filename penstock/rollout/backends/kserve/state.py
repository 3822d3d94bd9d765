"""What a service on a cluster consists of, kept in the annotation of one object.

Where that is the HTTPRoute, state and traffic are one: a write changes both or neither, and a write
on a version of it that somebody else has changed is refused by the API server.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from penstock.rollout.autoscaling_spec import AutoscalingSpec
from penstock.rollout.router import Release
from penstock.rollout.state import Arm, ServiceState
from penstock.serving.request_headers import digest_of, key_of

_BEFORE = "cluster-service"


class ClusterArm(Arm):
    """One version, and the InferenceService that serves it."""

    name: str = Field(description="Of the InferenceService")
    backend: str = Field(
        description="Of the Service that KServe makes for it; empty: for none alone"
    )
    storage: str = Field(description="Where KServe reads the folder from")
    own_traffic: str = Field(
        default="", description="Digest of what marks the rollout's own requests; empty: none is"
    )
    baseline: dict[str, int] = Field(
        default={},
        description="By the uid of each of its pods: restarts of its server when it was ready for "
        "the first time",
    )
    autoscaling: AutoscalingSpec | None = Field(
        default=None, description="As it was brought up with; None: nothing scales its servers"
    )
    floor: int = Field(
        default=0, description="Servers that it must not fall below while a rollout is under way"
    )
    had: int = Field(default=0, description="Its floor when it was promoted over last")

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A version that nothing scales has the record that earlier releases read.
        fields: dict[str, Any] = write(self)
        added = ("autoscaling", "floor", "had")
        return {key: fields[key] for key in fields if key not in added or fields[key]}

    @property
    def scales(self) -> bool:
        """Whether KServe makes an autoscaler for it, which keeps to `least`."""
        return self.autoscaling is not None and self.autoscaling.scales

    @property
    def least(self) -> int:
        """How few servers its autoscaler may leave it; 0: it has none."""
        return max(self.autoscaling.min_replicas, self.floor) if self.autoscaling else 0

    @classmethod
    def of(
        cls,
        release: Release,
        *,
        name: str,
        backend: str,
        storage: str,
        token: str = "",
        autoscaling: AutoscalingSpec | None = None,
    ) -> ClusterArm:
        """Return a release as it is served."""
        return cls(
            version=release.version,
            name=name,
            backend=backend,
            uri=release.uri,
            model=release.model,
            export=release.export,
            fault=release.fault,
            storage=storage,
            own_traffic=digest_of(key_of(token)) if token else "",
            autoscaling=autoscaling,
        )

    def at_rest(self) -> Self:
        """Return it without its pods, as it is kept for a way back."""
        return self.model_copy(update={"baseline": {}, "floor": 0, "had": self.floor})


class ClusterState(ServiceState[ClusterArm]):
    """One service of a cluster."""

    token: str = Field(description="What the rollout's own requests name an arm with")
    proxy: Literal["", "begun", "leads"] = Field(
        default="",
        description="The proxy of an experiment. Empty: there is none; begun: parts of it may be "
        "there; leads: users' requests are led to it, for as long as the experiment goes on",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A service without an experiment has the record that earlier releases read.
        fields: dict[str, Any] = write(self)
        return {key: fields[key] for key in fields if key != "proxy" or fields[key]}

    @classmethod
    def parse(cls, raw: object, *, where: str) -> Self:
        """Build a state, also from what the release before wrote."""
        if isinstance(raw, dict) and raw.get("record") == f"penstock/{_BEFORE}":
            raw = _of_before(raw)
        return super().parse(raw, where=where)


def _of_before(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a state of version 1 of the record before as this release has it."""
    if raw.get("schema_version") != 1:
        return raw
    changed = {**raw, "record": f"penstock/{ClusterState.KIND}"}
    changed["schema_version"] = ClusterState.VERSION
    changed["assignment"] = {
        "mirror": changed.pop("mirror", 0.0),
        "choice_header": changed.pop("choice_header", ""),
    }
    baseline = changed.pop("baseline", {})
    for role in ("stable", "candidate"):
        if isinstance(raw.get(role), dict):
            changed[role] = {**raw[role], "baseline": baseline}
    return changed
