"""An experiment on a business KPI: its plan, what it shows now, and how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value
from penstock.records.model import Label, Task
from penstock.records.rollout import Finding, Order, Rollout

Verdict = Literal["better", "worse", "open", "not trusted"]
Ending = Literal["promoted", "kept", "harm", "broken off"]

KPI = "kpi"
"""Rule of the finding that an experiment ends on."""


class ExperimentPlan(Value):
    """What was settled before the first user came; nothing of it changes but the weight."""

    salt: str = Field(description="What users' ids are hashed with: it is this experiment's own")
    header: str = Field(description="Header of a request that holds the user's id")
    weight: int = Field(description="Share of users that get the challenger at first, in percent")
    kpi: Literal["cost", "value"] = Field(
        description="cost: what the policy says that a decision is worth; value: sent with feedback"
    )
    cost: dict[str, object] = Field(default={}, description="The policy's cost, of kpi: cost")
    task: Task = "binary"
    positive: Label | None = None
    negative: Label | None = None
    unit: str = ""
    low: float = Field(description="The least that counts; what is below counts as this")
    high: float = Field(description="The most that counts; what is above counts as this")
    better: Literal["higher", "lower"] = "higher"
    per_user: Literal["mean", "sum"] = "mean"
    missing: Literal["skip", "zero"] = "skip"
    window: float = Field(description="Seconds from a user's first request in which rows count")
    confidence: float = 0.95
    centre: float = Field(description="The KPI that is expected; it costs nothing if it is wrong")
    variance: float = Field(
        description="Of all users planned, as the reading adds it up: where it is narrowest"
    )
    users: int = Field(description="Users that are planned, of both arms together")
    power: float = Field(default=0.8, description="At that many users, of seeing `effect`")
    effect: float | None = Field(default=None, description="The smallest that is to be seen")
    seconds: float = Field(description="After which it is stopped")
    automatic: bool = Field(
        default=False, description="Whether it ends by itself once the reading is decided"
    )


class ArmReading(Value):
    """One arm, user by user."""

    exposed: int = Field(default=0, description="Users who were given this arm")
    users: int = Field(default=0, description="Users whose window is over and who have a KPI")
    mean: float | None = Field(default=None, description="The KPI's, over these users")


class ExperimentReading(Value):
    """What an experiment shows; it may be read at any time, and as often as anybody likes."""

    time: datetime
    weight: int = Field(description="The challenger's share of new users, in percent")
    champion: ArmReading = ArmReading()
    challenger: ArmReading = ArmReading()
    difference: float | None = Field(
        default=None, description="The challenger's mean less the champion's"
    )
    low: float | None = Field(default=None, description="Lower end of the confidence sequence")
    high: float | None = Field(default=None, description="Upper end of it")
    verdict: Verdict = "open"
    waiting: int = Field(default=0, description="Users whose window is not over yet")
    without: int = Field(default=0, description="Users whose window ended without a KPI")
    clipped: int = Field(default=0, description="Users whose KPI lay outside of low and high")
    apart: int = Field(default=0, description="Requests without a user: the champion answered")
    unknown: int = Field(
        default=0,
        description="Labels and values of requests of nobody here, or after their user's window",
    )
    repeated: int = Field(default=0, description="Labels and values of rows that had theirs")
    moved: int = Field(
        default=0, description="Requests of users whom a change of weight gave the other arm"
    )
    damaged: int = Field(default=0, description="Lines of the events that could not be read")
    changing: int = Field(
        default=0,
        description="Requests that a proxy of a cluster answered at the former weight while others "
        "had the new one",
    )
    dropped: int = Field(
        default=0,
        description="Events that are lost: a spool was full, or a file is damaged or gone",
    )
    silent: int = Field(
        default=0,
        description="Pods that ended without a word: how much they had not shipped is not known",
    )
    known_until: datetime | None = Field(
        default=None, description="Events are whole up to then; None: up to the reading"
    )
    imbalance: float = Field(
        default=0.0,
        description="Logarithm of the evidence that the arms do not get the users they should",
    )
    sentence: str = ""


class ExperimentOrder(Order):
    """The inputs of an experiment, so that another process can go on with it."""

    KIND: ClassVar[str] = "experiment-order"

    experiment: ExperimentPlan
    by: str = Field(description="Who started it")


class Experiment(Record):
    """One experiment that has ended."""

    KIND: ClassVar[str] = "experiment"

    identity: str = Field(description="That of its rollout")
    service: str
    champion: int
    challenger: int
    plan: ExperimentPlan
    by: str = Field(description="Who started it")
    started: datetime
    ended: datetime
    outcome: Ending
    reason: str
    reading: ExperimentReading
    guards: tuple[Finding, ...] = Field(
        default=(), description="What the rules on errors, latency and loss found at its end"
    )


def ended_by_reading(rollout: Rollout) -> bool:
    """Return whether an experiment ended because it was stopped, and not because of harm."""
    if rollout.purpose != "experiment":
        return False
    ends = [each for each in rollout.transitions if each.phase in ("promote", "rollback")]
    return bool(ends) and any(finding.rule == KPI for finding in ends[-1].findings)
