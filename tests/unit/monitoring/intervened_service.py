"""A monitor that recalls and trains again, what does it in its place, and one retraining."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from monitor_parts import BEGIN, HOUR, Watch, drift, signal, worth

from penstock.errors import ServiceError
from penstock.monitoring.interventions.intervening import Interventions
from penstock.monitoring.interventions.intervention import begun
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.records.intervention import Comparison, Intervention, RunStatus
from penstock.records.monitoring import MonitorState

AUTOMATIC = MonitoringSpec(retrain="automatic", retrain_rows=1000, recall_rows=100)
WORSE = {"drift": drift(9.0, signal()), "performance": worth(realized=0.7)}
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
RETRAIN = Intervention(
    identity="00000007-version-1",
    number=7,
    version=1,
    reason="It predicts worse.",
    since=NOW,
    began=NOW,
    look=7,
    stage="retrain",
    run="2026-11-29T12-00-00.retrain",
)


class Hand:
    """An executor of which every answer is given, and which notes what it was asked to begin."""

    def __init__(self) -> None:
        self.comparison: Comparison | ServiceError | None = None
        self.status: RunStatus | ServiceError = RunStatus(state="running")
        self.compared: list[int] = []
        self.runs: list[tuple[str, int | None]] = []

    def compare(self, intervention):
        self.compared.append(intervention.look)
        if isinstance(self.comparison, ServiceError):
            raise self.comparison
        return self.comparison

    def run(self, intervention):
        self.runs.append((intervention.stage, intervention.recall))
        if isinstance(self.status, ServiceError):
            raise self.status
        return self.status

    def found(
        self,
        *,
        version: int | None = None,
        labelled: int = 5000,
        gate: int = 2500,
        rarest: int | None = None,
    ) -> None:
        reason = f"Version {version} is better." if version else "No former champion fits."
        self.comparison = Comparison(
            look=1,
            champion=1,
            version=version,
            reason=reason,
            labelled=labelled,
            gate=gate,
            rarest=rarest,
        )


class Service(Watch):
    """A service whose monitor acts; every state that was written is kept."""

    def __init__(self, spec: MonitoringSpec = AUTOMATIC) -> None:
        super().__init__(spec)
        self.hand = Hand()
        self.written: list[MonitorState] = []

    def look(self, **seen: Any):
        verdict = super().look(**seen)
        if verdict.begins:
            one = begun(verdict, self.state.last)
            self.state = self.state.model_copy(update={"intervention": one})
        return verdict

    def go_on(self) -> list[str]:
        self.state, said = Interventions(self.spec, self.hand).step(
            self.state,
            now=BEGIN + self.hours * HOUR,
            write=self.written.append,
            link="file:///page",
        )
        return said

    @property
    def stage(self) -> str:
        one = self.state.intervention
        return one.stage if one else ""

    @property
    def events(self) -> list[str]:
        return [notice.event for notice in self.state.outbox]
