"""How a champion is held against the one before it, for as long as it is the champion."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from penstock.records.base import Value
from penstock.records.rollout import ArmSummary

GuardedSignal = Literal["errors", "latency", "loss"]


class GuardLimit(Value):
    """One thing in which a champion may not be worse than the one before it."""

    signal: GuardedSignal
    expected: float = Field(description="Share or mean that the previous champion showed, 0 to 1")
    reference: int = Field(description="Requests that show it")
    tolerance: float
    greatest: float = Field(
        description="The greatest mean that is no harm: `expected`, the tolerance, and the "
        "sampling error of `expected`"
    )
    place: int = Field(
        default=0, description="Of `latency`: the first bin of the histogram that counts as slow"
    )
    line: float = Field(default=0.0, description="Of `latency`: its lower edge, in seconds")


class Harm(Value):
    """That a champion does harm."""

    time: datetime
    signals: tuple[GuardedSignal, ...] = Field(description="The strongest evidence first")
    reason: str = Field(description="In sentences")
    returns: bool = Field(description="Whether the previous champion is to serve again by itself")


class Guard(Value):
    """How a champion is held against the one before it."""

    version: int
    former: int | None = Field(
        default=None, description="The champion before; None: it is guarded against nothing"
    )
    rollout: str = Field(default="", description="Identity of the rollout that promoted it")
    newest: str = Field(
        default="", description="The service's newest rollout, if that has ended; empty: look again"
    )
    since: datetime = Field(description="When it became the champion, or was first seen")
    limits: tuple[GuardLimit, ...] = ()
    open: tuple[str, ...] = Field(default=(), description="What is not guarded, and why")
    counted: dict[str, Any] | None = Field(default=None, description="The counters, as read last")
    seen: ArmSummary = Field(default=ArmSummary(), description="What it answered since")
    detector: dict[str, Any] | None = None
    log_evidence: float = Field(default=0.0, description="Natural logarithm")
    threshold: float = Field(default=0.0, description="At which it is harm, as a logarithm")
    harm: Harm | None = None
    notified: bool = Field(default=False, description="Whether people were notified of it")
    tries: int = Field(default=0, description="Returns that were tried and did not succeed")
    next_try: datetime | None = None
