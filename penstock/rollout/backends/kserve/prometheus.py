"""Prometheus, queried by its HTTP API for the values of counters."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from penstock.common.secrets import resolve
from penstock.errors import ServiceError
from penstock.rollout.access import is_open
from penstock.rollout.spec import PrometheusSpec

Series = tuple[Mapping[str, str], float]
"""The labels of a series, and what it stands at."""

_TIMEOUT = 5.0
_PATIENCE = 3.0
_PAUSE = 0.25
_RETRIED = frozenset({429, 500, 502, 503, 504})
_REMEDY = "Look at deployment.kserve.prometheus, and ask Prometheus the same."


class Prometheus:
    """One Prometheus, or what has its API.

    What fails for a moment (no connection, 429, 5xx) is tried again for some seconds: a rollout
    looks at other things too, and must not wait for this one.

    Args:
        spec: Where it is.
    """

    def __init__(self, spec: PrometheusSpec) -> None:
        self._spec = spec
        address = resolve(spec.url, where="deployment.kserve.prometheus.url")
        self._url = f"{address.rstrip('/')}/api/v1/query"
        self._http: httpx.Client | None = None

    def close(self) -> None:
        """Give the connections back; the next query opens others."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def now(self) -> float:
        """Return its own time, unix seconds: figures are never dated by another clock.

        Raises:
            ServiceError: If it does not answer as it must.
        """
        value = self._data("time()", kind="scalar")
        return self._number(value, "time()")

    def ask(self, query: str, *, at: float) -> list[Series]:
        """Return what an instant query yields at a moment, in no order.

        Args:
            query: PromQL that yields an instant vector.
            at: The moment, by Prometheus' clock.

        Raises:
            ServiceError: If it does not answer, refuses the query, answers in part only (a warning)
                or in anything but numbers. The message names the address and the query.
        """
        found = []
        for each in self._data(query, kind="vector", at=at):
            try:
                labels, value = each["metric"], each["value"]
            except (LookupError, TypeError) as error:
                raise self._error("it answers with something else than counters", query) from error
            found.append((labels, self._number(value, query)))
        return found

    def _data(self, query: str, *, kind: str, at: float | None = None) -> Any:
        moment = {} if at is None else {"time": f"{at:.3f}"}
        response = self._response({"query": query, **moment}, query)
        try:
            answer = response.json()
            if answer["status"] != "success":
                message = f"{answer.get('errorType')}: {answer.get('error')}"
                raise self._error(f"it refuses the query: {message}", query)
            data = answer["data"]
            if answer.get("warnings"):
                raise self._error(f"it answers in part: {'; '.join(answer['warnings'])}", query)
            if data["resultType"] != kind:
                raise self._error(f"it answers with a {data['resultType']}, not a {kind}", query)
            # One that is made of others, as Thanos or Mimir, may write an empty result as null.
            return data.get("result") or []
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            message = f"{response.status_code}: {response.text[:200]}"
            raise self._error(f"it does not answer as Prometheus does: {message}", query) from error

    def _response(self, parameters: Mapping[str, str], query: str) -> httpx.Response:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                response = self._client().get(
                    self._url, params=dict(parameters), headers=self._headers()
                )
            except httpx.HTTPError as error:
                message = str(error) or type(error).__name__
            except OSError as error:
                raise self._error(f"a file for its connection cannot be read: {error}") from error
            else:
                if response.status_code in (401, 403):
                    raise self._error(f"it does not let this account ask: {response.status_code}")
                if response.status_code not in _RETRIED:
                    return response
                message = f"{response.status_code}: {response.text[:200]}"
            if time.monotonic() + _PAUSE > deadline:
                raise self._error(f"it does not answer: {message}", query)
            time.sleep(_PAUSE)

    def _client(self) -> httpx.Client:
        if self._http is None:
            # Read only now, so that what needs no figures works without the file, and only where
            # they are needed: to read the system's takes longer than to ask.
            ca_file = self._spec.ca_file
            plain = not ca_file and is_open(self._url)
            verify = False if plain else ssl.create_default_context(cafile=ca_file or None)
            self._http = httpx.Client(verify=verify, timeout=_TIMEOUT, trust_env=False)
        return self._http

    def _headers(self) -> dict[str, str]:
        if not self._spec.token_file:
            return {}
        # Anew each time: a service account's token is replaced every hour.
        token = Path(self._spec.token_file).read_text(encoding="utf-8").strip()
        return {"authorization": f"Bearer {token}"}

    def _number(self, value: Any, query: str) -> float:
        try:
            number = float(value[1])
        except (LookupError, TypeError, ValueError) as error:
            raise self._error(f"it answers with {value!r}, not a number", query) from error
        if not math.isfinite(number) or number < 0:
            raise self._error(f"it answers with {value[1]}, which no counter stands at", query)
        return number

    def _error(self, what: str, query: str = "") -> ServiceError:
        suffix = f", query {query}" if query else ""
        return ServiceError(what, where=f"Prometheus {self._spec.url}{suffix}", remedy=_REMEDY)
