"""How a model serves, measured by its own server."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from penstock.records.base import Record


class Operations(Record):
    """The candidate in the model server, before anybody depends on it."""

    KIND: ClassVar[str] = "operations"

    model: str = Field(description="Digest of the model's folder")
    dataset: str = Field(description="Content digest of the rows that were sent")
    asked: bool = Field(description="False: the policy requires nothing here, nothing was measured")
    runtime: str = Field(default="", description="onnx or sklearn")
    requests: int = 0
    p50: float | None = Field(default=None, description="Seconds, single rows")
    p99: float | None = Field(default=None, description="Seconds, single rows")
    size: int | None = Field(
        default=None, description="Bytes of the model's file that the server loads"
    )
    start: float | None = Field(default=None, description="Seconds until it answered")
    rows: int = Field(default=0, description="Rows compared with the model's own answers")
    differences: int = Field(
        default=0,
        description="Rows whose answers differ: another label, or a score by more than 1e-9 (a "
        "regression's value relatively), to which the served form is proved",
    )
    largest: float = Field(default=0.0, description="Largest difference of a score")
    first_difference: str = Field(default="", description="The first such row, in words")
    place: str = Field(default="", description="What it was measured on")
    notes: tuple[str, ...] = ()
