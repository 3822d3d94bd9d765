"""A client of Feast's feature server: present features of entities, over plain HTTP."""

from __future__ import annotations

import contextlib
import http.client
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from penstock.errors import ServiceError
from penstock.records.dataset import FILE_NAME, Dataset
from penstock.records.retrieval import FeatureRetrieval, RetrievedFeature

PRESENT, NULL = "PRESENT", "NULL_VALUE"
"""Statuses of a value that is known; NOT_FOUND and OUTSIDE_MAX_AGE are the others."""

_PATH = "/get-online-features"
_LARGEST = 1 << 26


@dataclass(frozen=True)
class OnlineFeature:
    """One feature of some entities.

    Attributes:
        values: One value an entity, None where there is none.
        statuses: As Feast names them.
        times: When each value was measured.
    """

    values: list[Any]
    statuses: list[str]
    times: list[datetime]


class FeatureServer:
    """A feature server, and the feature service that it is asked for.

    Args:
        url: Its address; a path in it is kept.
        service: The FeatureService.
        features: Its features.
        timeout: Seconds it may take to answer.
    """

    def __init__(
        self, url: str, *, service: str, features: Sequence[RetrievedFeature], timeout: float
    ) -> None:
        self._url = urlsplit(url)
        self._service = service
        self._features = {feature.name: feature for feature in features}
        self._timeout = timeout
        self._kept = threading.local()
        self.where = f"{url.rstrip('/')}{_PATH}"

    def ask(self, keys: Mapping[str, Sequence[Any]]) -> dict[str, OnlineFeature]:
        """Return the features of entities, by name.

        Args:
            keys: One value an entity, by the name of the entity key.

        Raises:
            ServiceError: If it does not answer in time, or answers otherwise than such a server.
        """
        body = orjson.dumps({"feature_service": self._service, "entities": keys})
        status, answer = self._post(body)
        if status != 200:
            said = " ".join(answer.decode(errors="replace").split())
            raise ServiceError(
                f"the feature server answered {status}: {said:.300}", where=self.where
            )
        try:
            return self._read(orjson.loads(answer), rows=len(next(iter(keys.values()))))
        except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
            raise ServiceError(
                f"what answers is no feature server of this service: {error!r:.200}",
                where=self.where,
            ) from error

    def _read(self, answer: Any, *, rows: int) -> dict[str, OnlineFeature]:
        names = answer["metadata"]["feature_names"]
        found = dict(zip(names, answer["results"], strict=True))
        return {
            name: _feature(feature, found[name], rows=rows)
            for name, feature in self._features.items()
        }

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """Return status and body; once more where a connection that was kept is closed by now."""
        kept = getattr(self._kept, "connection", None)
        try:
            if kept is not None:
                with contextlib.suppress(http.client.HTTPException, ConnectionError):
                    return self._exchange(kept, body)
            return self._exchange(self._connection(), body)
        except (http.client.HTTPException, OSError) as error:
            late = isinstance(error, TimeoutError)
            why = f" within {self._timeout:g} s" if late else f": {error}"
            raise ServiceError(
                f"the feature server does not answer{why}", where=self.where
            ) from error

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._timeout)
        return http.client.HTTPConnection(host, port, timeout=self._timeout)

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
        self._kept.connection = None
        try:
            path = f"{self._url.path.rstrip('/')}{_PATH}"
            connection.request("POST", path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            answer = response.read(_LARGEST)
        except BaseException:
            connection.close()
            raise
        self._kept.connection = connection
        return response.status, answer


def retrieval_of(folder: Path) -> FeatureRetrieval | None:
    """Return which feature service a model was trained with, by its folder; None: with none."""
    place = folder / FILE_NAME
    origin = Dataset.read(place).origin if place.is_file() else None
    return None if origin is None else origin.retrieval


def _feature(feature: RetrievedFeature, found: Mapping[str, Any], *, rows: int) -> OnlineFeature:
    values, statuses = found["values"], [str(status) for status in found["statuses"]]
    times = [datetime.fromisoformat(time) for time in found["event_timestamps"]]
    if not len(values) == len(statuses) == len(times) == rows:
        raise ValueError(f"{len(values)} values of {feature.name} for {rows} entities")
    known = [
        _as_declared(feature, value) if status == PRESENT else None
        for value, status in zip(values, statuses, strict=True)
    ]
    return OnlineFeature(known, statuses, times)


def _as_declared(feature: RetrievedFeature, value: Any) -> Any:
    """Return a value as the offline store's was taken: a Float32 has 32 bits, however written."""
    if value is None or feature.type != "Float32":
        return value
    return struct.unpack("f", struct.pack("f", value))[0]
