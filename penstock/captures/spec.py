"""The project file's settings for captured rows."""

from __future__ import annotations

from pydantic import Field, model_validator

from penstock.common.claims import CLAIM, claim_of
from penstock.records.spec import Spec

GRACE = 20.0
"""Seconds that shipping may take once a server has got SIGTERM."""

_STORES = ("s3://", "gs://", "gcs://", "abfs://", "abfss://", "az://", "file://", CLAIM)


class CapturesSpec(Spec):
    """What a server keeps of the rows that it answers, and of labels."""

    sample: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the requests that is kept, by a hash of their ids, so that rows and "
        "labels agree",
    )
    days: float = Field(
        default=0, ge=0, description="Days after which rows and labels are removed; 0: never by age"
    )
    megabytes: int = Field(
        default=640,
        ge=4,
        description="Size of the rows that are kept, and of the labels, each; the oldest are "
        "removed beyond it",
    )


class ShippedCapturesSpec(CapturesSpec):
    """Where the model servers of a cluster ship captured rows to."""

    megabytes: int = Field(
        default=0,
        ge=0,
        description="Size of what is kept there, held by `penstock captures prune`; 0: whatever "
        "its size",
    )
    destination: str = Field(
        default="",
        description="Where rows are shipped to, below it in SERVICE/VERSION/POD: s3://, gs:// or "
        "pvc://CLAIM/folder; empty: nothing is captured on the cluster",
    )
    secret: str = Field(
        default="",
        description="Secret whose keys are the environment of the model servers: the credentials "
        "of the store; empty: those of their service account",
    )
    segment_megabytes: int = Field(
        default=8, ge=1, description="Size at which a segment is closed and shipped"
    )
    segment_seconds: float = Field(
        default=60, gt=0, description="Age at which a segment is closed and shipped"
    )
    spool_megabytes: int = Field(
        default=256,
        ge=4,
        description="Room in each pod for what is not shipped yet; rows beyond it are dropped and "
        "counted",
    )

    @model_validator(mode="after")
    def _is_a_store(self) -> ShippedCapturesSpec:
        if self.destination and not self.destination.startswith(_STORES):
            raise ValueError(
                f"destination must begin with s3://, gs://, abfs://, pvc:// or file://, got "
                f"{self.destination!r}"
            )
        if self.destination.startswith(CLAIM) and not claim_of(self.destination)[0]:
            raise ValueError(f"destination names no claim, got {self.destination!r}")
        if 2 * self.segment_megabytes > self.spool_megabytes:
            raise ValueError("spool_megabytes must hold two segments at least")
        return self
