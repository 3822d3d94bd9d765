"""The project file's section on batch scoring, for the pipeline that scores."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from penstock.data.engine.spec import EngineSpec
from penstock.data.spec import SourceSpec
from penstock.records.scores import OnError
from penstock.records.spec import Spec

PART_ROWS = 500_000
"""Rows of the source in a part, where it is not said."""


class ScoringSpec(Spec):
    """What is scored by `penstock compile --score` and `schedule create --score`, and where to."""

    version: str = Field(
        default="champion",
        min_length=1,
        description="An alias, which each run resolves once, or a version's number",
    )
    source: SourceSpec | None = Field(
        default=None, description="The rows: as in the section `source`, without types"
    )
    destination: str = Field(
        default="",
        description="s3://, gs://, abfs:// or pvc://CLAIM/folder, below which each run makes a "
        "folder of its own, or a database as a SQLAlchemy URL (PostgreSQL)",
    )
    form: Literal["parquet", "csv"] = Field(default="parquet", description="Of a folder's parts")
    partition_by: tuple[str, ...] = Field(
        default=(),
        description="Columns whose values name folders, `column=value`: of those that are kept, or "
        "`prediction`. For a folder, not for a database",
    )
    table: str = Field(default="scores", min_length=1, description="Of a database")
    keep: tuple[str, ...] = Field(
        default=(), description="Columns of the source to write before the predictions"
    )
    request_ids: bool = Field(
        default=False,
        description="Write the column `request_id`, by which labels find captured rows",
    )
    on_error: OnError = Field(
        default="fail",
        description="A row that the server would refuse: fail, or quarantine: set it aside",
    )
    unseen: Literal["accept", "reject"] = Field(
        default="accept", description="A category's value that training did not see"
    )
    explain: bool = Field(
        default=False, description="Add what each column contributed to the score; slow"
    )
    part_rows: int = Field(default=PART_ROWS, ge=1, description="Rows of the source in a part")
    capture: str = Field(
        default="", description="Where rows are captured for the monitor; empty: none are"
    )
    capture_sample: float = Field(
        default=1.0, gt=0, le=1, description="Share of the rows that is captured"
    )
    unapproved: bool = Field(
        default=False,
        description="Take a version that is named by number although it is not approved",
    )
    engine: EngineSpec | None = Field(
        default=None, description="Another engine for this step; null takes the section `engine`"
    )

    @field_validator("version", mode="before")
    @classmethod
    def _number(cls, given: Any) -> Any:
        """Take a number as YAML has it."""
        return str(given) if isinstance(given, int) and not isinstance(given, bool) else given
