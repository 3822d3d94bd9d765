"""The project file's section on deployment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock.records.spec import Spec


class DeploymentSpec(Spec):
    """How a registered version is brought to users."""

    router: Literal["local"] = Field(default="local", description="local: this machine, loopback")
    port: int = Field(
        default=8080, ge=0, le=65535, description="Where it answers; 0 takes a free port"
    )
    ready_timeout: float = Field(
        default=120, gt=0, description="Seconds a new server may take to become ready"
    )
    smoke_rows: int = Field(
        default=20,
        ge=1,
        description="Holdout rows whose answers must equal the model's own before users see it",
    )
