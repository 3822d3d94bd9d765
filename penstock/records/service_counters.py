"""How far the counters of a version's pods were read, and what they came to in all."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from penstock.records.base import Record
from penstock.records.rollout import ArmSummary

FILE_NAME = "counters.json"


class ServiceCounters(Record):
    """`counters.json` beside a monitor's state, where nothing else counts for a whole service.

    Pods come and go, and each counts from 0: here is the sum over all, which only grows.
    """

    KIND: ClassVar[str] = "service-counters"

    version: int = Field(description="Of the model")
    epoch: str = Field(description="Another one wherever the sum began from nothing")
    bins: tuple[float, ...] = Field(description="Edges of `arm.latency`, in seconds")
    arm: ArmSummary = Field(default=ArmSummary(), description="What the version answered in all")
    pods: dict[str, dict[str, dict[str, float]]] = Field(
        default={}, description="By counter and pod: what it stood at, by status or bucket"
    )
    seen: dict[str, datetime] = Field(default={}, description="When each pod was read last")
