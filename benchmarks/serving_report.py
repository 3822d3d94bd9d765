"""What `bench_serving.py` concludes from its figures, and how it prints them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from serving_servers import KSERVE, ONNX, ONNX_PEER, PEERS, SERVERS, SKLEARN, Server
from targets import Target

SHAPES = ((1, 1), (1, 8), (100, 1), (100, 8))
"""Rows in a request, and requests at once."""

LINEAR_CPU, TREE_CPU = 1 / 2, 1 / 4
ROWS_RATIO = 2.0
COLD_RATIO = 1 / 2
PROXY_MS = 1.0


def conclude(figures: dict[str, Any]) -> list[Target]:
    """Return each target of what was measured; a figure that is lacking is not a number."""
    targets: list[Target] = []
    for family, found in figures.get("models", {}).items():
        targets += _of_model(family, found)
    if "cold_start" in figures:
        targets += _of_starts(figures["cold_start"]["servers"])
    if "proxy" in figures:
        added = figures["proxy"].get("added_p50_ms", math.nan)
        targets.append(Target("proxy: added p50", added, PROXY_MS, "ms"))
    return targets


def _of_model(family: str, figures: dict[str, Any]) -> Iterator[Target]:
    cpu_bound = LINEAR_CPU if family == "linear" else TREE_CPU
    for rows, concurrency in SHAPES:
        shape = f"{rows}x{concurrency}"
        what = f"{family}, {rows} row{'s' * (rows > 1)}, {concurrency} at once"

        def against(
            our: Server, peers: Sequence[Server], key: str, *, their: str = "", of: str = shape
        ) -> tuple[float, str]:
            return _against(figures, our, peers, of, key, their or key)

        if rows == 1:
            ratio, best = against(ONNX, PEERS, "cpu_ms")
            yield Target(f"{what}: CPU beside {best}", ratio, cpu_bound)
            ratio, best = against(ONNX, [ONNX_PEER], "cpu_ms")
            yield Target(f"{what}: CPU beside {best}", ratio, 1.0)
        ratio, best = against(SKLEARN, [KSERVE], "cpu_ms")
        yield Target(f"{what}: CPU of the fallback to scikit-learn beside {best}", ratio, 1.0)
        if concurrency == 8:
            ratio, best = against(ONNX, PEERS, "p99_ms", their="p50_ms")
            yield Target(f"{what}: p99 beside the p50 of {best}", ratio, 1.0)
        if rows > 1:
            ratio, best = against(ONNX, PEERS, "rows_per_second")
            yield Target(f"{what}: rows/s beside {best}", ratio, ROWS_RATIO, side="at least")


def _against(
    figures: dict[str, Any], our: Server, peers: Sequence[Server], shape: str, key: str, their: str
) -> tuple[float, str]:
    """Return our figure as a share of the best peer's, and that peer."""
    found = {p.name: figures[p.name][shape][their] for p in peers if _sound(figures[p.name], shape)}
    if not found or not _sound(figures[our.name], shape):
        return math.nan, " and ".join(peer.name for peer in peers)
    best = (max if key == "rows_per_second" else min)(found, key=lambda name: found[name])
    return figures[our.name][shape][key] / found[best], best


def _sound(found: dict[str, Any], shape: str) -> bool:
    return shape in found and not found[shape]["failures"]


def _of_starts(servers: dict[str, dict[str, list[float]]]) -> Iterator[Target]:
    """Each pair is of one round; the peer is the one that is fastest by its own median."""
    peers = [peer.name for peer in (*PEERS, ONNX_PEER) if peer.name in servers]
    for key, said in (("seconds", "time to ready"), ("cpu", "CPU to ready")):
        best = min(peers, key=lambda name: statistics.median(servers[name][key]), default="nobody")
        ratio = _paired(servers, ONNX.name, best, key)
        yield Target(f"{said} beside {best}, the fastest", ratio, COLD_RATIO)
    ratio = _paired(servers, SKLEARN.name, KSERVE.name, "cpu")
    yield Target(f"CPU to ready of the fallback beside {KSERVE.name}", ratio, 1.0)


def _paired(servers: dict[str, dict[str, list[float]]], ours: str, theirs: str, key: str) -> float:
    if ours not in servers or theirs not in servers:
        return math.nan
    pairs = zip(servers[ours][key], servers[theirs][key], strict=True)
    return statistics.median(our / their for our, their in pairs)


def print_versions(report: dict[str, Any]) -> None:
    """Print what is compared, and loudly what is not."""
    for name, versions in report["versions"].items():
        print(f"{name:20}{', '.join(f'{key} {value}' for key, value in versions.items())}")
    for name, problem in report["absent"].items():
        print(f"\n!!! {name} IS NOT IN THE COMPARISON. {problem}\n")


def print_model(family: str, figures: dict[str, Any]) -> None:
    """Print the table of one model."""
    for name, found in figures.items():
        if "problem" in found:
            print(f"\n!!! {family}, {name}: {found['problem']}")
    for rows, concurrency in SHAPES:
        print(f"\n{family}: {rows} row(s) a request, {concurrency} at once")
        print(
            f"  {'':20}{'CPU ms/req':>11}{'p50 ms':>9}{'p99 ms':>9}{'req/s':>9}{'rows/s':>10}"
            f"{'requests':>10}"
        )
        for server in SERVERS:
            found = figures[server.name].get(f"{rows}x{concurrency}")
            if found is None:
                print(f"  {server.name:20}!!! NO FIGURES, see above")
                continue
            print(
                f"  {server.name:20}{found['cpu_ms']:>11.3f}{found['p50_ms']:>9.2f}"
                f"{found['p99_ms']:>9.2f}{found['requests_per_second']:>9.0f}"
                f"{found['rows_per_second']:>10.0f}{found['requests']:>10}"
                + (f"  !!! {found['failures']} FAILED" if found["failures"] else "")
            )
    held = ", ".join(
        f"{name} {found['rss_mb']:.0f} ({found['pss_mb']:.0f})"
        for name, found in figures.items()
        if "rss_mb" in found
    )
    print(f"  memory after the load, MB resident (its share of it): {held}", flush=True)


def print_starts(found: dict[str, Any]) -> None:
    """Print the starts, each figure the median of its server."""
    print(f"\nstart to ready, {found['model']}, medians of {found['times']}")
    print(f"  {'':20}{'seconds':>9}{'CPU s':>8}{'resident MB':>13}{'its share':>11}")
    for server in SERVERS:
        if server.name not in found["servers"]:
            print(f"  {server.name:20}!!! NO FIGURES: {found['problems'].get(server.name)}")
            continue
        each = {k: statistics.median(values) for k, values in found["servers"][server.name].items()}
        print(
            f"  {server.name:20}{each['seconds']:>9.2f}{each['cpu']:>8.2f}{each['rss_mb']:>13.0f}"
            f"{each['pss_mb']:>11.0f}",
            flush=True,
        )


def print_proxy(found: dict[str, Any]) -> None:
    """Print what the local proxy adds."""
    if "problem" in found:
        print(f"\nproxy: !!! NO FIGURES: {found['problem']}\n")
        return
    direct, proxy = found["direct"], found["proxy"]
    print(
        f"\nproxy: p50 {direct['p50_ms']:.2f} ms direct, {proxy['p50_ms']:.2f} ms through it; "
        f"p99 {direct['p99_ms']:.2f} and {proxy['p99_ms']:.2f} ms\n"
    )
    if direct["failures"] or proxy["failures"]:
        print(f"!!! FAILED: {direct['failures']} direct, {proxy['failures']} through it\n")
