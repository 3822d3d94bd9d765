"""The project file's section on where the work on tables is done."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from penstock.records.spec import Spec

MOST_WORKERS = 1024


class EngineSpec(Spec):
    """Which processes work on the parts of a table. Results are the same, to the last bit."""

    name: Literal["local", "dask"] = Field(
        default="local",
        description="local: processes of Penstock's own; dask: a Dask cluster, for the time of the "
        "step (`pip install 'penstock[dask]'`)",
    )
    on: Literal["machine", "kubernetes"] = Field(
        default="machine",
        description="Where Dask's workers are. machine: where the step is. kubernetes: pods of "
        "their own, which Dask's operator starts for a step that runs in a pod; where the step "
        "runs on a machine, as `machine`",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=MOST_WORKERS,
        description="Processes, or pods. One of `local` is the step's own; each further one needs "
        "memory as the step does",
    )
    cpu: str = Field(
        default="1",
        pattern=r"^([1-9]\d*m?|\d+\.\d+)$",
        description="With `on: kubernetes`: cores that a worker's pod gets",
    )
    memory: str = Field(
        default="2Gi",
        pattern=r"^[1-9]\d*(Mi|Gi|Ti)$",
        description="With `on: kubernetes`: memory that a worker's pod gets; one that takes more "
        "is ended, and its work begun again",
    )
    starts_within: int = Field(
        default=300,
        ge=10,
        le=86_400,
        description="With `on: kubernetes`: seconds until the first worker must be there; if none "
        "is, the step fails",
    )

    @model_validator(mode="after")
    def _pods_are_dasks(self) -> Self:
        if self.on == "kubernetes" and self.name != "dask":
            raise ValueError("on: kubernetes goes with name: dask alone")
        return self
