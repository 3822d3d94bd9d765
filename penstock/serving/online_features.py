"""Rows that name an entity instead of its features: these are asked of a feature server."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import Counter, Histogram
from prometheus_client.registry import Collector

from penstock.errors import InputError, ServiceError
from penstock.records.dataset import FILE_NAME, Column, Dataset
from penstock.records.feature_server import FeatureServerSpec
from penstock.records.model import Model
from penstock.records.retrieval import FeatureRetrieval
from penstock.serving.columns import Columns, Intake
from penstock.serving.feature_server import (
    NULL,
    PRESENT,
    FeatureServer,
    OnlineFeature,
    retrieval_of,
)
from penstock.serving.request_errors import RequestError, show

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_AGES = (60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)


class OnlineFeatures:
    """The features of one model that a feature server has.

    Args:
        record: The model.
        columns: Columns of its training table, by name.
        retrieval: Which service it was trained with.
        spec: Where to ask, and what becomes of missing values.
        labels: Of the metrics: the model's name and its version.
    """

    def __init__(
        self,
        record: Model,
        *,
        columns: Mapping[str, Column],
        retrieval: FeatureRetrieval,
        spec: FeatureServerSpec,
        labels: Mapping[str, str],
    ) -> None:
        used = [one for one in retrieval.features if one.name in {c.name for c in record.columns}]
        self._names = [one.name for one in used]
        self._keys = {name: columns[name] for name in retrieval.keys}
        given = {c.name: c for c in record.columns if c.name not in self._names}
        self._model = [c.name for c in record.columns]
        self.intake = Intake((given | self._keys).values(), reading=record.reading, levels={})
        self._server = FeatureServer(
            spec.url, service=retrieval.service, features=used, timeout=spec.timeout
        )
        self._refuses = spec.missing == "refuse"
        self._metrics = _FeatureMetrics(labels)

    @property
    def collectors(self) -> list[Collector]:
        """Its metrics."""
        return self._metrics.collectors

    def are_asked_for(self, request: Mapping[str, Any]) -> bool:
        """Return whether a request's rows name entity keys, and none of the features."""
        names = set(_names_in(request))
        return names >= self._keys.keys() and names.isdisjoint(self._names)

    def completed(self, values: Columns, *, row: str) -> Columns:
        """Return the model's columns of rows that were read by `intake`.

        Raises:
            RequestError: 400 for a key that is none, 422 for a feature without a value where those
                are refused, 503 if the feature server does not answer.
        """
        keys = {name: _checked(values[name], one, row) for name, one in self._keys.items()}
        found = self._ask(keys)
        for name, feature in found.items():
            self._metrics.count(name, feature)
        if self._refuses:
            self._require(found, keys, row)
        online = {name: feature.values for name, feature in found.items()}
        return {name: online.get(name, values.get(name, [])) for name in self._model}

    def _ask(self, keys: Mapping[str, list[Any]]) -> dict[str, OnlineFeature]:
        started = time.perf_counter()
        try:
            found = self._server.ask(keys)
        except ServiceError as error:
            self._metrics.asked("failed", time.perf_counter() - started)
            raise RequestError(f"{error} Send whole rows meanwhile.", status=503) from error
        self._metrics.asked("answered", time.perf_counter() - started)
        return found

    def _require(
        self, found: Mapping[str, OnlineFeature], keys: Mapping[str, list[Any]], row: str
    ) -> None:
        for name, feature in found.items():
            for index, status in enumerate(feature.statuses):
                if status not in (PRESENT, NULL):
                    named = ", ".join(f"{key} {show(of[index])}" for key, of in keys.items())
                    raise RequestError(
                        f"{row.format(index)}: the feature server has no value of {show(name)} for "
                        f"{named} ({status}), and this server does not answer without",
                        status=422,
                    )


class _FeatureMetrics:
    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        self._values = Counter(
            "penstock_online_features",
            "Features asked of the feature server, by what it had: PRESENT, NULL_VALUE, NOT_FOUND, "
            "OUTSIDE_MAX_AGE",
            [*labels, "feature", "status"],
            registry=None,
        )
        self._asked = Histogram(
            "penstock_feature_server_duration_seconds",
            "Seconds until the feature server answered, or failed",
            [*labels, "outcome"],
            buckets=_SECONDS,
            registry=None,
        )
        self._ages = Histogram(
            "penstock_online_feature_age_seconds",
            "Seconds since a feature that was present was measured",
            [*labels, "feature"],
            buckets=_AGES,
            registry=None,
        )
        # A rate cannot be taken of a series that begins with its first event.
        for outcome in ("answered", "failed"):
            self._asked.labels(**self._labels, outcome=outcome)

    @property
    def collectors(self) -> list[Collector]:
        return [self._values, self._asked, self._ages]

    def asked(self, outcome: str, seconds: float) -> None:
        self._asked.labels(**self._labels, outcome=outcome).observe(seconds)

    def count(self, name: str, feature: OnlineFeature) -> None:
        for status, rows in Tally(feature.statuses).items():
            self._values.labels(**self._labels, feature=name, status=status).inc(rows)
        now, ages = datetime.now(UTC), self._ages.labels(**self._labels, feature=name)
        for status, measured in zip(feature.statuses, feature.times, strict=True):
            if status == PRESENT:
                ages.observe((now - measured).total_seconds())


def online_features(
    folder: Path, record: Model, *, spec: FeatureServerSpec, labels: Mapping[str, str]
) -> OnlineFeatures:
    """Return the features of a model that are asked for, by the records in its folder.

    Raises:
        InputError: If it was trained with no feature service, or uses none of its features.
    """
    retrieval = retrieval_of(folder)
    names = {column.name for column in record.columns}
    if retrieval is None or names.isdisjoint(retrieval.names):
        raise InputError(
            "this model was trained with no features of a feature service",
            where=f"feature server {spec.url}",
            remedy="Join them by retrieve_features before training, or name no feature server.",
        )
    table = Dataset.read(folder / FILE_NAME)
    columns = {one.name: Column(name=one.name, type=one.type) for one in table.columns}
    return OnlineFeatures(record, columns=columns, retrieval=retrieval, spec=spec, labels=labels)


def _names_in(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield the columns that a request's body names, in whatever form of a protocol."""
    for form in ("instances", "inputs", "dataframe_records", "dataframe_split"):
        table = request.get(form)
        if form == "dataframe_split" and isinstance(table, dict):
            table = table.get("columns")
            yield from (name for name in table or () if isinstance(name, str))
        elif isinstance(table, dict):
            yield from table
        elif isinstance(table, list) and table and isinstance(table[0], dict):
            tensors = {"name", "datatype", "data", "shape"} <= table[0].keys()
            yield from (one["name"] for one in table if isinstance(one, dict) and "name" in one) \
                if tensors else table[0]  # fmt: skip


def _checked(values: list[Any], column: Column, row: str) -> list[Any]:
    """Return entity keys as Feast is asked with; it would cut 1.5 to 1 and answer for another."""
    return [_key(value, column, row.format(index)) for index, value in enumerate(values)]


def _key(value: Any, column: Column, row: str) -> Any:
    whole = column.type == "integer"
    if whole and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int if whole else str) and not isinstance(value, bool):
        return value
    kind = "a whole number" if whole else "text"
    raise RequestError(f"{row}, entity key {show(column.name)}: expected {kind}, got {show(value)}")
