"""What `bench_serving.py` concludes from its figures, and how it prints them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serving_servers import ONNX, PEERS, SERVERS

SHAPES = ((1, 1), (1, 8), (100, 1), (100, 8))
"""Rows in a request, and requests at once."""

LINEAR_CPU, TREE_CPU = 1 / 2, 1 / 4
ROWS_RATIO = 2.0
COLD_RATIO = 1 / 2
SPLITTER_MS = 1.0

Target = dict[str, Any]


def conclude(report: dict[str, Any]) -> list[Target]:
    """Return each target with its figure; `met` is None where a figure is lacking."""
    targets: list[Target] = []
    for family, figures in report["models"].items():
        targets += _of_model(family, figures)
    targets.append(_cold_start(report["cold_start"]["seconds"]))
    added = report["splitter"].get("added_p50_ms")
    targets.append(_target("splitter: added p50, ms", added, SPLITTER_MS))
    return targets


def _of_model(family: str, figures: dict[str, Any]) -> Iterator[Target]:
    cpu_bound = LINEAR_CPU if family == "linear" else TREE_CPU
    for rows, concurrency in SHAPES:
        shape = f"{rows}x{concurrency}"
        what = f"{family}, {rows} row{'s' * (rows > 1)}, {concurrency} at once"
        ours = figures[ONNX.name].get(shape)
        theirs = {p.name: figures[p.name][shape] for p in PEERS if shape in figures[p.name]}
        if rows == 1:
            ratio, best = _against(ours, theirs, "cpu_ms", "cpu_ms", least=True)
            yield _target(f"{what}: CPU / {best}'s", ratio, cpu_bound)
        if concurrency == 8:
            ratio, best = _against(ours, theirs, "p99_ms", "p50_ms", least=True)
            yield _target(f"{what}: p99 / {best}'s p50", ratio, 1.0)
        if rows > 1:
            ratio, best = _against(ours, theirs, "rows_per_second", "rows_per_second", least=False)
            yield _target(f"{what}: rows/s / {best}'s", ratio, ROWS_RATIO, at_least=True)


def _against(
    ours: dict[str, float] | None,
    theirs: dict[str, dict[str, float]],
    key: str,
    their_key: str,
    *,
    least: bool,
) -> tuple[float | None, str]:
    """Return our figure as a share of the best peer's, and that peer."""
    if not theirs:
        return None, "nobody"
    best = (min if least else max)(theirs, key=lambda name: theirs[name][their_key])
    return (ours[key] / theirs[best][their_key] if ours else None), best


def _cold_start(seconds: dict[str, float]) -> Target:
    theirs = {peer.name: seconds[peer.name] for peer in PEERS if peer.name in seconds}
    if not theirs or ONNX.name not in seconds:
        return _target("cold start / the fastest's", None, COLD_RATIO)
    best = min(theirs, key=lambda name: theirs[name])
    return _target(f"cold start / {best}'s", seconds[ONNX.name] / theirs[best], COLD_RATIO)


def _target(what: str, value: float | None, bound: float, *, at_least: bool = False) -> Target:
    met = None if value is None else value >= bound if at_least else value <= bound
    return {"target": what, "value": value, "bound": bound, "at_least": at_least, "met": met}


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
        f"{name} {found['memory_mb']:.0f}"
        for name, found in figures.items()
        if "memory_mb" in found
    )
    print(f"  memory after the load, MB: {held}", flush=True)


def print_rest(report: dict[str, Any]) -> None:
    """Print cold starts, the splitter, and every target."""
    cold = report["cold_start"]
    print(f"\ncold start to ready, seconds (CPU), {cold['model']}, median of {cold['times']}")
    for server in SERVERS:
        if server.name in cold["seconds"]:
            cpu = cold["seconds"][f"{server.name} CPU"]
            print(f"  {server.name:20}{cold['seconds'][server.name]:>7.2f} ({cpu:.2f})")
        else:
            print(f"  {server.name:20}!!! NO FIGURES")
    _print_splitter(report["splitter"])
    for target in report["targets"]:
        sign = ">=" if target["at_least"] else "<="
        value = "none" if target["value"] is None else f"{target['value']:.3f}"
        verdict = "met" if target["met"] else "NOT MET"
        print(f"{target['target']:70}{value:>8}  {sign} {target['bound']:<5g} {verdict}")


def _print_splitter(found: dict[str, Any]) -> None:
    if "problem" in found:
        print(f"\nsplitter: !!! NO FIGURES: {found['problem']}\n")
        return
    direct, front = found["direct"], found["front"]
    print(
        f"\nsplitter: p50 {direct['p50_ms']:.2f} ms direct, {front['p50_ms']:.2f} ms through it; "
        f"p99 {direct['p99_ms']:.2f} and {front['p99_ms']:.2f} ms\n"
    )
    if direct["failures"] or front["failures"]:
        print(f"!!! FAILED: {direct['failures']} direct, {front['failures']} through it\n")
