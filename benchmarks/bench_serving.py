"""Penstock's server beside MLflow's, MLServer and bare kserve servers: same models, one run.

Each server runs alone on the same pipeline; before anything is timed, its answers must equal
scikit-learn's (labels equal, probabilities within 1e-6). Load comes in short stretches that go
round the servers in turn, so that what else the machine does falls on all alike. CPU is user and
system time of a server's whole process tree, divided by its requests. Connections are kept alive
and every request has other rows; 1 and 100 rows a request, 1 and 8 requests at once.

    python benchmarks/bench_serving.py --models hist_gradient_boosting --seconds 0.5

Starts are paired: each server once a round, in an order that turns round by round. It exits 1 when
a target is missed, or its figure is lacking. `--parts starts` measures and judges them alone.

Peers get what favours them: see serving_servers.py. Their environments are made below build/peers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from serving_models import FAMILIES, Served, Workshop
from serving_report import (
    SHAPES,
    conclude,
    print_model,
    print_proxy,
    print_starts,
    print_versions,
)
from serving_running import (
    Running,
    ServerError,
    Stretches,
    check,
    load,
    running,
    write_bodies,
)
from serving_servers import NAME, ONNX, ONNX_PEER, ROOT, SERVERS, InstallError, Server, install
from targets import report

from penstock.errors import PenstockError

POOL = 1000
"""Rows of the holdout that requests are made of."""

COLD_MODEL = "hist_gradient_boosting"

QUESTION = (
    "CPU and latency of a request, time to ready and memory of Penstock's server, beside MLflow's, "
    "MLServer, a bare kserve server with scikit-learn and one with ONNX Runtime, which all serve "
    "the same fitted pipelines. A peer that a target names is the best of the first three, or the "
    "one with ONNX Runtime."
)


PARTS = ("load", "starts", "proxy")


def main() -> int:
    """Print tables and targets and, with --json, write them."""
    options = _options()
    _warn_of_small_machine()
    figures: dict[str, Any] = {"load_average": os.getloadavg()[0], "versions": {}, "absent": {}}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        bench = Bench(Path(name), figures, seconds=options.seconds, rounds=options.rounds)
        bench.install(ROOT / "build" / "peers")
        print_versions(figures)
        if "load" in options.parts:
            for family in options.models:
                print_model(family, bench.model(family))
        one = COLD_MODEL if COLD_MODEL in options.models else options.models[0]
        if "starts" in options.parts:
            bench.cold_starts(one, times=options.starts)
            print_starts(figures["cold_start"])
        if "proxy" in options.parts:
            bench.proxy(one)
            print_proxy(figures["proxy"])
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
    return report(
        "serving",
        question=QUESTION,
        figures=figures,
        targets=conclude(figures),
        path=options.json,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--models", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=1.2, help="one stretch of load")
    parser.add_argument("--rounds", type=int, default=3, help="stretches of each kind")
    parser.add_argument("--starts", type=int, default=10, help="starts of each server")
    return parser.parse_args()


class Bench:
    """The benchmark's steps; each writes its figures into the report."""

    def __init__(
        self, folder: Path, report: dict[str, Any], *, seconds: float, rounds: int
    ) -> None:
        self._folder = folder
        self._report = report
        self._seconds = seconds
        self._rounds = rounds
        self._programs: dict[str, Path] = {}
        self._workshop = Workshop(folder / "models")
        self._rows = self._workshop.rows(POOL)
        self._made: dict[str, Served] = {}

    def install(self, folder: Path) -> None:
        """Make the peers' environments; one that cannot be made is reported, not left out."""
        for server in SERVERS:
            try:
                programs, versions = install(server, folder)
            except InstallError as error:
                self._report["absent"][server.name] = f"CANNOT BE INSTALLED: {error}"
                continue
            self._programs[server.name] = programs
            self._report["versions"][server.name] = versions

    def model(self, family: str) -> dict[str, Any]:
        """Load every server with one model; return its figures."""
        served = self._served(family)
        figures: dict[str, Any] = {}
        self._report.setdefault("models", {})[family] = figures
        truth = self._workshop.truth(served, self._rows)
        with ExitStack() as stack:
            up = []
            for server in SERVERS:
                figures[server.name] = {}
                try:
                    one = self._bring_up(stack, server, served)
                    difference = check(one, self._rows[:200], truth[:200], _classes(served))
                except ServerError as error:
                    figures[server.name]["problem"] = str(error)
                    continue
                figures[server.name] |= {"max_difference": difference}
                up.append(one)
            self._load(up, figures)
            for one in up:
                figures[one.server.name] |= one.memory()
        return figures

    def _served(self, family: str) -> Served:
        if family not in self._made:
            self._made[family] = self._workshop.make(family)
        return self._made[family]

    def _bring_up(
        self, stack: ExitStack, server: Server, served: Served, *, turn: str = "load"
    ) -> Running:
        if server.name in self._report["absent"]:
            raise ServerError(self._report["absent"][server.name])
        if server in (ONNX, ONNX_PEER) and not served.export:
            raise ServerError(f"the pipeline does not convert: {served.refusal}")
        return stack.enter_context(
            running(
                server,
                served,
                programs=self._programs[server.name].absolute(),
                folder=self._run_folder(server, served, turn),
            )
        )

    def _run_folder(self, server: Server, served: Served, turn: str) -> Path:
        return self._folder / "runs" / turn / served.family / server.name.replace(" ", "-")

    def _load(self, up: list[Running], figures: dict[str, Any]) -> None:
        for rows, concurrency in SHAPES:
            bodies = {
                one.server.name: write_bodies(
                    one.server, self._rows, per_request=rows, folder=one.log.parent
                )
                for one in up
            }
            stretches = {one.server.name: Stretches() for one in up}
            for turn in range(self._rounds + 1):
                shift = turn % len(up) if up else 0
                for one in up[shift:] + up[:shift]:
                    before = one.cpu()
                    result = load(
                        one.port,
                        path=one.server.path,
                        bodies=bodies[one.server.name],
                        concurrency=concurrency,
                        seconds=self._seconds if turn else min(0.5, self._seconds),
                    )
                    # The first turn is the warm-up.
                    if turn:
                        stretches[one.server.name].add(result, cpu=one.cpu() - before)
            for name, found in stretches.items():
                figures[name][f"{rows}x{concurrency}"] = found.figures(rows=rows)
                if found.failures:
                    figures[name]["problem"] = (
                        f"{found.failures} failed requests, the first: {found.first_failure}"
                    )

    def cold_starts(self, family: str, *, times: int) -> None:
        """Start every server several times: seconds and CPU seconds to ready, and memory then."""
        served = self._served(family)
        taken: dict[str, dict[str, list[float]]] = {}
        problems: dict[str, str] = {}
        for turn in range(times):
            shift = turn % len(SERVERS)
            order = SERVERS[shift:] + SERVERS[:shift]
            for server in order if turn % 2 else order[::-1]:
                if server.name in problems:
                    continue
                try:
                    with ExitStack() as stack:
                        # A new folder: Penstock would read what it captured before.
                        one = self._bring_up(stack, server, served, turn=f"start-{turn}")
                        found = {"seconds": one.ready_seconds, "cpu": one.cpu(), **one.memory()}
                except ServerError as error:
                    problems[server.name] = str(error)
                    continue
                for name, value in found.items():
                    taken.setdefault(server.name, {}).setdefault(name, []).append(value)
        self._report["cold_start"] = {
            "model": family,
            "times": times,
            "problems": problems,
            "servers": {name: each for name, each in taken.items() if name not in problems},
        }

    def proxy(self, family: str) -> None:
        """Ask one server directly and through the local proxy, in turn."""
        from penstock.rollout.backends.local import services
        from penstock.rollout.backends.local.backend import local_service
        from penstock.rollout.router import Release

        served, home = self._served(family), self._folder / "router"
        release = Release(
            version=1,
            uri=f"models:/{NAME}/1",
            model=served.digest,
            folder=served.penstock,
            export=served.export,
        )
        router = local_service(home, service=NAME, port=0)
        try:
            with router.exclusive():
                direct = router.deploy(release, timeout=120)
                router.promote(1)
            self._report["proxy"] = self._compare(direct.url, router.url)
        except (PenstockError, ServerError) as error:
            self._report["proxy"] = {"problem": str(error)}
        finally:
            services.stop(home)

    def _compare(self, direct: str, proxy: str) -> dict[str, Any]:
        folder = self._folder / "router"
        bodies = write_bodies(ONNX, self._rows, per_request=1, folder=folder)
        found = {"direct": Stretches(), "proxy": Stretches()}
        added = []
        for turn in range(2 * self._rounds + 1):
            medians = {}
            for name, url in (("direct", direct), ("proxy", proxy)):
                result = load(
                    int(url.rpartition(":")[2]),
                    path=ONNX.path,
                    bodies=bodies,
                    concurrency=1,
                    seconds=self._seconds if turn else 0.5,
                )
                if turn:
                    found[name].add(result, cpu=0.0)
                medians[name] = float(np.median(result["latencies"])) / 1000
            if turn:
                added.append(medians["proxy"] - medians["direct"])
        return {
            **{name: one.figures(rows=1) for name, one in found.items()},
            "added_p50_ms": statistics.median(added),
        }


def _classes(served: Served) -> list[str]:
    return [str(name) for name in served.pipeline.classes_]


def _warn_of_small_machine() -> None:
    cores, busy = os.cpu_count() or 1, os.getloadavg()[0]
    if cores < 2:
        print("WARNING: ONE CORE ONLY. Client and server share it; latencies say little.")
    if busy > cores / 2:
        print(f"WARNING: THE MACHINE IS BUSY (load {busy:.1f} on {cores} cores): look at ratios.")


if __name__ == "__main__":
    sys.exit(main())
