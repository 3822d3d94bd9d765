"""An experiment's records that tests are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from penstock.records.experiment import ArmReading, ExperimentPlan, ExperimentReading
from penstock.records.rollout import Rollout, Transition

PLAN = ExperimentPlan(
    salt="s", header="x-user-id", weight=20, kpi="value", low=0, high=1, window=1.0,
    centre=0.5, variance=10.0, users=500, seconds=1e6,
)  # fmt: skip
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
READING = ExperimentReading(
    time=BEGIN + timedelta(hours=1),
    weight=20,
    champion=ArmReading(exposed=400, users=300, mean=0.10),
    challenger=ArmReading(exposed=100, users=80, mean=0.15),
    difference=0.05,
    low=0.01,
    high=0.09,
    verdict="better",
)


def rollout(**changes: Any) -> Rollout:
    fields = {
        "identity": "4-experiment-x", "service": "loans", "router": "local", "url": "http://x",
        "candidate": 4, "stable": 3, "purpose": "experiment", "uri": "models:/loans/4",
        "model": "sha256:1", "decision": "sha256:2", "started": BEGIN, "plan": {},
        "transitions": (
            Transition(sequence=0, time=BEGIN, phase="step", weight=20, reason="Begun."),
        ),
    }  # fmt: skip
    return Rollout.model_validate(fields | changes)
