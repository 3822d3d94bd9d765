"""How a run of a pipeline ended, as the step that decided it writes it down."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from penstock.records.base import Record

Outcome = Literal["released", "refused", "rolled_back", "failed"]

IN_WORDS: dict[Outcome, str] = {
    "released": "released",
    "refused": "not released, it was refused",
    "rolled_back": "not released, it was rolled back",
    "failed": "not released, the run failed",
}
"""How a release ended, in words."""


class RunEnd(Record):
    """How a run ended, for its exit handler, which sees no output of other steps."""

    KIND: ClassVar[str] = "run-end"

    outcome: Outcome
    reason: str = Field(description="Why, in sentences")
    version: int | None = Field(
        default=None, description="The registered version; None: there is none, or it is not known"
    )
    time: AwareDatetime = Field(description="When it was written down")
    notified: bool = Field(default=False, description="Whether people were notified of it")
