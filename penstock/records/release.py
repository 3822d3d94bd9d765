"""What was registered, and what is being served."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from penstock.records.base import Record


class Registration(Record):
    """One version in the model registry."""

    KIND: ClassVar[str] = "registration"

    name: str
    version: int
    uri: str = Field(description="`models:/name/version`")
    model: str = Field(description="Digest of the model's folder")
    decision: str = Field(description="Digest of the decision that let it in")
    dataset: str = Field(description="Content digest of the training part")
    mlflow_run: str
    export: str = Field(
        default="",
        description="Digest of the ONNX form that the server answers with; empty: there is none",
    )


class Deployment(Record):
    """One version that a router serves."""

    KIND: ClassVar[str] = "deployment"

    service: str = Field(description="The service's name, which is the model's name in requests")
    router: str
    version: int
    uri: str
    model: str
    url: str = Field(description="Where it answers, for example http://127.0.0.1:8080")
    previous: int | None = Field(default=None, description="The version it took over from")
    smoke_rows: int = Field(description="Holdout rows whose answers equalled in-process ones")
    rollout: str = Field(default="", description="Digest of the rollout record that promoted it")
    started: datetime
