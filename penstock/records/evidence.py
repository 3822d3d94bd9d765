"""What is kept of a version, so that it can be checked long after."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from penstock.records.base import Record

FOLDER = "evidence"
"""Folder of the run's artifacts below which packs are kept, one for each decision."""

MANIFEST = "manifest.json"


def folder_of(decision: str) -> str:
    """Return where a run keeps the pack of a decision, by the decision's digest."""
    return f"{FOLDER}/{decision.removeprefix('sha256:')[:12]}"


class Evidence(Record):
    """`manifest.json` of an evidence pack: every file by digest, and what it is all about."""

    KIND: ClassVar[str] = "evidence"

    name: str
    model: str = Field(description="Digest of the model's folder")
    export: str = ""
    dataset: str = Field(description="Content digest of the training part")
    holdout: str
    decision: str
    commit: str
    code: str = Field(description="Version of Penstock")
    image: str = ""
    sbom: str = Field(default="", description="Where the image's bill of materials is")
    trained_by: str = ""
    notes: tuple[str, ...] = Field(default=(), description="What is not in it, and why")
    files: dict[str, str] = Field(description="`sha256:<hex>` by file name in the pack")


class RolloutEvidence(Record):
    """`manifest.json` beside the record of one rollout, which came after the pack."""

    KIND: ClassVar[str] = "rollout-evidence"

    uri: str
    model: str
    decision: str
    identity: str = Field(description="Names the rollout")
    outcome: str
    files: dict[str, str] = Field(description="`sha256:<hex>` by file name beside it")


class AuditEntry(Record):
    """One thing that happened to a registered model, chained to what went before."""

    KIND: ClassVar[str] = "audit-entry"

    time: datetime
    event: str = Field(
        description="registered, approved, rejected, admitted, promoted, rolled back, "
        "champion moved, champion kept, move withdrawn, rollout recorded, joined"
    )
    uri: str
    by: str = Field(description="Who did it: a person, or an automatic actor")
    means: str = Field(default="", description="How that identity was established")
    reason: str = ""
    digests: dict[str, str] = Field(default={}, description="Of the records it rests on, by kind")
    facts: dict[str, Any] = Field(default={})
    previous: tuple[str, ...] = Field(
        default=(), description="Digests of the newest entries that were there before it"
    )
