"""The monitor's figures for Prometheus: as a text file, and over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, get_args

from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.verdict.actions import REFUSALS, refused_in_a_row
from penstock.records.intervention import Stage
from penstock.records.monitoring import ActionKind, MonitorState, VerdictKind

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from penstock.records.estimate import Estimate

LOOPBACK = "127.0.0.1"

Further = Callable[[], Iterable["Metric"]]
"""Returns metrics of what else is known of the service."""


def _nothing() -> Iterable[Metric]:
    return ()


def exposition(state: MonitorState, *, spec: MonitoringSpec) -> str:
    """Return the figures in Prometheus' text format, as its textfile collector reads them."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(lambda: state, spec))
    return generate_latest(registry).decode()


@contextlib.contextmanager
def served(
    port: int,
    *,
    read: Callable[[], MonitorState],
    spec: MonitoringSpec,
    host: str = LOOPBACK,
    further: Further = _nothing,
) -> Iterator[int]:
    """Serve the figures on a port of this machine while the block runs; yield the port.

    Args:
        port: The port; 0 takes a free one.
        read: Returns the state as it stands.
        spec: How the service is watched.
        host: The address that it listens on; anybody who reaches it can read the figures.
        further: Returns further metrics, at each reading.

    Raises:
        OSError: If the port is in use.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(_Collector(read, spec, further))
    server, thread = start_http_server(port, addr=host, registry=registry)
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Collector:
    """The figures of a state; prometheus_client's own metrics would be a second memory of them."""

    def __init__(
        self, read: Callable[[], MonitorState], spec: MonitoringSpec, further: Further = _nothing
    ) -> None:
        self._read = read
        self._spec = spec
        self._further = further

    def describe(self) -> list[Metric]:
        """Return nothing: the figures depend on the state."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        state = self._read()
        yield from _settings(self._spec, state.service)
        yield from _verdict(state)
        yield from _counted(state)
        yield from _volume(state)
        yield from _attributions(state)
        yield from _tests(state)
        yield from _signals(state)
        yield from _performance(state)
        yield from self._further()


def _settings(spec: MonitoringSpec, service: str) -> Iterator[Metric]:
    """Yield what an alert compares with: how late is late, and how often an alarm is false."""
    from prometheus_client.core import GaugeMetricFamily

    for name, text, value in (
        ("penstock_monitor_period_seconds", "Time between two looks", spec.seconds),
        (
            "penstock_monitor_false_alarms_per_year",
            "How many false alarms a year are accepted, on the average",
            spec.false_alarms_per_year,
        ),
    ):
        yield _one(GaugeMetricFamily, name, text, service, value)


def _verdict(state: MonitorState) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    verdict = GaugeMetricFamily(
        "penstock_monitor_verdict",
        "1 for the verdict that holds, else 0",
        labels=["service", "verdict"],
    )
    for kind in get_args(VerdictKind):
        holds = state.verdict is not None and state.verdict.kind == kind
        verdict.add_metric([state.service, kind], float(holds))
    yield verdict
    if state.time is not None:
        yield _one(
            GaugeMetricFamily,
            "penstock_monitor_last_look_timestamp_seconds",
            "Unix time of the last look",
            state.service,
            state.time.timestamp(),
        )


def _counted(state: MonitorState) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    totals = state.totals
    for name, text, value in (
        ("penstock_monitor_rows", "Captured rows that were looked at", totals.rows),
        ("penstock_monitor_lost_rows", "Rows that were answered and not read", totals.lost),
        ("penstock_monitor_looks", "Looks", totals.looks),
        (
            "penstock_monitor_undelivered_notifications",
            "Messages that a place did not accept",
            totals.undelivered,
        ),
    ):
        yield _one(CounterMetricFamily, name, text, state.service, value)
    actions = CounterMetricFamily(
        "penstock_monitor_actions", "What the monitor did", labels=["service", "action"]
    )
    for kind in get_args(ActionKind):
        actions.add_metric([state.service, kind], totals.actions.get(kind, 0))
    yield actions
    yield from _under_way(state)


def _under_way(state: MonitorState) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    stages = GaugeMetricFamily(
        "penstock_monitor_action_under_way",
        "1 for the stage that a recall or a retraining is in, else 0",
        labels=["service", "stage"],
    )
    for stage in get_args(Stage):
        there = state.intervention is not None and state.intervention.stage == stage
        stages.add_metric([state.service, stage], float(there))
    yield stages
    one = state.intervention
    waits = GaugeMetricFamily(
        "penstock_monitor_action_waits",
        "1 for what the recall or retraining under way waits for, else 0",
        labels=["service", "for"],
    )
    labels = one is not None and one.stage == "wait"
    people = one is not None and one.stage != "wait" and bool(one.waits)
    waits.add_metric([state.service, "labels"], float(labels))
    waits.add_metric([state.service, "people"], float(people))
    yield waits
    if one is not None:
        yield _one(
            GaugeMetricFamily,
            "penstock_monitor_action_began_timestamp_seconds",
            "Unix time at which the recall or retraining under way began",
            state.service,
            one.began.timestamp(),
        )
    yield from _refusals(state)


def _refusals(state: MonitorState) -> Iterator[Metric]:
    """Yield how many runs in a row were refused, and whether it asks for a person because of it."""
    from prometheus_client.core import GaugeMetricFamily

    here = refused_in_a_row([one for one in state.actions if one.kind != "suggested"])
    refused = max(here, state.last.refused if state.last else 0)
    for name, text, value in (
        (
            "penstock_monitor_refused_in_a_row",
            "Runs that were refused one after the other",
            refused,
        ),
        (
            "penstock_monitor_stopped",
            "1 if nothing more is suggested or begun until a run is released",
            float(refused >= REFUSALS),
        ),
    ):
        yield _one(GaugeMetricFamily, name, text, state.service, value)


def _volume(state: MonitorState) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    if state.last is not None and state.last.until is not None:
        yield _one(
            GaugeMetricFamily,
            "penstock_monitor_newest_row_timestamp_seconds",
            "Unix time at which the newest row was answered",
            state.service,
            state.last.until.timestamp(),
        )
    seen = state.volume
    if seen is None:
        return
    yield _one(
        GaugeMetricFamily,
        "penstock_monitor_volume_rows",
        "Rows of the newest whole hour or day",
        state.service,
        seen.rows,
    )
    usual = GaugeMetricFamily(
        "penstock_monitor_volume_usual_rows",
        "Rows that are usual in such an hour or day, and how few and many are no drift",
        labels=["service", "bound"],
    )
    for bound, value in (("value", seen.usual), ("low", seen.low), ("high", seen.high)):
        if value is not None:
            usual.add_metric([state.service, bound], value)
    yield usual


def _attributions(state: MonitorState) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(
        "penstock_monitor_attribution_share",
        "Share of all attribution that a column has, in the last window and on the holdout",
        labels=["service", "column", "of"],
    )
    for one in state.last.attributions if state.last else ():
        family.add_metric([state.service, one.column, "window"], one.window)
        family.add_metric([state.service, one.column, "holdout"], one.holdout)
    yield family


def _tests(state: MonitorState) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    found = state.last.drift if state.last else None
    if found is None:
        return
    for name, text, value in (
        ("penstock_monitor_log_evidence", "Logarithm of the evidence", found.log_evidence),
        ("penstock_monitor_threshold", "Logarithm at which it is an alarm", found.threshold),
    ):
        yield _one(GaugeMetricFamily, name, text, state.service, value)


def _signals(state: MonitorState) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(
        "penstock_monitor_signal_excess",
        "How far the signals with most evidence lie from what is expected; 1 is the end of the "
        "range that is no drift",
        labels=["service", "kind", "signal"],
    )
    found = state.last.drift if state.last else None
    for one in found.signals if found else ():
        family.add_metric([state.service, one.kind, one.name], one.excess)
    yield family


def _performance(state: MonitorState) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    seen, labelled = state.last.performance if state.last else None, state.labelled_performance
    figures: dict[str, tuple[str, Estimate | None]] = {
        "penstock_monitor_estimated": ("Without labels", seen.estimated if seen else None),
        "penstock_monitor_realized": ("With labels", labelled.realized if labelled else None),
    }
    value = state.last.kpi if state.last else None
    worth = {
        "penstock_monitor_estimated": value.estimated if value else None,
        "penstock_monitor_realized": value.realized if value else None,
    }
    for name, (text, figure) in figures.items():
        family = GaugeMetricFamily(name, text, labels=["service", "metric", "bound"])
        for of, found in ((seen or labelled, figure), (value, worth[name])):
            if of is not None and found is not None:
                for bound in ("value", "low", "high"):
                    family.add_metric([state.service, of.metric, bound], getattr(found, bound))
        yield family


def _one(family: type, name: str, text: str, service: str, value: float) -> Metric:
    made = family(name, text, labels=["service"])
    made.add_metric([service], value)
    return made  # type: ignore[no-any-return]
