"""A Prometheus as far as a rollout asks it, on loopback, by the contract of its HTTP API.

It scrapes on its own, or takes what a test lays down as scraped; it ends the series of a target
that is gone. It fails on demand.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]

_KEPT = 50
"""Samples of a series."""

_SELECTOR = re.compile(r"(?P<outer>timestamp\()?(?P<name>\w+)\{(?P<matchers>.*)\}\)?")
_MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)",?')


@dataclass
class SmallPrometheus:
    """Answers instant queries of plain selectors, of `timestamp(...)` of one, and `time()`.

    Attributes:
        targets: Where to scrape, by the labels that each target gets.
        fault: Given a query, returns what to answer instead, or None.
        clock: Its time; None: the machine's.
    """

    targets: Callable[[], Mapping[Labels, str]] = dict
    fault: Callable[[str], web.Response | None] = lambda _: None
    clock: float | None = None
    url: str = ""
    asked: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    holding: bool = False
    _http: httpx.Client = field(
        default_factory=lambda: httpx.Client(trust_env=False, timeout=10, verify=False)
    )
    _samples: dict[Labels, list[tuple[float, float | None]]] = field(default_factory=dict)

    def now(self) -> float:
        return time.time() if self.clock is None else self.clock

    def lay_down(self, target: Labels, samples: Mapping[Labels, float]) -> None:
        """Take samples for those of one scrape of a target; a series that is not there ends."""
        moment = self.now()
        made = {target | key: value for key, value in samples.items()}
        for key in made.keys() | {key for key in list(self._samples) if target <= key}:
            kept = self._samples.get(key, [])[-_KEPT:]
            self._samples[key] = [*kept, (moment, made.get(key))]

    def forget(self, target: Labels) -> None:
        self.lay_down(target, {})

    def scrape(self) -> None:
        targets = dict(self.targets())
        known = {
            frozenset(pair for pair in key if pair[0] in ("namespace", "pod"))
            for key in list(self._samples)
        }
        for target in known - targets.keys():
            self.forget(target)
        for target, address in targets.items():
            try:
                text = self._http.get(f"{address}/metrics").text
            except httpx.HTTPError:
                self.forget(target)
                continue
            self.lay_down(target, samples_of(text))

    async def answer(self, request: web.Request) -> web.Response:
        assert request.path == "/api/v1/query"
        query = request.query["query"]
        self.asked.append(query)
        self.authorizations.append(request.headers.get("authorization", ""))
        instead = self.fault(query)
        if instead is not None:
            return instead
        moment = float(request.query.get("time", self.now()))
        if query == "time()":
            return answered("scalar", [moment, str(moment)])
        return answered("vector", self.vector(query, moment))

    def vector(self, query: str, moment: float) -> list[dict[str, Any]]:
        found = _SELECTOR.fullmatch(query)
        assert found is not None, query
        wanted = [("__name__", "=", found["name"]), *_MATCHER.findall(found["matchers"])]
        result = []
        for key, samples in list(self._samples.items()):
            labels = dict(key)
            scraped, value = next((s for s in reversed(samples) if s[0] <= moment), (0.0, None))
            if value is None or scraped < moment - 300:
                continue
            if all(_fits(labels.get(name, ""), kind, text) for name, kind, text in wanted):
                told = labels
                if found["outer"]:
                    told, value = {k: v for k, v in labels.items() if k != "__name__"}, scraped
                result.append({"metric": told, "value": [moment, repr(value)]})
        return result


def samples_of(text: str) -> dict[Labels, float]:
    return {
        frozenset({"__name__": sample.name, **sample.labels}.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def answered(kind: str, result: Any, **further: Any) -> web.Response:
    data = {"resultType": kind, "result": result}
    return web.json_response({"status": "success", "data": data, **further})


@contextlib.contextmanager
def small_prometheus(*, every: float = 0.0, **fields: Any) -> Iterator[SmallPrometheus]:
    """Yield one that answers; it scrapes `every` so many seconds, or not at all."""
    prometheus = SmallPrometheus(**fields)
    loop, over = asyncio.new_event_loop(), threading.Event()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", prometheus.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()

    def scrape() -> None:
        while not over.wait(every):
            if not prometheus.holding:
                prometheus.scrape()

    loop.run_until_complete(start())
    prometheus.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    threads = [threading.Thread(target=loop.run_forever)]
    threads += [threading.Thread(target=scrape)] if every else []
    for thread in threads:
        thread.start()
    try:
        yield prometheus
    finally:
        over.set()
        for thread in threads[1:]:
            thread.join()
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        threads[0].join()


def _fits(value: str, kind: str, text: str) -> bool:
    return bool(re.fullmatch(text, value)) if kind == "=~" else value == text
