"""What people read of an alert: every text and title with all names filled in, on real parts.

Prometheus' tool fires every alert on the labels that series have in a cluster, and Alertmanager
itself makes the messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from alert_cases import CASES, Case
from alert_messages import Alert, ChatServer, alertmanager, fired
from monitor_alert_cases import MONITOR_CASES
from needs import program
from running_process import until
from service_alert_cases import SERVICE_CASES

MONITORING = Path(__file__).parents[3] / "manifests/components/monitoring"
SPEC = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]
RULES = [rule for group in SPEC["groups"] for rule in group["rules"] if "alert" in rule]
NAMES = [rule["alert"] for rule in RULES]


def case(alert: str) -> Case:
    """Return the shortest of an alert's cases in which it fires."""
    mine = [c for c in (*CASES, *MONITOR_CASES, *SERVICE_CASES) if c.alert == alert and c.fires]
    return min(mine, key=lambda each: max(each.looks))


@pytest.fixture(scope="module")
def alerts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Alert]:
    program("promtool", package="prometheus")
    folder = tmp_path_factory.mktemp("rules")
    return fired([case(name) for name in NAMES], spec=SPEC, folder=folder)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_every_name_in_an_alerts_texts_is_filled_in(
    rule: dict[str, Any], alerts: dict[str, Alert]
) -> None:
    alert = alerts[rule["alert"]]
    for name, template in rule["annotations"].items():
        said = alert["annotations"][name]
        assert re.fullmatch(filled(template), said), said
        assert set(re.findall(r"\{\{ \$labels\.(\w+)", template)) <= alert["labels"].keys()
    assert alert["labels"].keys() >= {"severity"} | rule["labels"].keys()


def filled(template: str) -> str:
    """Return an expression for what a template says when nothing in it is empty."""
    always = re.sub(r"\{\{ with .*?\{\{ end \}\}", "\0", template)
    parts = (re.escape(part) for part in re.split(r"\{\{.*?\}\}", always))
    return r"[^ /]+(?: [^ /]+)*".join(parts).replace("\0", ".*")


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with alertmanager(
        MONITORING / "alertmanager.yaml", folder=tmp_path_factory.mktemp("alertmanager")
    ) as started:
        yield started


@pytest.fixture(scope="module")
def messages(
    alerts: dict[str, Alert], chat: tuple[str, ChatServer]
) -> Callable[[str], dict[str, str]]:
    """`messages(alert)`: what people get of it, when it fires alone."""
    url, server = chat
    body = []
    for name, alert in alerts.items():
        # Another service each, so that none is in the message of another one.
        apart = {k: f"{v}-{name}" for k, v in alert["labels"].items() if k in ("service", "pod")}
        apart |= {"namespace": name} if "service" not in alert["labels"] else {}
        body.append(alert | {"labels": alert["labels"] | apart})
    httpx.post(f"{url}/api/v2/alerts", json=body, trust_env=False).raise_for_status()
    until(lambda: len(server.posted) >= len(alerts), what=f"of {len(alerts)}: {server.posted}")

    def of(name: str) -> dict[str, str]:
        (message,) = (m for m in server.posted if name in m["title"])
        return message

    return of


@pytest.mark.parametrize("name", NAMES)
def test_every_title_names_what_it_is_about(
    name: str, messages: Callable[[str], dict[str, str]], alerts: dict[str, Alert]
) -> None:
    message, labels = messages(name), alerts[name]["labels"]
    if "service" in labels:
        where = [labels["namespace"]] if "namespace" in labels else []
        assert message["title"] == "/".join([*where, f"{labels['service']}-{name}: 1 firing"])
    else:
        assert message["title"] == f"{name}/{labels['pod']}-{name}: 1 firing"
    texts = alerts[name]["annotations"]
    assert message["text"].strip() == f"{texts['summary']}\n{texts['description']}"


def test_several_pods_of_a_namespace_are_one_message_that_names_each(
    chat: tuple[str, ChatServer], alerts: dict[str, Alert], messages: object
) -> None:
    url, server = chat
    alert = alerts["PenstockNotScraped"]
    body = [
        {"labels": alert["labels"] | {"namespace": "many", "pod": pod},
         "annotations": {"summary": f"cannot read many/{pod}"}}
        for pod in ("a", "b")
    ]  # fmt: skip
    httpx.post(f"{url}/api/v2/alerts", json=body, trust_env=False).raise_for_status()
    until(lambda: any("many: 2 firing" in m["title"] for m in server.posted), what=server.posted)
    (message,) = (m for m in server.posted if m["title"] == "many: 2 firing")
    assert "many/a" in message["text"]
    assert "many/b" in message["text"]
