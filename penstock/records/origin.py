"""Where the rows of a dataset were read, so that the same rows can be read again."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from penstock.records.base import Value
from penstock.records.retrieval import FeatureRetrieval

VersionedKind = Literal["delta", "iceberg", "dvc", "lakefs"]
"""Kinds of sources that keep versions of their own."""


class DataReference(Value):
    """A version of a source that keeps versions, by its own name for it."""

    kind: VersionedKind
    locator: str = Field(description="Address of the source, without credentials")
    resolved: str = Field(
        description="What was read, which does not move: a Delta version, an Iceberg snapshot, a "
        "Git or lakeFS commit"
    )
    asked: str = Field(
        default="", description="What was asked for: a branch, a tag, a time; empty: the newest"
    )
    table: str = Field(
        default="",
        description="Identity of the table: one that is made anew at the same address has another. "
        "Empty: the kind has none",
    )

    @property
    def named(self) -> dict[str, str]:
        """What names the version, as tags and other records have it."""
        return {"kind": self.kind, "locator": self.locator, "resolved": self.resolved}

    @property
    def text(self) -> str:
        """The same in few words."""
        word = {"delta": "version", "iceberg": "snapshot"}.get(self.kind, "commit")
        asked = f" (asked for: {self.asked})" if self.asked not in ("", self.resolved) else ""
        return f"{self.kind} {word} {self.resolved}{asked}"


class Origin(Value):
    """What a dataset was read from, and by which settings."""

    source: dict[str, Any] = Field(
        description="Section `source` that reads the same rows again, without credentials; moving "
        "references stand as what they resolved to"
    )
    content: str = Field(
        default="",
        description="Content digest of all rows that were read; empty: that of this dataset",
    )
    reference: DataReference | None = Field(
        default=None, description="The version that was read, where the source keeps versions"
    )
    retrieval: FeatureRetrieval | None = Field(
        default=None,
        description="The feature service that was joined to these rows; without `source` they are "
        "not read again",
    )
