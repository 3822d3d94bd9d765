"""The project file's settings for servers that load scales."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from penstock.records.spec import Spec

_ALONE = {
    "external": "whoever scales them decides how many there are",
    "none": "nothing scales them",
}
"""Why an autoscaler has no use for what is set of the other two."""


class StabilizationSpec(Spec):
    """How long a changed load must last before KEDA follows it."""

    scale_up_seconds: int | None = Field(
        default=None, ge=0, le=3600, description="Before servers are added; empty: KServe's default"
    )
    scale_down_seconds: int | None = Field(
        default=None, ge=0, le=3600, description="Before some are ended; empty: KServe's default"
    )


class AutoscalingSpec(Spec):
    """How load scales the model servers of each version."""

    autoscaler: Literal["hpa", "keda", "external", "none"] = Field(
        default="hpa",
        description="KServe's autoscalerClass. hpa: a HorizontalPodAutoscaler; keda: KEDA; "
        "external: an autoscaler of yours; none: `min_replicas` servers run",
    )
    min_replicas: int = Field(
        default=1, ge=1, description="Fewest servers of a version; more of a rollout's versions"
    )
    max_replicas: int | None = Field(
        default=None, ge=1, description="Most servers of a version; needed by hpa and keda"
    )
    metric: Literal["cpu", "memory"] = Field(
        default="cpu", description="What is measured of the servers"
    )
    target: int = Field(
        default=80,
        ge=1,
        le=100,
        description="Percent of what a server requests of it that they use on average",
    )
    settle_seconds: float = Field(
        default=90,
        ge=0,
        le=3600,
        description="Seconds for which a version keeps its servers at the end of a rollout, until "
        "its autoscaler has seen the load that it then has",
    )
    behavior: StabilizationSpec = StabilizationSpec()

    @model_validator(mode="after")
    def _fitting(self) -> AutoscalingSpec:
        if self.scales:
            self._require_bounds()
        else:
            self._require_alone(_ALONE[self.autoscaler])
        if self.autoscaler != "keda" and self.behavior != StabilizationSpec():
            raise ValueError(
                f"behavior: KServe hands it to KEDA alone; with {self.autoscaler} it has no effect"
            )
        return self

    @property
    def scales(self) -> bool:
        """Whether KServe makes an autoscaler, which keeps to the bounds given here."""
        return self.autoscaler in ("hpa", "keda")

    def _require_bounds(self) -> None:
        if self.max_replicas is None:
            raise ValueError(f"max_replicas: {self.autoscaler} needs it")
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas: {self.max_replicas} is below min_replicas, {self.min_replicas}"
            )

    def _require_alone(self, why: str) -> None:
        useless = {"max_replicas", "metric", "target", "settle_seconds"}
        if self.autoscaler == "external":
            useless.add("min_replicas")
        fields = type(self).model_fields
        given = sorted(name for name in useless if getattr(self, name) != fields[name].default)
        if given:
            raise ValueError(f"{given[0]}: with {self.autoscaler} {why}")
