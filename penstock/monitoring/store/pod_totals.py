"""What a version on a cluster has answered in all, summed over its pods as they come and go.

On a laptop the proxy counts for the whole service. On a cluster each pod counts for itself, from 0,
and Prometheus has the figures: how far they were read is kept beside the monitor's state. What is
killed before that is written is read again from where it was, so nothing counts twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from penstock.errors import InputError, IntegrityError, ServiceError
from penstock.monitoring.store.storage import Storage
from penstock.records.rollout import SERVED_LATENCY, HistogramBuckets
from penstock.records.service_counters import FILE_NAME, ServiceCounters

if TYPE_CHECKING:
    from penstock.rollout.backends.kserve.counters import Reading
    from penstock.rollout.spec import PrometheusSpec

_FORGET = timedelta(days=1)
"""After which a pod that is gone is forgotten: its name never comes again."""

_ATTEMPTS = 5


@dataclass(frozen=True)
class PodTotals:
    """Reads and keeps the sum.

    Attributes:
        storage: Where it is kept.
        prometheus: Who is asked: `deployment.kserve.prometheus`.
        namespace: Of the pods.
        service: The service.
        now: The clock, by which pods are forgotten.
    """

    storage: Storage
    prometheus: PrometheusSpec
    namespace: str
    service: str
    now: Callable[[], datetime] = field(default=lambda: datetime.now().astimezone())

    def counted(self, version: int, *, pods: Collection[str]) -> dict[str, Any]:
        """Return what a version has answered in all, as the proxy on one machine counts it.

        Args:
            version: The version.
            pods: Those that serve it now: each must have been scraped lately.

        Returns:
            `epoch`, `arm` and `grids`, JSON-ready, and `bins`: the edges as text, to compare.

        Raises:
            ServiceError: If Prometheus does not answer, has no fresh figures of each pod, or what
                came of it cannot be written down: nothing is counted then.
        """
        before = self._before(version)
        readings = self._readings(version, pods)
        after = _added(before, readings, now=self.now())
        self.storage.write(".", FILE_NAME, after.dumps().encode())
        return {
            "epoch": after.epoch,
            "arm": after.arm.model_dump(mode="json"),
            "grids": HistogramBuckets(latency=after.bins, scores=()).model_dump(mode="json"),
            "bins": " ".join(f"{edge:g}" for edge in after.bins),
        }

    @property
    def _edges(self) -> tuple[float, ...]:
        return self.prometheus.latency_edges or SERVED_LATENCY

    def _before(self, version: int) -> ServiceCounters:
        """Return how far the version was read; a version that was not counts from nothing.

        Where only the edges are others, what was counted so far is left out of the new sum.
        """
        fresh = ServiceCounters(version=version, epoch=secrets.token_hex(8), bins=self._edges)
        try:
            text = self.storage.read(".", FILE_NAME).decode()
            kept = ServiceCounters.loads(text, where=self.storage.address(".", FILE_NAME))
        except (OSError, UnicodeDecodeError, InputError, IntegrityError):
            return fresh
        if kept.version != version:
            return fresh
        if kept.bins != self._edges:
            # Buckets of other edges are not those that were read.
            pods = {name: each for name, each in kept.pods.items() if name != "seconds"}
            return fresh.model_copy(update={"pods": pods, "seen": kept.seen})
        return kept

    def _readings(self, version: int, pods: Collection[str]) -> dict[str, Reading]:
        """Return all counters as they stood between the same two scrapes of each pod."""
        from penstock.rollout.backends.kserve.pod_counters import PodCounters, Source
        from penstock.rollout.backends.kserve.prometheus import Prometheus
        from penstock.rollout.proxy.stats import Buckets

        source = Source(
            spec=self.prometheus, namespace=self.namespace, service=self.service, alone=True
        )
        client = Prometheus(self.prometheus)
        counters = PodCounters(source, client)
        edges = Buckets(latency=self._edges)
        try:
            for _ in range(_ATTEMPTS):
                now = client.now()
                scrapes = counters.scraped(version, pods, now)
                found = {
                    name: counters.read(name, version, now, edges=edges)
                    for name in source.counter_names(edges.scores)
                }
                if counters.scraped(version, pods, now) == scrapes:
                    return found
        finally:
            client.close()
        raise ServiceError(
            "its figures change while they are read",
            where=f"Prometheus {self.prometheus.url}",
            remedy="Scrape less often than once in a second.",
        )


def _added(
    before: ServiceCounters, readings: Mapping[str, Reading], *, now: datetime
) -> ServiceCounters:
    from penstock.rollout.backends.kserve.counters import Counters, summary
    from penstock.rollout.proxy.stats import Buckets

    read = {pod for reading in readings.values() for pod in reading}
    seen = {**before.seen, **dict.fromkeys(read, now)}
    seen = {pod: moment for pod, moment in seen.items() if now - moment < _FORGET}
    grown: dict[str, Mapping[str, float]] = {}
    kept: dict[str, dict[str, dict[str, float]]] = {}
    for name, reading in readings.items():
        counters = Counters(before.pods.get(name))
        # What is read for the first time, while the rest is not, counts from where it stands.
        late = before.pods and name not in before.pods
        grown[name] = {} if late else counters.grown(reading)
        if late:
            counters = Counters(reading)
        kept[name] = {pod: dict(at) for pod, at in counters.last.items() if pod in seen}
    fresh = summary(grown, edges=Buckets(latency=before.bins))
    return before.model_copy(update={"arm": before.arm.plus(fresh), "pods": kept, "seen": seen})
