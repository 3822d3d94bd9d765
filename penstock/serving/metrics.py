"""Prometheus metrics, read at `/metrics`: counted while requests are answered, so steps are cheap.

Everything is counted on the event loop's thread.
"""

from __future__ import annotations

import collections
import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from penstock.records.rollout import SERVED_LATENCY, Labelled
from penstock.serving.shipment import SpoolMetrics

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from penstock.processes.supervised import Supervised
    from penstock.records.model import Model

# A draw of a row; nothing is kept secret by it.
_random = random.Random()  # noqa: S311

# A second series for each, of use only to readers of OpenMetrics.
disable_created_metrics()  # type: ignore[no-untyped-call]

PROBABILITY_EDGES = tuple(round(0.02 * step, 2) for step in range(1, 51))
"""Those of a rollout's histograms, so that users' scores can be put to the replayed ones."""
_DECADES = tuple(float(f"{digit}e{power}") for power in range(-3, 10) for digit in (1, 2, 5))
VALUE_EDGES = (*(-edge for edge in reversed(_DECADES)), 0.0, *_DECADES)
"""Edges that do not depend on the model, so that versions can be added up and compared."""

_PREDICTING = ("v1", "v2", "mlflow")
"""Protocols that ask for predictions."""

Origin = str
"""Whose request it is: `live`, `mirror` (a copy), `replay` or `smoke` (the release's own probe)."""


class ServingMetrics:
    """The metrics of one served version.

    Args:
        name: The model's name.
        version: Its version.
        record: The model.
        runtime: `onnx` or `sklearn`.
        digest: Digest of the model's folder.
        missing: Share of the training rows in which a feature is missing, 0 to 1, by feature; what
            is not known is left out.
    """

    def __init__(
        self,
        *,
        name: str,
        version: str,
        record: Model,
        runtime: str,
        digest: str,
        missing: Mapping[str, float] = {},
    ) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._labels = {"model": name, "model_version": version}
        self._requests = self._counter(
            "penstock_requests", "Requests answered", "code", "protocol", "origin"
        )
        self._seconds = Histogram(
            "penstock_request_duration_seconds",
            "Seconds from a request's first byte to its answer's last",
            [*self._labels, "protocol", "origin"],
            buckets=SERVED_LATENCY,
            registry=self._registry,
        )
        in_flight = self._gauge("penstock_requests_in_flight", "Requests being answered")
        self.in_flight = in_flight.labels(**self._labels)
        self._missing = self._counter(
            "penstock_feature_missing", "Rows in which the feature is missing", "feature"
        )
        self._unseen = self._counter(
            "penstock_feature_unseen", "Rows with a value that training did not see", "feature"
        )
        self._predicted: Counter | None = None
        self._drawn_labels: Counter | None = None
        if record.task != "regression":
            self._predicted = self._counter(
                "penstock_predicted_rows", "Rows by predicted label", "label", "origin"
            )
            self._drawn_labels = self._counter(
                "penstock_drawn_rows",
                "One row of each request, drawn, by predicted label",
                "label",
                "origin",
            )
        requests = self._counter(
            "penstock_labelled_requests", "Requests of which labels have come", "origin"
        )
        loss = self._counter(
            "penstock_labelled_loss", "Sum of the mean losses of their rows, each 0 to 1", "origin"
        )
        squared = self._counter(
            "penstock_labelled_loss_squared", "Sum of the squares of their losses", "origin"
        )
        self._labelled = {
            origin: tuple(
                counter.labels(**self._labels, origin=origin)
                for counter in (requests, loss, squared)
            )
            for origin in ("live", "mirror")
        }
        captured = self._counter("penstock_captured_rows", "Rows written to the capture folder")
        dropped = self._counter(
            "penstock_capture_dropped_rows", "Rows not captured: the disk was too slow, or failed"
        )
        self.captured = captured.labels(**self._labels)
        self.dropped = dropped.labels(**self._labels)
        edges = VALUE_EDGES if record.task == "regression" else PROBABILITY_EDGES
        self._scores = _Scores(
            "penstock_prediction_score",
            "Scores of the rows answered: P(positive), P(predicted class), or the value",
            edges,
            self._labels,
        )
        self._drawn = _Scores(
            "penstock_drawn_score", "Score of one row of each request, drawn", edges, self._labels
        )
        self._registry.register(self._scores)
        self._registry.register(self._drawn)
        self._threads = _Threads(self._labels)
        self._registry.register(self._threads)
        self._bound: dict[tuple[int, str, Origin], tuple[Counter, Histogram]] = {}
        self._bound_labels: dict[tuple[str, Origin], Counter] = {}
        self._bound_drawn: dict[tuple[str, Origin], Counter] = {}
        self._describe(record, runtime, digest)
        trained = self._gauge(
            "penstock_feature_missing_in_training_ratio",
            "Share of the training rows in which the feature is missing, 0 to 1",
            "feature",
        )
        # A rate cannot be taken of a series that begins with its first event.
        for protocol in _PREDICTING:
            self._requests.labels(**self._labels, code="500", protocol=protocol, origin="live")
        for column in record.columns:
            self._missing.labels(**self._labels, feature=column.name)
            if column.type == "string":
                self._unseen.labels(**self._labels, feature=column.name)
            if column.name in missing:
                trained.labels(**self._labels, feature=column.name).set(missing[column.name])

    def answered(self, code: int, protocol: str, origin: Origin, seconds: float) -> None:
        """Count one request that has been answered."""
        key = (code, protocol, origin)
        bound = self._bound.get(key)
        if bound is None:
            labels = {**self._labels, "protocol": protocol, "origin": origin}
            bound = self._requests.labels(**labels, code=str(code)), self._seconds.labels(**labels)
            self._bound[key] = bound
        bound[0].inc()
        bound[1].observe(seconds)

    def scored(
        self,
        scores: np.ndarray,
        labels: Sequence[object],
        *,
        origin: Origin,
        missing: Mapping[str, int],
        unseen: Mapping[str, int],
    ) -> None:
        """Count the rows of one answer.

        Args:
            scores: One score a row.
            labels: One predicted label a row.
            origin: Whose request it was.
            missing: Missing values by feature, where there are any.
            unseen: Values that training did not see by feature, where there are any.
        """
        self._scores.add(scores, origin)
        # Rows of one request are not independent, so a rollout judges by one row of each.
        drawn = int(_random.random() * len(labels))
        self._drawn.add(scores[drawn : drawn + 1], origin)
        if self._predicted is not None:
            for label, rows in collections.Counter(map(str, labels)).items():
                self._predictions_of(label, origin).inc(rows)
            self._drawn_of(str(labels[drawn]), origin).inc()
        for name, count in missing.items():
            self._missing.labels(**self._labels, feature=name).inc(count)
        for name, count in unseen.items():
            self._unseen.labels(**self._labels, feature=name).inc(count)

    def labelled(self, origin: Origin, sums: Labelled) -> None:
        """Count requests of which labels have come; `origin` is `live` or `mirror`."""
        requests, loss, squared = self._labelled[origin]
        requests.inc(sums.requests)
        loss.inc(sums.loss)
        squared.inc(sums.squared)

    def add(self, collectors: Iterable[Collector]) -> None:
        """Show the metrics of another part of the server too."""
        for collector in collectors:
            self._registry.register(collector)

    def watch(self, thread: Supervised) -> None:
        """Show how often a thread was started again, and whether it runs."""
        self._threads.watched.append(thread)

    def watch_spool(self, spool: Path) -> None:
        """Show what waits there to be shipped."""
        self._registry.register(SpoolMetrics(spool, self._labels))

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return everything in the format that an `accept` header prefers, and its type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type

    def _predictions_of(self, label: str, origin: Origin) -> Counter:
        return self._by_label(self._predicted, self._bound_labels, label, origin)

    def _drawn_of(self, label: str, origin: Origin) -> Counter:
        return self._by_label(self._drawn_labels, self._bound_drawn, label, origin)

    def _by_label(
        self,
        counter: Counter | None,
        known: dict[tuple[str, Origin], Counter],
        label: str,
        origin: Origin,
    ) -> Counter:
        bound = known.get((label, origin))
        if bound is None:
            assert counter is not None
            bound = counter.labels(**self._labels, label=label, origin=origin)
            known[label, origin] = bound
        return bound

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, [*self._labels, *labels], registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, [*self._labels, *labels], registry=self._registry)

    def _describe(self, record: Model, runtime: str, digest: str) -> None:
        labels = {**self._labels, "task": record.task, "runtime": runtime}
        labels |= {"digest": digest, "dataset": record.dataset_version}
        info = Gauge(
            "penstock_model_info",
            "Always 1; its labels say what answers",
            [*labels],
            registry=self._registry,
        )
        info.labels(**labels).set(1)


