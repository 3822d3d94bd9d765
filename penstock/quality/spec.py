"""The project file's sections on what the table must look like."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from penstock.data.engine.spec import EngineSpec
from penstock.records.dataset import ColumnType
from penstock.records.spec import Spec

TODAY = {"critical": "block", "warning": "warn", "error": "block"}
"""Words for severities in suites of Great Expectations and in older files, and ours."""


def _of_today(word: object) -> object:
    return TODAY.get(word, word) if isinstance(word, str) else word


class ContractColumn(Spec):
    """A column that the table must have."""

    name: str = Field(min_length=1)
    type: ColumnType = Field(
        description="Its storage type; integer is accepted where number is due"
    )


class Contract(Spec):
    """The table's schema; an empty list of columns means that any schema is accepted."""

    columns: tuple[ContractColumn, ...] = ()
    extra: Annotated[Literal["block", "warn", "ignore"], BeforeValidator(_of_today)] = Field(
        default="warn",
        description="What a column that is not listed means. block: the data are refused; warn: "
        "that is shown as a warning",
    )


class QuarantineSpec(Spec):
    """Which rows may be taken out of the data instead of refusing all of them."""

    max_share: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Largest share of the rows that may be quarantined; if more break the checks, "
        "the data are refused",
    )


class ValidationSpec(Spec):
    """What becomes of data that fail."""

    on_fail: Literal["refuse", "quarantine"] = Field(
        default="refuse",
        description="refuse: the data are refused. quarantine: where only checks of single rows "
        "fail, the rows that break them are written apart, with reasons, and the rest goes on",
    )
    quarantine: QuarantineSpec = QuarantineSpec()
    engine: EngineSpec | None = Field(
        default=None, description="Another engine for this step; null takes the section `engine`"
    )


class Expectation(Spec):
    """One Great Expectations expectation, as its own suites write it."""

    type: str = Field(
        pattern="^expect_", description="For example expect_column_values_to_be_between"
    )
    kwargs: dict[str, Any] = Field(default_factory=dict)
    meta: dict[str, Any] = Field(default_factory=dict)
    severity: Annotated[Literal["block", "warn", "info"], BeforeValidator(_of_today)] = Field(
        default="block",
        description="block: data that break it are refused; warn: that is shown as a warning; "
        "info: it is only listed. Suites of Great Expectations say critical and warning, which are "
        "read as block and warn",
    )
