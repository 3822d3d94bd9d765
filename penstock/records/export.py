"""What was exported from a model for serving, and how far it is from the model itself."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value

FOLDER = "serving"
"""Folder inside a registered model's folder that holds the export."""

FILE_NAME = "export.json"


MODEL_NAME = "model.onnx"

FILES = frozenset({f"{FOLDER}/{FILE_NAME}", f"{FOLDER}/{MODEL_NAME}"})
"""What the model's digest leaves out, these two files and no other: they are made after the
decision, from the very model that was decided on, and have a digest of their own."""

MISSING_TEXT = "(missing)"
"""What stands for a missing value among texts: the level that the features give it as well."""


class Input(Value):
    """Where the graph takes one raw column from.

    The graph has one matrix of rows by columns for each kind, so that the names of columns, which
    may hold anything, are no names in the graph.
    """

    column: str = Field(description="The raw column, under its own name")
    kind: Literal["number", "text", "time"] = Field(
        description="number: float64, NaN for missing, booleans as 1 and 0; text: string, "
        "`(missing)` for missing; time: int64 microseconds since 1970 UTC, the least for missing"
    )
    name: str = Field(description="The graph's input that holds it")
    index: int = Field(description="Its column there")


class Export(Record):
    """`serving/export.json` in a registered model's folder; `serving/model.onnx` beside it.

    Where a pipeline does not convert, `reason` says why and there is no file.
    """

    KIND: ClassVar[str] = "export"

    model: str = Field(description="Digest of the model that it was made from")
    file: str = Field(description="Digest of model.onnx; empty where there is none")
    reason: str = Field(default="", description="Why there is none")
    inputs: tuple[Input, ...] = ()
    dataset: str = Field(description="Content digest of the holdout that it was checked on")
    rows: int = Field(default=0, description="Rows of the holdout, all of them compared")
    probes: int = Field(
        default=0, description="Further rows compared: nulls and unseen levels in every column"
    )
    label_differences: int = Field(default=0, description="Rows with another label: must be 0")
    max_difference: float = Field(
        default=0.0, description="Largest difference of a probability; regression: relative"
    )
    tolerance: float = Field(description="What max_difference may be at most")
    libraries: dict[str, str] = Field(default={})
