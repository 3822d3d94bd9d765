"""A recall or a retraining that the monitor has begun: how far it is, and how its run ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value

Stage = Literal["compare", "wait", "recall", "retrain"]
RunState = Literal["running", "released", "refused", "rolled_back", "failed"]


class Intervention(Value):
    """What is being done because the champion predicts worse; there is one at a time.

    It is in the monitor's state before any of it begins, and each stage before that does.
    """

    identity: str = Field(description="Names it, its folder and its runs; no other one has it")
    number: int = Field(description="The look that began it")
    version: int = Field(description="The champion that it is about")
    reason: str = Field(description="Why, in one sentence")
    since: datetime = Field(description="When the change probably began: rows since then count")
    began: datetime
    stage: Stage = Field(
        default="compare",
        description="compare: former champions and labels are looked at; wait: for labels; recall "
        "or retrain: that run goes on",
    )
    look: int = Field(description="The newest look when the comparison was begun")
    run: str = Field(default="", description="Name of the run of its stage; empty: it has none")
    recall: int | None = Field(default=None, description="The former champion that is recalled")
    refused: tuple[int, ...] = Field(
        default=(), description="Former champions whose recall was not let through"
    )
    grounds: str = Field(default="", description="Why this stage, in sentences")
    waits: str = Field(default="", description="What it waits for, in a sentence; empty: nothing")
    told: tuple[str, ...] = Field(
        default=(), description="Kinds of waiting that people were notified of: labels, comparison"
    )


class Comparison(Record):
    """`compare-<look>.json`: which former champion fits the rows since the change, and labels."""

    KIND: ClassVar[str] = "monitoring-comparison"

    look: int
    champion: int
    version: int | None = Field(
        default=None, description="The former champion that is better; None: none is"
    )
    reason: str = Field(description="Why that one, or none, in one sentence")
    figures: tuple[str, ...] = Field(
        default=(), description="A sentence for each former champion that was compared"
    )
    labelled: int = Field(description="Labelled rows since the change")
    gate: int = Field(
        description="Those of them in the half that the gate may judge a recall on: the choice has "
        "not seen it"
    )
    rarest: int | None = Field(
        default=None,
        description="Those of that half that are of the class that has fewest; None: there are no "
        "classes, or it is not known",
    )


class RunStatus(Record):
    """`<run>.json`: how the run of a recall or a retraining stands."""

    KIND: ClassVar[str] = "monitoring-run"

    state: RunState
    reason: str = Field(default="", description="How it ended, in sentences")
    version: int | None = Field(default=None, description="The version that it registered")
    waits: str = Field(
        default="", description="What it waits for people to do, in a sentence; empty: nothing"
    )


class RunOrder(Record):
    """`<run>.order-<start>.json`: which run of Kubeflow carries a recall or a retraining out."""

    KIND: ClassVar[str] = "monitoring-run-order"

    intervention: Intervention
    start: int = Field(description="How often it was begun by now, this time included")
    pipeline_run: str = Field(description="Kubeflow's id of the run that carries it out")
    namespace: str = Field(description="The namespace of that run's pods")
    approval: dict[str, Any] = Field(
        default_factory=dict, description="Who must approve: fields of `gate.approval`"
    )
    time: datetime
