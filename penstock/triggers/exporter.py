"""A trigger's figures for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstock.triggers.endings import OUTCOMES
from penstock.triggers.releases import REFUSALS
from penstock.triggers.store import TriggerStore

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def exposition(store: TriggerStore, *, service: str) -> str:
    """Return the figures in Prometheus' text format, as its textfile collector reads them.

    Raises:
        ServiceError: If the store cannot be read.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(store, service))
    return generate_latest(registry).decode()


class _Collector:
    """The figures of a store; prometheus_client's own metrics would be a second memory of them."""

    def __init__(self, store: TriggerStore, service: str) -> None:
        self._store = store
        self._service = service

    def describe(self) -> list[Metric]:
        """Return nothing: the figures depend on the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        totals = self._store.database.totals()
        events = CounterMetricFamily(
            "penstock_trigger_events",
            "Events that were written down, and those that were known already",
            labels=["service", "result"],
        )
        for result in ("taken", "known"):
            events.add_metric([self._service, result], totals.get(result, 0))
        yield events
        releases = CounterMetricFamily(
            "penstock_trigger_releases", "Releases that ended", labels=["service", "outcome"]
        )
        for outcome in OUTCOMES:
            releases.add_metric([self._service, outcome], totals.get(outcome, 0))
        yield releases
        waiting = self._store.waiting()
        gauges = {
            "penstock_trigger_waiting_events": ("Events that wait for a release", waiting.count),
            "penstock_trigger_oldest_waiting_timestamp_seconds": (
                "Unix time of the first event that waits; 0: none does",
                waiting.first,
            ),
            "penstock_trigger_running": (
                "1 while a release goes on",
                self._store.open_release() is not None,
            ),
            "penstock_trigger_stopped": (
                "1 if a person is to decide, for releases in a row were refused",
                self._store.refusals() >= REFUSALS,
            ),
        }
        for name, (text, value) in gauges.items():
            gauge = GaugeMetricFamily(name, text, labels=["service"])
            gauge.add_metric([self._service], float(value))
            yield gauge
