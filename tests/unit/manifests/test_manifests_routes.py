"""The example for Alertmanager, tried by its own tool: who gets which alert."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from needs import program

MONITORING = Path(__file__).parents[3] / "manifests/components/monitoring"
CONFIG = MONITORING / "alertmanager.yaml"
RECEIVERS = {"critical": "penstock-page", "warning": "penstock-chat"}


@pytest.fixture(scope="module", autouse=True)
def tool() -> None:
    program("amtool", package="prometheus-alertmanager")


def amtool(*arguments: object) -> str:
    done = subprocess.run(
        ["amtool", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def receivers(**labels: str) -> list[str]:
    pairs = [f"{name}={value}" for name, value in labels.items()]
    return amtool("config", "routes", "test", "--config.file", CONFIG, *pairs).strip().split(",")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_alertmanager_takes_the_configuration() -> None:
    assert "SUCCESS" in amtool("check-config", CONFIG)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_each_alert_goes_to_whom_its_severity_says(rule: dict[str, Any]) -> None:
    severity = rule["labels"]["severity"]
    found = receivers(alertname=rule["alert"], severity=severity, service="credit")
    assert found == [RECEIVERS[severity]]


def test_alerts_of_others_go_elsewhere() -> None:
    assert receivers(alertname="NodeDown", severity="critical") == ["others"]


def test_alerts_of_a_service_are_grouped() -> None:
    grouped = [rule for rule in alerts() if "$labels.model " in rule["annotations"]["summary"]]
    assert grouped
    assert all(rule["labels"]["service"] == "{{ $labels.model }}" for rule in grouped)
    (route,) = yaml.safe_load(CONFIG.read_text())["route"]["routes"]
    assert route["group_by"] == ["namespace", "service"]
