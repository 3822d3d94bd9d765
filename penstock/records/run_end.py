"""How a run of a pipeline ended, as the step that decided it writes it down."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import AwareDatetime, Field, model_validator

from penstock.records.base import Record

Outcome = Literal["released", "refused", "rolled_back", "failed"]

Told = Literal["released", "refused", "rolled_back", "failed", "unknown"]
"""What people get to know of an end. `unknown`: neither a step nor the registry could say."""

IN_WORDS: dict[Told, str] = {
    "released": "released",
    "refused": "not released, it was refused",
    "rolled_back": "not released, it was rolled back",
    "failed": "not released, the run failed",
    "unknown": "whether it was released is not known",
}
"""How a release ended, in words."""

Place = Literal["webhook", "file", "cloudevents", "email"]
"""A place of the section `notify`."""

PLACES: tuple[Place, ...] = ("webhook", "file", "cloudevents", "email")


class RunEnd(Record):
    """How a run ended, for its exit handler, which sees no output of other steps."""

    KIND: ClassVar[str] = "run-end"

    outcome: Told
    reason: str = Field(description="Why, in sentences")
    version: int | None = Field(
        default=None, description="The registered version; None: there is none, or it is not known"
    )
    time: AwareDatetime = Field(description="When it was written down")
    delivered: tuple[Place, ...] = Field(
        default=(), description="Places that have taken the message of it"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_release(cls, given: Any) -> Any:
        """Read `notified`: it was set once each place had been tried."""
        if not (isinstance(given, dict) and "notified" in given):
            return given
        fields = {name: value for name, value in given.items() if name != "notified"}
        return {"delivered": PLACES if given["notified"] else (), **fields}
