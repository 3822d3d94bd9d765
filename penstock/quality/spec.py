"""The project file's sections on what the table must look like."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from penstock.records.dataset import ColumnType
from penstock.records.spec import Spec


class ContractColumn(Spec):
    """A column that the table must have."""

    name: str = Field(min_length=1)
    type: ColumnType = Field(
        description="Its storage type; integer is accepted where number is due"
    )


class Contract(Spec):
    """The table's schema; an empty list of columns means that any schema is accepted."""

    columns: tuple[ContractColumn, ...] = ()
    extra: Literal["error", "warn", "ignore"] = Field(
        default="warn", description="What a column that is not listed means"
    )


class Expectation(Spec):
    """One Great Expectations expectation, as its own suites write it."""

    type: str = Field(
        pattern="^expect_", description="For example expect_column_values_to_be_between"
    )
    kwargs: dict[str, Any] = Field(default_factory=dict)
    meta: dict[str, Any] = Field(default_factory=dict)
    severity: Literal["critical", "warning", "info"] = Field(
        default="critical",
        description="critical fails the data; warning and info are reported only",
    )