class _Scores(Collector):
    """A histogram that takes a whole request's rows; prometheus_client's takes one at a time."""

    def __init__(
        self, name: str, text: str, edges: Sequence[float], labels: Mapping[str, str]
    ) -> None:
        self._name = name
        self._text = text
        self._edges = edges
        self._labels = labels
        # Users' series is there from the start, as the counters of features are: shares of the two
        # would else be infinite until its second reading.
        self._counts: dict[Origin, list[int]] = {"live": [0] * (len(edges) + 1)}
        self._sums: dict[Origin, float] = {"live": 0.0}

    def add(self, scores: np.ndarray, origin: Origin) -> None:
        """Count rows."""
        counts = self._counts.get(origin)
        if counts is None:
            counts = self._counts[origin] = [0] * (len(self._edges) + 1)
            self._sums[origin] = 0.0
        values = scores.tolist()
        for value in values:
            counts[bisect_left(self._edges, value)] += 1
        self._sums[origin] += sum(values)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram as it stands."""
        family = HistogramMetricFamily(self._name, self._text, labels=[*self._labels, "origin"])
        names = [*map(str, self._edges), "+Inf"]
        for origin, counts in self._counts.items():
            total, buckets = 0, []
            for name, count in zip(names, counts, strict=True):
                total += count
                buckets.append((name, total))
            family.add_metric(
                [*self._labels.values(), origin], buckets=buckets, sum_value=self._sums[origin]
            )
        yield family


class _Threads(Collector):
    """What became of the threads in the background."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels
        self.watched: list[Supervised] = []

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as they stand."""
        names = [*self._labels, "thread"]
        restarts = CounterMetricFamily(
            "penstock_thread_restarts",
            "Times that a thread failed and was started again",
            labels=names,
        )
        up = GaugeMetricFamily(
            "penstock_thread_up", "0 where a thread failed for good, else 1", labels=names
        )
        for thread in self.watched:
            values = [*self._labels.values(), thread.name]
            restarts.add_metric(values, thread.restarts)
            up.add_metric(values, float(not thread.down))
        yield from (restarts, up)
