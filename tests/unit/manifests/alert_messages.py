"""Alerts as they fire, with their texts, and the messages that Alertmanager makes of them."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from alert_cases import Case, Series
from needs import program
from running_process import LOOPBACK, RunningProcess, answers, free_port, served

Alert = dict[str, dict[str, str]]
"""Its labels and annotations, as Prometheus sends them to Alertmanager."""

OF_THE_OPERATOR = {
    "container": "server", "endpoint": "http", "instance": "10.0.0.7:8080", "job": "penstock/pods",
}  # fmt: skip
"""What every series has that a PodMonitor brings, besides namespace and pod; never `service`."""


def alone(alert: str, *, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of rules with one alert, and with what others may be computed from."""
    return [
        group | {"rules": [rule for rule in group["rules"] if rule.get("alert") in (None, alert)]}
        for group in spec["groups"]
    ]


def fired(cases: Sequence[Case], *, spec: dict[str, Any], folder: Path) -> dict[str, Alert]:
    """Return what Prometheus sends of each case's alert in the midst of its firing."""
    tests = []
    for case in cases:
        (folder / f"{case.alert}.yaml").write_text(
            json.dumps({"groups": alone(case.alert, spec=spec)})
        )
        tests.append(folder / f"test-{case.alert}.yaml")
        tests[-1].write_text(json.dumps(_test(case)))
    done = subprocess.run(
        ["promtool", "test", "rules", *tests],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    # Nothing is expected, so all that fires is told.
    told = re.findall(
        r"alertname: (\w+), time.*?Labels:(\{.*?\})\n +Annotations:(\{.*?\})\n", done.stdout, re.S
    )
    return {
        name: {"labels": _pairs(labels), "annotations": _pairs(texts)}
        for name, labels, texts in told
    }


def _test(case: Case) -> dict[str, Any]:
    start, end = case.fires[0]
    series = [{"series": name, "values": v} for name, v in _scraped(case.series).items()]
    asked = {"alertname": case.alert, "eval_time": f"{(start + end) // 2}m", "exp_alerts": []}
    test = {"interval": "1m", "input_series": series, "alert_rule_test": [asked]}
    return {
        "rule_files": [f"{case.alert}.yaml"],
        "evaluation_interval": f"{case.every}m",
        "tests": [test],
    }


def _scraped(series: Series) -> Series:
    """Return them with all labels that they have in a cluster's Prometheus."""
    whole = {}
    for name, values in series.items():
        more = [f'{k}="{v}"' for k, v in OF_THE_OPERATOR.items() if f"{k}=" not in name]
        whole[f"{name[:-1]},{','.join(more)}}}"] = values
    return whole


def _pairs(text: str) -> dict[str, str]:
    return {k: json.loads(v) for k, v in re.findall(r'(\w+)=("(?:\\.|[^"\\])*")', text)}


class _Chat(http.server.BaseHTTPRequestHandler):
    """The webhook of a chat: it keeps what it gets."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append(json.loads(body)["attachments"][0])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


class ChatServer(http.server.ThreadingHTTPServer):
    """A chat's webhook.

    Attributes:
        posted: The messages, in the order in which they came.
    """

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Chat)
        self.posted: list[dict[str, str]] = []


@contextlib.contextmanager
def alertmanager(config: Path, *, folder: Path) -> Iterator[tuple[str, ChatServer]]:
    """Yield Alertmanager's address and the chat that gets every message of the example.

    Its route and texts are those of `config`; it waits for nothing, inhibits nothing, and sends to
    a chat on this machine what it would send to others.
    """
    manager = program("prometheus-alertmanager", package="prometheus-alertmanager")
    with served(ChatServer()) as chat:
        settings = yaml.safe_load(config.read_text())
        settings.pop("inhibit_rules")
        _without_waits(settings["route"])
        address = f"http://{LOOPBACK}:{chat.server_address[1]}"
        (texts,) = (r["slack_configs"] for r in settings["receivers"] if "slack_configs" in r)
        here = [{k: v for k, v in each.items() if k != "api_url_file"} for each in texts]
        settings["receivers"] = [
            {"name": r["name"], "slack_configs": [each | {"api_url": address} for each in here]}
            for r in settings["receivers"]
        ]
        (folder / "alertmanager.yaml").write_text(yaml.safe_dump(settings))
        port = free_port()
        command = [
            manager, f"--config.file={folder / 'alertmanager.yaml'}", f"--storage.path={folder}",
            f"--web.listen-address={LOOPBACK}:{port}", "--cluster.listen-address=",
        ]  # fmt: skip
        with RunningProcess(command, log=folder / "alertmanager.log") as running:
            url = f"http://{LOOPBACK}:{port}"
            running.wait_until(lambda: answers(f"{url}/-/ready"))
            yield url, chat


def _without_waits(route: dict[str, Any]) -> None:
    route.update(group_wait="0s", group_interval="1s")
    for each in route.get("routes", ()):
        _without_waits(each)
