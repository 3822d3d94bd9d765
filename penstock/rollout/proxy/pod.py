"""The proxy of an experiment on a cluster: one of several pods that give a user the same arm.

`python -m penstock.rollout.proxy.pod --table JSON --spool FOLDER --to ADDRESS ...`

Its routing table is an argument and never changes: another weight is another pod, which a rolling
update brings. So nothing distinguishes two pods of one revision, and a pod that is started again
is as it was. Events and, every few seconds, what each arm has answered are written into a spool and
shipped to the captures store, as captured rows are.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp import web

from penstock.captures.files import Bounds
from penstock.rollout.proxy.forward import Proxy
from penstock.rollout.proxy.pod_limits import HEALTH
from penstock.rollout.proxy.pod_metrics import MEDIA, METRICS, PodMetrics
from penstock.rollout.proxy.requests import Limits, error
from penstock.rollout.proxy.routing_table import RoutingTable
from penstock.rollout.proxy.server import Handle, runner_of
from penstock.rollout.proxy.spool import SpooledEvents
from penstock.rollout.proxy.upstream import Upstream
from penstock.serving.connection_limits import raise_file_limit
from penstock.serving.request_headers import key_of
from penstock.serving.shipment import Shipment

_BEATS = 4
"""Times in each segment that it is written down what the arms have answered. It says too that the
pod lives, and that what it wrote before is whole."""

_TICK = 0.2
_HEALTH_CONNECTIONS = 20


async def _serve(options: argparse.Namespace, table: RoutingTable, events: SpooledEvents) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    upstream, limits = Upstream(), Limits()
    # The rollout's own requests go past it, so no header of theirs is genuine here.
    proxy = Proxy(upstream, key=key_of(secrets.token_hex(16)), limits=limits, table=table)
    public = await runner_of(
        proxy.handle, connections=limits.connections, body_seconds=limits.seconds
    )
    metrics = PodMetrics(table, events, service=options.service)
    health = await runner_of(
        _health_of(proxy, metrics), connections=_HEALTH_CONNECTIONS, body_seconds=limits.seconds
    )
    await web.TCPSite(public, options.host, options.port, backlog=1024).start()
    await web.TCPSite(health, options.host, options.health_port).start()
    every = options.segment_seconds / _BEATS
    beating = asyncio.create_task(_beat(table, events, every=every))
    await stopped.wait()
    await public.cleanup()
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
    await health.cleanup()
    upstream.close()
    if table.experiment is not None:
        table.experiment.flush()
    events.write(_counts(table))


async def _beat(table: RoutingTable, events: SpooledEvents, *, every: float) -> None:
    due = 0.0
    while True:
        if time.monotonic() >= due:
            due = time.monotonic() + every
            events.write(_counts(table))
        events.tick()
        await asyncio.sleep(_TICK)


def _counts(table: RoutingTable) -> dict[str, Any]:
    arms = {str(arm.version): arm.stats.counts() for arm in table.arms.values()}
    return {"e": "counts", "t": time.time(), "weight": table.weight, "arms": arms}


def _health_of(proxy: Proxy, metrics: PodMetrics) -> Handle:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == METRICS:
            return web.Response(body=metrics.exposition(), headers={"Content-Type": MEDIA})
        if request.path != HEALTH:
            return error(404, f"unknown path: use GET {HEALTH} or GET {METRICS}")
        body = orjson.dumps(proxy.table.counts(), option=orjson.OPT_NON_STR_KEYS)
        return web.Response(body=body, content_type="application/json")

    return handle


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments, which the pod's template fills."""
    found = argparse.ArgumentParser(prog="python -m penstock.rollout.proxy.pod")
    add = found.add_argument
    add("--table", required=True, help="routing table as JSON; see proxy/routing_table.py")
    add("--service", required=True, help="the service")
    add("--experiment", required=True, help="the experiment's identity")
    add("--host", default="127.0.0.1", help="address to listen at")
    add("--port", type=int, required=True, help="port of users' requests")
    add("--health-port", type=int, required=True, help=f"port of GET {HEALTH} and {METRICS}")
    add("--spool", type=Path, required=True, help="folder that events are written into")
    add("--to", required=True, help="address of the captures store")
    add("--segment-seconds", type=float, default=60.0, help="age at which a segment is shipped")
    add("--segment-bytes", type=int, default=8 << 20, help="size at which a segment is shipped")
    add("--spool-bytes", type=int, default=256 << 20, help="what the spool holds at most")
    return found


def main(arguments: list[str]) -> int:
    """Run the proxy until SIGTERM; requests that were accepted are answered, events shipped."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    options = parser().parse_args(arguments)
    raise_file_limit()
    bounds = Bounds(
        file_bytes=options.segment_bytes,
        seconds=options.segment_seconds,
        spool_bytes=options.spool_bytes,
    )
    events = SpooledEvents(
        options.spool, bounds=bounds, service=options.service, experiment=options.experiment
    )
    table = RoutingTable().replaced(orjson.loads(options.table), events=events)
    shipment = Shipment(options.spool, options.to)
    try:
        uvloop.run(_serve(options, table, events))
    finally:
        events.close()
        shipment.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
