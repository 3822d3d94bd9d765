"""What a passport is of, and the digests of its documents."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from penstock.records.base import Record

FILE_NAME = "passport.json"


class Passport(Record):
    """`passport.json`: digests that all documents of a passport name, and digests of the files."""

    KIND: ClassVar[str] = "passport"

    uri: str = Field(description="`models:/name/version`")
    evidence: str = Field(description="Digest of the manifest of the version's evidence")
    model: str = Field(description="Digest of the model's folder")
    export: str = Field(default="", description="Digest of its ONNX form; empty: it has none")
    dataset: str = Field(description="Content digest of the training part")
    holdout: str = Field(description="Content digest of the holdout")
    decision: str = Field(description="Digest of the gate's decision")
    code: str = Field(description="Version of Penstock that wrote the passport")
    files: dict[str, str] = Field(description="`sha256:<hex>` by file name")

    @property
    def named(self) -> dict[str, str]:
        """The digests that every document names, by what they are of."""
        return {
            "evidence": self.evidence,
            "model": self.model,
            "training part": self.dataset,
            "holdout": self.holdout,
            "decision": self.decision,
        }
