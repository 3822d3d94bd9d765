"""What Prometheus reads of one pod of an experiment's proxy: requests by version, and its events.

Which version is better, and whether anybody watches for harm, is what the controller knows: that is
read from the port of the guardian or of `penstock monitor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstock.rollout.proxy.routing_table import RoutingTable
from penstock.rollout.proxy.spool import SpooledEvents

if TYPE_CHECKING:
    from prometheus_client.core import Metric

METRICS = "/metrics"
"""Path on the health port."""

MEDIA = "text/plain; version=0.0.4; charset=utf-8"


class PodMetrics:
    """The figures of one pod, made when they are asked for.

    Args:
        table: What it routes by, with what each arm has answered.
        events: Where it writes what users did.
        service: The service.
    """

    def __init__(self, table: RoutingTable, events: SpooledEvents, *, service: str) -> None:
        self._table, self._events, self._service = table, events, service

    def exposition(self) -> bytes:
        """Return them as Prometheus reads them (`MEDIA`)."""
        from prometheus_client import generate_latest

        # It asks for `collect` alone.
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        weight = GaugeMetricFamily(
            "penstock_experiment_proxy_weight_ratio",
            "The challenger's share of the users in this pod's table",
            labels=["service"],
        )
        weight.add_metric([self._service], self._table.weight / 100)
        yield weight
        arm_labels = ["service", "arm", "model_version"]
        requests = CounterMetricFamily(
            "penstock_experiment_proxy_requests",
            "Requests of users that were answered, or not, by how that ended",
            labels=[*arm_labels, "outcome"],
        )
        flight = GaugeMetricFamily(
            "penstock_experiment_proxy_in_flight", "Requests under way", labels=arm_labels
        )
        for arm in self._table.arms.values():
            named = [
                self._service,
                "challenger" if arm.role == "candidate" else "champion",
                str(arm.version),
            ]
            stats = arm.stats
            refused, failed = stats.client_errors, stats.server_errors
            for outcome, count in (
                ("answered", stats.requests - refused - failed),
                ("refused", refused),
                ("failed", failed),
            ):
                requests.add_metric([*named, outcome], count)
            flight.add_metric(named, arm.load.requests)
        yield requests
        yield flight
        events = CounterMetricFamily(
            "penstock_experiment_proxy_events",
            "Events of the experiment: written down, or dropped for a full disk",
            labels=["service", "outcome"],
        )
        for outcome, count in self._events.counts().items():
            events.add_metric([self._service, outcome], count)
        yield events
