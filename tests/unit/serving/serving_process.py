"""A server process, and requests for the models of `tests/unit/conftest.py`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from running_process import LOOPBACK, RunningProcess, free_port

from penstock.model import digest_of
from penstock.serving.request_headers import digest_of as digest_of_key
from penstock.serving.request_headers import key_of

ROW: dict[str, Any] = {
    "age": 30,
    "hours per-week": 41.5,
    "member": True,
    "job": "pilot",
    "since": "2026-01-01T00:00:00Z",
}
DATATYPES = {
    "age": "INT64",
    "hours per-week": "FP64",
    "member": "BOOL",
    "job": "BYTES",
    "since": "BYTES",
}


class Server:
    """A server process and how to reach it."""

    def __init__(self, folder: Path | str, log: Path, *options: str, fault: str = "") -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=60, verify=False)
        module = "penstock.serving.fault_injection" if fault else "penstock.serving"
        command = [sys.executable, "-m", module, "--model", str(folder), "--port", str(self.port)]
        if isinstance(folder, Path):
            command += ["--name", "adult", "--version", "3", "--digest", digest_of(folder)]
        command += ["--own-traffic", digest_of_key(KEY)]
        if fault:
            command += ["--fault", fault]
        # A tracking store of whoever runs the tests is none of ours.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        self.process = RunningProcess([*command, *options], log=log, env=environment)

    def wait(self) -> Server:
        """Wait until it is ready."""
        self.process.wait_until(self._ready)
        return self

    def _ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/v2/health/ready").status_code == 200
        return False

    def log(self) -> str:
        """What it wrote."""
        return self.process.output()

    def predict(self, *rows: dict[str, Any], **headers: str) -> httpx.Response:
        """Ask for rows by the v1 protocol; `x_request_id=` is the header x-request-id."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"instances": list(rows)}
        return self.client.post("/v1/models/adult:predict", json=body, headers=named)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        text = self.client.get("/metrics").text
        total = 0.0
        for line in text.splitlines():
            wanted = [f'{label}="{value}"' for label, value in labels.items()]
            if line.startswith((name + "{", name + " ")) and all(w in line for w in wanted):
                total += float(line.rpartition(" ")[2])
        return total

    def stop(self) -> int:
        """End it gracefully; return its exit code."""
        return self.process.stop()


KEY = key_of("the token of the service")
"""Marks requests of a rollout's own, for every server that is started here."""

Start = Callable[..., Server]


def v2_body(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """Return a v2 request."""
    return {
        "inputs": [
            {"name": n, "datatype": k, "shape": [len(rows)], "data": [r[n] for r in rows]}
            for n, k in DATATYPES.items()
        ]
    } | changes
