"""The project file's section on monitoring."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from penstock.common.durations import Duration, seconds_of
from penstock.monitoring.settings.recall import RecallSpec
from penstock.monitoring.settings.tolerances import Tolerances
from penstock.monitoring.settings.volume import VolumeSpec
from penstock.records.spec import Spec


class PerformanceSpec(Spec):
    """What is asked of the model's performance after its release."""

    metric: str = Field(
        default="",
        description="The metric; empty takes the one that the model was trained for",
    )
    tolerance: float = Field(
        default=0.05,
        gt=0,
        description="How much worse than on the holdout it may be, as a share of the figure there",
    )
    loss: float = Field(
        default=0.25,
        gt=0,
        description="How much the mean loss of labelled rows may rise, as a share of that on the "
        "holdout: what the alarm on labels is about",
    )
    value: float = Field(
        default=0.25,
        gt=0,
        description="How much less decisions may be worth than on the holdout, by the policy's "
        "cost, as a share of what gains and costs of a decision amount to there",
    )
    remember: int = Field(
        default=1_000_000,
        ge=1000,
        description="Answered rows whose scores are kept until their labels come; no inputs",
    )
    require_baseline: bool = Field(
        default=True,
        description="Without what `evaluate` keeps of the holdout, the verdict is blind; false: "
        "the data alone are watched",
    )
    labels_within: float = Field(
        default=0,
        ge=0,
        description="Hours after which labels must have come, else the verdict is blind; 0: they "
        "need not come",
    )
    labels_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of the rows whose labels must have come by then; less where labels are "
        "made of a sample",
    )


class OperationsSpec(Spec):
    """Limits on how the service answers; plain limits on what was seen, no tests."""

    errors: float = Field(
        default=0.05, gt=0, le=1, description="Share of 5xx answers in a window, at most"
    )
    min_requests: int = Field(
        default=100, ge=1, description="Requests of a window from which that limit holds"
    )
    p99: float = Field(
        default=0, ge=0, description="Seconds that 99 % of the answers may take; 0: any"
    )


class GuardianSpec(Spec):
    """When a champion that does harm goes back to the one before it.

    Each limit is how much worse than the previous champion it may be; beside it the sampling error
    of what that one showed is allowed for.
    """

    mode: Literal["never", "suggest", "automatic"] = Field(
        default="automatic",
        description="automatic: the previous champion serves again, as by `penstock rollback`; "
        "suggest: people are notified; never: nobody looks",
    )
    every: Duration = Field(default="1m", description="Time between two readings: 30s, 1m, 5m")
    errors: float = Field(
        default=0.02, gt=0, lt=1, description="Share of 5xx answers: how much higher it may be"
    )
    latency_ratio: float = Field(
        default=1.5,
        ge=1,
        description="An answer is slow if it takes more than this many times the previous "
        "champion's p99",
    )
    slow: float = Field(
        default=0.04, gt=0, lt=1, description="Share of slow answers: how much higher it may be"
    )
    loss: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Mean loss, 0 to 1, of requests whose labels came: how much higher it may be",
    )
    false_returns: float = Field(
        default=0.02,
        gt=0,
        le=0.2,
        description="Share of healthy months in which a champion is returned, at most",
    )

    @property
    def seconds(self) -> float:
        """Seconds between two readings."""
        return seconds_of(self.every)


class MonitoringSpec(Spec):
    """How the served model is watched by `penstock monitor`, and what follows."""

    every: Duration = Field(default="1h", description="Time between two looks: 90s, 15m, 1h, 1d")
    source: Literal["served", "batch"] = Field(
        default="served",
        description="served: the rows that servers answered; batch: those that `penstock score "
        "--capture` scored by the champion, with or without a service",
    )
    captures: str = Field(
        default="",
        description="Where the captured rows are; empty: where the service on this machine writes "
        "them. Batches need it: what `--capture` names",
    )
    state: str = Field(
        default="",
        description="Where the monitor of a service on a cluster keeps what it knows, below it in "
        "SERVICE/monitor and SERVICE/guardian: s3://, gs://, abfs://, pvc://CLAIM/folder or a "
        "folder; on this machine it is in .penstock/monitor",
    )
    min_rows: int = Field(
        default=200,
        ge=1,
        description="Rows of a version that must have been seen before there is a verdict, and of "
        "a window in which an alarm can end",
    )
    false_alarms_per_year: float = Field(
        default=1,
        gt=0,
        le=100,
        description="How many false alarms a year are accepted, on the average, for the whole "
        "service: all columns, signals and looks together",
    )
    tolerances: Tolerances = Tolerances()
    together: float = Field(
        default=1,
        ge=1,
        description="Rows of the training data that are as good as one, as those that each user "
        "has on average: their sampling error is that of so many rows fewer",
    )
    gap: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="By how much the gap between groups that a rule on fairness compares may "
        "change: their shares of positive predictions",
    )
    volume: VolumeSpec = VolumeSpec()
    attribution_rows: int = Field(
        default=80,
        ge=0,
        le=10_000,
        description="Rows of a look that are explained, to see what answers rest on; 0: none",
    )
    performance: PerformanceSpec = PerformanceSpec()
    operations: OperationsSpec = OperationsSpec()
    guardian: GuardianSpec = GuardianSpec()
    recall: RecallSpec = RecallSpec()
    lost: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Share of a window's rows that may be lost; beyond it the verdict is blind",
    )
    recovered: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="After an alarm: the share of the tolerance inside which all is well again",
    )
    retrain: Literal["never", "suggest", "automatic"] = Field(
        default="suggest",
        description="Whether an alarm on data or performance suggests to train again; automatic: "
        "one on performance recalls a former champion or trains again, through the gate and the "
        "canary. A fault of the data's quality never does",
    )
    retrain_rows: int = Field(
        default=5000,
        ge=100,
        description="Labelled rows since the change that a retraining takes at least",
    )
    recall_rows: int = Field(
        default=500,
        ge=30,
        description="Labelled rows that the gate judges a recall on at least: half of those since "
        "the change; the other half chooses",
    )
    cooldown: float = Field(
        default=24, ge=0, description="Hours after an action within which no other is begun"
    )
    actions_per_month: int = Field(
        default=3, ge=0, description="Actions within 30 days, at most; 0: none"
    )
    history: int = Field(
        default=1000, ge=10, description="Looks whose records are kept; older ones are deleted"
    )

    @model_validator(mode="after")
    def _batches_are_somewhere(self) -> Self:
        if self.source == "batch" and not self.captures:
            raise ValueError("source: batch needs captures: the address that --capture was given")
        if self.source == "batch" and self.retrain == "automatic":
            raise ValueError(
                "source: batch suggests a retraining and begins none: no service "
                "would take its canary"
            )
        return self

    @property
    def seconds(self) -> float:
        """Seconds between two looks."""
        return seconds_of(self.every)
