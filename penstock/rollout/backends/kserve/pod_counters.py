"""The counters of one version's pods, read from Prometheus as they stand at one moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from penstock.errors import ServiceError
from penstock.records.rollout import HistogramBuckets
from penstock.rollout.backends.kserve.counters import Reading, lacking
from penstock.rollout.backends.kserve.prometheus import Prometheus
from penstock.rollout.proxy.stats import Buckets
from penstock.rollout.spec import PrometheusSpec

_BY = {"requests": "code", "seconds": "le", "scores": "le", "predicted": "label"}


class UnknownError(ServiceError):
    """A pod is there that Prometheus has no metrics of: new, or not scraped at all."""


@dataclass(frozen=True)
class Source:
    """The query.

    Attributes:
        spec: Where, and how.
        namespace: Of the pods.
        service: The service.
        alone: Whether nothing is replayed beside. Only then is latency read: it is measured in the
            server, and one that is measured at the client is not to be compared with it.
    """

    spec: PrometheusSpec
    namespace: str
    service: str
    alone: bool

    def query(self, name: str, version: int) -> str:
        """Return the query of that name for one version; empty: it is not to be read."""
        text: str = getattr(self.spec.queries, name)
        put_in = {"namespace": self.namespace, "service": self.service, "version": str(version)}
        for field, value in put_in.items():
            text = text.replace(f"{{{field}}}", value)
        return text

    def counter_names(self, scores: tuple[float, ...]) -> list[str]:
        """Return the names of the counters to read, given the edges for scores."""
        names = ["requests", "labelled_requests", "labelled_loss", "labelled_squared"]
        if self.alone:
            names.append("seconds")
        # The values of a regression have edges of their own in each rollout.
        if scores == HistogramBuckets().scores:
            names += ["scores", "predicted"]
        return [name for name in names if getattr(self.spec.queries, name)]


class PodCounters:
    """Reads them.

    Args:
        source: The queries.
        prometheus: Who is asked.
    """

    def __init__(self, source: Source, prometheus: Prometheus) -> None:
        self._source = source
        self._prometheus = prometheus

    def scraped(self, version: int, pods: Collection[str], now: float) -> dict[str, float]:
        """Return when each of some pods was scraped last, unix seconds.

        Args:
            version: The version.
            pods: Those that must have been scraped.
            now: The moment, by Prometheus' clock.

        Raises:
            UnknownError: If one of them was not, or there is none.
            ServiceError: If one was scraped twice or long ago, or Prometheus does not answer.
        """
        query = self._source.query("scraped", version)
        known: dict[str, float] = {}
        for labels, moment in self._prometheus.ask(query, at=now):
            pod = self._label("pod", labels, query)
            if pod in known:
                raise self._error(f"{pod} is scraped twice, so its requests count twice", query)
            known[pod] = moment
        last = {pod: known[pod] for pod in pods if pod in known}
        missing = sorted(set(pods) - last.keys())
        if not pods or missing:
            lost = f"{', '.join(missing)} of " if missing else "a ready pod of "
            what = f"nothing is known of {lost}version {version}"
            raise UnknownError(what, where=f"Prometheus {self._source.spec.url}, query {query}")
        oldest = min(last, key=lambda pod: last[pod])
        age = now - last[oldest]
        if age > self._source.spec.stale_after:
            raise self._error(f"{oldest} was scraped last {age:.0f} s ago", query)
        return last

    def read(self, name: str, version: int, now: float, *, edges: Buckets) -> Reading:
        """Return what a counter of each pod of a version stands at.

        Args:
            name: Of the query.
            version: The version.
            now: The moment, by Prometheus' clock.
            edges: That its histograms must have.

        Raises:
            ServiceError: If the answer is not of such counters.
        """
        query, by = self._source.query(name, version), _BY.get(name, "")
        reading = self._by_pod(query, now, by=by)
        wanted = edges.latency if name == "seconds" else edges.scores
        for pod, counters in reading.items():
            if by == "code" and not all(code.isdigit() for code in counters):
                raise self._error(f"{sorted(counters)} are not all statuses", query)
            lack = lacking(counters, wanted) if by == "le" else None
            if lack is not None:
                raise self._error(f"the histogram of {pod} has no bucket le={lack:g}", query)
        return reading

    def _by_pod(self, query: str, now: float, *, by: str) -> dict[str, dict[str, float]]:
        """Return what a query yields by pod and by one of its labels, others summed up."""
        reading: dict[str, dict[str, float]] = {}
        for labels, value in self._prometheus.ask(query, at=now):
            counters = reading.setdefault(self._label("pod", labels, query), {})
            key = self._label(by, labels, query) if by else ""
            counters[key] = counters.get(key, 0.0) + value
        return reading

    def _label(self, name: str, labels: Mapping[str, str], query: str) -> str:
        if name not in labels:
            raise self._error(f"a series has no label {name}: {dict(labels)}", query)
        return labels[name]

    def _error(self, what: str, query: str) -> ServiceError:
        return ServiceError(what, where=f"Prometheus {self._source.spec.url}, query {query}")
