"""Two services under continuous load, a release of each every minute, and kills at random.

Real model servers, proxies and controllers on this machine. Candidates are good and bad in turn (by
fault injection), and in most releases something is killed by SIGKILL: the controller, the proxy,
the stable server or the candidate's. What must hold is printed as claims, each with its figure and
its bound; the exit code is 1 if one of them fails.

    python benchmarks/soak.py --minutes 10

A request may fail only in the seconds after a kill of what was answering it (`soak_claims.MENDED`):
the proxy, or a model server that had traffic. A killed controller costs nobody a request.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from serving_models import Workshop
from soak_claims import judge_all, print_all
from soak_figures import Watch
from soak_release import store_of
from soak_services import HERE, SERVICES, Soak
from targets import Target, report

from penstock.rollout.backends.local.services import stop

QUESTION = (
    "Whether two services under load, with a release of each every minute and processes killed at "
    "random, lose no request but those that a kill costs, and leave nothing behind."
)
CONNECTIONS, RATE = 3, 12.0

PLAN: dict[str, Any] = {
    "interval": 0.5,
    "shadow": {"min_pairs": 100, "max_wait": 60},
    "steps": [
        {"weight": 20, "min_samples": 60, "max_wait": 90},
        {"weight": 50, "min_samples": 60, "max_wait": 90},
    ],
    # Quantiles of latency on a machine that has other work are not what is tried here.
    "rules": {"latency_ratio": 10**6},
    "traffic": {"source": "both", "rate": 60},
}


def main() -> int:
    """Run, print the figures, and return 1 if a claim does not hold."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="penstock-soak-") as name:
        folder = Path(name).resolve()
        bodies = _prepare(folder)
        soak = Soak(folder, options.seed)
        watch = Watch(soak.home)
        try:
            with watch:
                loaded, failures = _run(soak, bodies, minutes=options.minutes)
            claims, figures = judge_all(soak, watch, loaded, failures)
        finally:
            stop(soak.home, force=True)
        left = [process.pid for process in watch.running()]
        claims.append(("processes that are left after stop", len(left), 0))
    print_all(soak, watch, loaded, failures)
    print("\nClaims")
    return report(
        "soak",
        question=QUESTION,
        figures={"minutes": options.minutes, **figures},
        targets=[Target(what, figure, bound, "") for what, figure, bound in claims],
        path=options.json,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the kills")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser.parse_args()


def _prepare(folder: Path) -> list[str]:
    """Make the model and the store, and return requests."""
    from penstock import tracking

    workshop = Workshop(folder / "models", rows=4_000)
    workshop.make("hist_gradient_boosting")
    (folder / "plan.json").write_text(json.dumps(PLAN))
    tracking.client(store_of(folder))
    return [json.dumps({"instances": [row]}) for row in workshop.rows(200)]


def _run(
    soak: Soak, bodies: list[str], *, minutes: float
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    for service in SERVICES:
        said = soak.finish(soak.command(service, "release"), f"first release of {service}")
        print(f"{time.strftime('%H:%M:%S')}  {service:6} {said}", flush=True)
    ports = {service: _port(soak, service) for service in SERVICES}
    failures = soak.folder / "failures.jsonl"
    failures.touch()
    load = subprocess.Popen(
        [sys.executable, str(HERE / "soak_load.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert load.stdin is not None
    order = {"services": ports, "bodies": bodies, "rate": RATE, "connections": CONNECTIONS}
    load.stdin.write(json.dumps(order | {"failures": str(failures)}) + "\n")
    load.stdin.flush()
    threads = [
        threading.Thread(
            target=soak.minutes, args=(service,), kwargs={"minutes": minutes, "first": 30.0 * place}
        )
        for place, service in enumerate(SERVICES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for service in SERVICES:
        # What the last controller left half-way is finished as a person would.
        soak.finish(soak.command(service, "resume"), f"last resume of {service}")
    loaded = json.loads(load.communicate(timeout=60)[0])
    return loaded, [json.loads(line) for line in failures.read_text().splitlines()]


def _port(soak: Soak, service: str) -> int:
    state = soak.state(service)
    assert state is not None, f"{service} does not serve"
    return state.port


if __name__ == "__main__":
    sys.exit(main())
