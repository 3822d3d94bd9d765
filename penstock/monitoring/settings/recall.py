"""The project file's section on former champions that may serve again."""

from __future__ import annotations

from pydantic import Field

from penstock.records.spec import Spec


class RecallSpec(Spec):
    """When a former champion is the better one for the rows that come now."""

    labels: int = Field(
        default=200,
        ge=30,
        description="Labelled rows from which former champions are compared by their loss; below, "
        "by what is estimated without labels",
    )
    rows: int = Field(
        default=2000, ge=200, description="Rows that each former champion scores, at most"
    )
    versions: int = Field(
        default=5, ge=1, le=50, description="Former champions that are looked at, the newest first"
    )
    outside: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="Share of a version's inputs that may be beyond the tolerance of its own "
        "reference; with more, the rows have left what it learned from",
    )
    confidence: float = Field(
        default=0.95,
        ge=0.5,
        lt=1,
        description="Confidence of all intervals together, however many versions are compared; a "
        "version is chosen only if its whole interval shows it to be better",
    )
