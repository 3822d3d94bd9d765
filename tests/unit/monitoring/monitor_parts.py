"""Looks, states and signals that tests are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.store.state import following
from penstock.monitoring.verdict.actions import actions_of
from penstock.monitoring.verdict.judge import judge
from penstock.records.estimate import Estimate
from penstock.records.figures import Detected, Performance, SignalFigure
from penstock.records.monitoring import Looked, MonitorState, Verdict

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
THRESHOLD = 6.0
SPEC = MonitoringSpec()


def signal(
    name: str = "amount: at most 30", *, kind: str = "decile", excess: float = 3.0, evidence=8.0
) -> SignalFigure:
    """A share of 0.5 with a tolerance of 0.1, so far off."""
    value = 0.5 + 0.1 * excess
    column = name.partition(":")[0] if kind not in ("loss", "score", "volume", "kpi") else ""
    return SignalFigure(
        name=name,
        kind=kind,
        column=column,
        expected=0.5,
        value=value,
        low=value - 0.01,
        high=value + 0.01,
        tolerance=0.1,
        least=0.4,
        greatest=0.6,
        log_evidence=evidence,
        since=BEGIN,
    )


def drift(evidence: float, *signals: SignalFigure) -> Detected:
    return Detected(log_evidence=evidence, threshold=THRESHOLD, signals=signals, since=BEGIN)


def worth(
    *, estimated: float | None = None, realized: float | None = None, labels: int = 1000, **more
) -> Performance:
    """An accuracy of 0.9 on the holdout, 0.05 less being tolerated; intervals of 0.01."""

    def around(value: float | None) -> Estimate | None:
        if value is None:
            return None
        return Estimate(value=value, low=value - 0.01, high=value + 0.01)

    return Performance(
        metric="accuracy",
        higher_is_better=True,
        reference=around(0.9),
        tolerance=0.05,
        estimated=around(estimated),
        realized=around(realized),
        labels=labels if realized is not None else 0,
        **more,
    )


class Watch:
    """A service that is looked at once an hour: what each look saw in, verdicts out."""

    def __init__(self, spec: MonitoringSpec = SPEC) -> None:
        self.spec = spec
        self.state = MonitorState(service="loans")
        self.verdicts: list[Verdict] = []
        self.hours = 0.0

    def look(self, *, hours: float = 1.0, version: int = 1, **seen: Any) -> Verdict:
        """Look, so many hours after the look before; with 1,000 rows unless it is said."""
        self.hours += hours
        fields: dict[str, Any] = {"rows": 1000, "drift": drift(0.0)} | seen
        looked = Looked(
            service="loans",
            version=version,
            number=self.state.number + 1,
            time=BEGIN + self.hours * HOUR,
            **fields,
        )
        verdict = judge(looked, state=self.state, spec=self.spec)
        self.state = following(self.state, looked, verdict, actions=actions_of(verdict))
        self.verdicts.append(verdict)
        return verdict
