"""What Prometheus reads of a pod of an experiment's proxy: the real process, asked and scraped."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from running_process import RunningProcess, free_port, listens

TABLE = {
    "arms": [
        {"role": role, "version": version, "identity": role, "host": "127.0.0.1", "port": 9}
        for role, version in (("stable", 3), ("candidate", 4))
    ],
    "weight": 20,
    "routing": {
        "mirror": 0.0, "sticky_header": "", "choice_header": "",
        "grids": {"latency": [0.1], "scores": [0.5]},
        "experiment": {"salt": "s", "header": "x-user-id", "labels": False},
    },
}  # fmt: skip


def scraped(url: str) -> dict[tuple[str, ...], float]:
    answer = httpx.get(f"{url}/metrics", trust_env=False, verify=False)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name.removeprefix("penstock_experiment_proxy_"), *(
            value for key, value in sorted(sample.labels.items()) if key != "service"
        )): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }  # fmt: skip


def test_requests_are_counted_by_version_and_events_by_what_became_of_them(tmp_path: Path) -> None:
    port, health = free_port(), free_port()
    command = [
        *(sys.executable, "-m", "penstock.rollout.proxy.pod", f"--table={json.dumps(TABLE)}"),
        *("--service=shop", "--experiment=e1", f"--port={port}", f"--health-port={health}"),
        *(f"--spool={tmp_path / 'spool'}", f"--to=file://{tmp_path / 'store'}"),
    ]
    with RunningProcess(command, log=tmp_path / "log") as process:
        process.wait_until(lambda: listens(health) and listens(port), seconds=60)
        url = f"http://127.0.0.1:{health}"
        before = scraped(url)
        assert before["weight_ratio",] == 0.2
        assert before["requests_total", "champion", "3", "answered"] == 0
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False
        ) as users:
            for number in range(20):
                answer = users.post(
                    "/v1/models/shop:predict", json={}, headers={"x-user-id": f"u{number}"}
                )
                # Neither version is there.
                assert answer.status_code >= 500
        found = scraped(url)
        failed = [
            found["requests_total", arm, version, "failed"]
            for arm, version in (("champion", "3"), ("challenger", "4"))
        ]
        assert min(failed) > 0
        assert sum(failed) >= 20
        assert found["in_flight", "champion", "3"] == 0
        assert found["events_total", "written"] > before["events_total", "written"]
        assert found["events_total", "dropped"] == 0
        other = httpx.get(f"{url}/else", trust_env=False, verify=False)
        assert (other.status_code, "GET /metrics" in other.text) == (404, True)
