"""The project file's section on the cluster that runs the pipeline."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from penstock.records.spec import Spec

StepName = Literal[
    "ingest",
    "validate",
    "split",
    "engineer-features",
    "train",
    "evaluate",
    "probe-serving",
    "decide",
    "explain",
    "register",
    "approve",
    "deploy",
    "notify",
    "fetch-version",
]
"""A step's name in Kubeflow; in the order in which a release takes them, then a recall's own."""

TaskName = Literal[
    StepName,
    "fail",
    "monitor",
    "intervene",
    "export-rows",
    "hold-out",
    "record-refusal",
    "settle",
    "score",
]
"""The same with those that end a run which is not released (`fail`), and with the steps of the
monitor's pipeline and of that for batches."""


ObjectName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)
]
"""The name of a Kubernetes object: lower case, digits, dashes and dots."""

Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of an environment variable."""


class SecretSpec(Spec):
    """A Secret of the namespace that steps may read. Its values never enter the pipeline."""

    name: ObjectName = Field(description="The Secret's name")
    environment: dict[str, Variable] = Field(
        default_factory=dict, description="Its keys, each with the environment variable it fills"
    )
    mount_path: str = Field(
        default="",
        pattern=r"^(/.+)?$",
        description="The folder its keys appear in as files; empty mounts nothing",
    )
    steps: tuple[TaskName, ...] = Field(
        default=(), description="The only steps that get it; none named means all"
    )
    optional: bool = Field(
        default=False, description="Let a step start when there is no such Secret"
    )

    @model_validator(mode="after")
    def _reaches_a_step(self) -> Self:
        if not (self.environment or self.mount_path):
            raise ValueError("give environment, mount_path or both; else no step sees the Secret")
        return self


class ResourcesSpec(Spec):
    """What one step requests of a node, instead of the pipeline's own figures."""

    cpu: str = Field(
        default="",
        pattern=r"^([1-9]\d*m?|\d+\.\d+)?$",
        description="Cores requested, like 500m or 2; never limited. Empty leaves it",
    )
    memory: str = Field(
        default="",
        pattern=r"^([1-9]\d*(Mi|Gi|Ti))?$",
        description="Memory requested, and a step that takes more is killed: 16Gi. Empty leaves it",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.cpu or self.memory):
            raise ValueError("give cpu, memory or both")
        return self


class TolerationSpec(Spec):
    """A taint that the steps' pods put up with."""

    key: str = Field(default="", description="The taint's key; empty with Exists means any")
    operator: Literal["Equal", "Exists"] = Field(
        default="Equal", description="Equal compares `value` too; Exists takes any value"
    )
    value: str = Field(default="", description="The taint's value, for Equal")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="", description="Empty means every effect"
    )
    seconds: int | None = Field(
        default=None, ge=0, description="NoExecute: how long a pod stays; null means for good"
    )

    @model_validator(mode="after")
    def _is_what_kubernetes_takes(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise ValueError("Exists takes any value: leave value out, or use Equal")
        if self.operator == "Equal" and not self.key:
            raise ValueError("Equal needs a key; for every taint use operator: Exists")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("seconds goes with effect: NoExecute alone")
        return self


class ClusterSpec(Spec):
    """How the pipeline runs on Kubeflow. A run on this machine ignores all of it."""

    service_account: ObjectName | Literal[""] = Field(
        default="",
        description="Service account of the steps' pods; empty takes the one that Kubeflow sets. "
        "Given with each run, not compiled in",
    )
    experiment: str = Field(
        default="", description="Kubeflow experiment of the runs; empty takes the project's name"
    )
    namespace: ObjectName | Literal[""] = Field(
        default="",
        description="Profile namespace of a multi-user Kubeflow; empty for a standalone one",
    )
    image_pull_secrets: tuple[ObjectName, ...] = Field(
        default=(), description="Secrets with which the steps' images are pulled"
    )
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = Field(
        default="", description="Empty leaves it to Kubernetes"
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels that a node must have to run a step"
    )
    tolerations: tuple[TolerationSpec, ...] = Field(
        default=(), description="Taints that the steps put up with"
    )
    resources: dict[TaskName, ResourcesSpec] = Field(
        default_factory=dict, description="What a step requests of its node, by step"
    )
    secrets: tuple[SecretSpec, ...] = Field(
        default=(), description="Secrets that steps read as environment variables or files"
    )
    environment: dict[Variable, str] = Field(
        default_factory=dict,
        description="Environment variables of every step, in the clear: no passwords here",
    )
    caching: bool = Field(
        default=True,
        description="Let Kubeflow reuse the result of a step whose inputs are the same. Steps that "
        "read the outside world never are reused",
    )
