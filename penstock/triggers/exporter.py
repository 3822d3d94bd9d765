"""A trigger's figures for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstock.triggers.endings import OUTCOMES
from penstock.triggers.releases import REFUSALS
from penstock.triggers.store import DEBOUNCED, REFUSED_EVENTS, TriggerStore

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, Metric

_EVENTS = {"taken": "taken", "known": "known", "refused": REFUSED_EVENTS, "debounced": DEBOUNCED}
"""Names of counts of the store, by what became of an event."""


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
        return families(self._store, service=self._service)


def families(store: TriggerStore, *, service: str, at_work: bool | None = None) -> Iterator[Metric]:
    """Yield every metric.

    Args:
        store: What the trigger remembers.
        service: The project.
        at_work: Whether a process is its trigger now; None: left out, as of that process itself.

    Raises:
        ServiceError: If the store cannot be read.
    """
    totals = store.database.totals()
    yield _counter(
        "penstock_trigger_events",
        "Events that were written down, that had come before, that were refused, and that joined "
        "another one in its release",
        ("result", {result: totals.get(name, 0) for result, name in _EVENTS.items()}),
        service=service,
    )
    yield _counter(
        "penstock_trigger_releases",
        "Releases that ended",
        ("outcome", {outcome: totals.get(outcome, 0) for outcome in OUTCOMES}),
        service=service,
    )
    yield from _now(store, service=service, at_work=at_work)
    yield from _last(store, service)


def _counter(
    name: str, text: str, counts: tuple[str, dict[str, int]], *, service: str
) -> CounterMetricFamily:
    from prometheus_client.core import CounterMetricFamily

    label, values = counts
    family = CounterMetricFamily(name, text, labels=["service", label])
    for value, count in values.items():
        family.add_metric([service, value], count)
    return family


def _now(store: TriggerStore, *, service: str, at_work: bool | None) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    waiting = store.waiting()
    gauges: dict[str, tuple[str, float]] = {
        "waiting_events": ("Events that wait for a release", waiting.count),
        "oldest_waiting_timestamp_seconds": (
            "Unix time of the first event that waits; 0: none does",
            waiting.first,
        ),
        "running": ("1 while a release goes on", store.open_release() is not None),
        "stopped": (
            "1 if a person is to decide, for releases in a row were refused",
            store.refusals() >= REFUSALS,
        ),
    }
    if at_work is not None:
        gauges["at_work"] = ("1 while a process is the trigger of the project", at_work)
    for name, (text, value) in gauges.items():
        gauge = GaugeMetricFamily(f"penstock_trigger_{name}", text, labels=["service"])
        gauge.add_metric([service], float(value))
        yield gauge


def _last(store: TriggerStore, service: str) -> Iterator[Metric]:
    """Yield how the newest release ended, and when."""
    from prometheus_client.core import GaugeMetricFamily

    last = store.last_ended()
    outcomes = GaugeMetricFamily(
        "penstock_trigger_last_release",
        "1 for how the newest release ended, else 0",
        labels=["service", "outcome"],
    )
    for outcome in OUTCOMES:
        outcomes.add_metric([service, outcome], float(last is not None and last.outcome == outcome))
    yield outcomes
    if last is not None:
        ended = GaugeMetricFamily(
            "penstock_trigger_last_release_timestamp_seconds",
            "Unix time at which the newest release ended",
            labels=["service"],
        )
        ended.add_metric([service], last.ended or 0.0)
        yield ended
