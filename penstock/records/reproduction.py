"""What came out when a version was trained again from its evidence."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value


class Difference(Value):
    """One thing that is another than when the version was trained."""

    kind: Literal["library", "code", "machine", "seed", "rows", "result"]
    what: str = Field(description="For example `numpy`, or `processor`")
    then: str
    now: str

    @property
    def text(self) -> str:
        """The same in a sentence."""
        return f"{self.kind}: {self.what} was {self.then or 'unknown'}, is {self.now or 'unknown'}"


class Reproduction(Record):
    """`reproduction.json`: a version, trained again and compared row by row."""

    KIND: ClassVar[str] = "reproduction"

    uri: str
    evidence: str = Field(description="Digest of the evidence that it was trained again from")
    equal: bool = Field(
        description="Whether the model answers every row of the holdout equally, to the last bit, "
        "with the same settings and threshold"
    )
    rows: int = Field(description="Rows of the holdout that were compared")
    unequal: int = Field(description="Of these: rows with another score")
    largest: float = Field(description="The largest difference of a score")
    differences: tuple[Difference, ...] = Field(
        default=(), description="What is another: of the circumstances, and of the result"
    )
