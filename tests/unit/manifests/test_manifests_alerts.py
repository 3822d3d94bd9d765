"""The alerts, run by Prometheus' own tool on what it would read."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_cases import CASES as MODEL_CASES
from alert_cases import DAY, Case
from alert_messages import alone
from monitor_alert_cases import MONITOR_CASES
from needs import program
from service_alert_cases import SERVICE_CASES

ROOT = Path(__file__).parents[3]
RULES = ROOT / "manifests/components/monitoring/rules.yaml"
SPEC = yaml.safe_load(RULES.read_text())["spec"]
CASES = (*MODEL_CASES, *MONITOR_CASES, *SERVICE_CASES)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules as Prometheus reads them, without the operator's envelope."""
    program("promtool", package="prometheus")
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return path


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
    )  # fmt: skip


def test_prometheus_takes_the_rules(rules: Path) -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", rules)
    assert done.returncode == 0, done.stdout


def takes_days(case: Case) -> bool:
    return max(case.looks) > DAY


@pytest.fixture(scope="module")
def said(rules: Path) -> Callable[[Case], str]:
    """`said(case)`: what promtool says of it, by an alert without the others' rules.

    One process for all cases of hours, and one for those of days.
    """

    @cache
    def told(days: bool) -> dict[str, str]:
        return told_of([case for case in CASES if takes_days(case) == days], rules=rules)

    return lambda case: told(takes_days(case))[case.title]


def told_of(cases: list[Case], *, rules: Path) -> dict[str, str]:
    for alert in {case.alert for case in cases}:
        rules.with_name(f"{alert}.yaml").write_text(json.dumps({"groups": alone(alert, spec=SPEC)}))
    tests = {rules.with_name(f"test-{at}.yaml"): case for at, case in enumerate(cases)}
    for path, case in tests.items():
        path.write_text(json.dumps(case.document(f"{case.alert}.yaml")))
    done = promtool("test", "rules", *tests)
    parts = re.split(r"^Unit Testing: +", done.stdout, flags=re.MULTILINE)[1:]
    return {tests[Path(part.split()[0])].title: part for part in parts}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.title, marks=pytest.mark.long if takes_days(case) else ())
        for case in CASES
    ],
)
def test_an_alert_fires_when_it_should_and_no_longer(
    case: Case, said: Callable[[Case], str]
) -> None:
    assert said(case).split()[1:] == ["SUCCESS"], said(case)


def test_the_guides_command_takes_the_envelope_away() -> None:
    text = (ROOT / "docs/dashboards.md").read_text()
    (command,) = (line for line in text.splitlines() if line.startswith("    sed "))
    program, _, file = command.partition(">")
    assert file.strip() == "penstock-rules.yml"
    done = subprocess.run(program, shell=True, cwd=ROOT, capture_output=True, check=True)
    assert yaml.safe_load(done.stdout) == SPEC


def alerts() -> list[dict[str, Any]]:
    return [rule for group in SPEC["groups"] for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_each_alert_is_tried_in_quiet_and_in_need(rule: dict[str, Any]) -> None:
    mine = [case for case in CASES if case.alert == rule["alert"]]
    assert any(case.fires for case in mine)
    assert any(not case.fires for case in mine)
