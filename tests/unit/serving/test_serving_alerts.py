"""What the manifests' alerts ask for is what a running server says, from its first reading on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from serving_process import ROW, Server, Start

from penstock.records.reference import FILE_NAME, Reference

RULES = Path(__file__).parents[3] / "manifests/components/monitoring/rules.yaml"
OF_SERVERS = ("penstock-models", "penstock-canary")
"""The groups of rules that are about what servers say."""
TARGET = {"namespace", "pod"}
"""Labels that Prometheus' operator adds to what a pod says."""


def expressions() -> str:
    """Return all that alerts ask of a server."""
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    rules = [rule for group in groups if group["name"] in OF_SERVERS for rule in group["rules"]]
    return "\n".join(rule["expr"] for rule in rules)


def scraped(server: Server) -> dict[str, list[Mapping[str, str]]]:
    """Return the labels of every series, by name."""
    text = httpx.get(f"{server.url}/metrics", verify=False).text
    series: dict[str, list[Mapping[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series.setdefault(sample.name, []).append(sample.labels)
    return series


@pytest.fixture(scope="module")
def server(trained: Path, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Server:
    home = tmp_path_factory.mktemp("captures")
    return start(trained, "--capture", str(home / "spool"), "--capture-to", str(home / "store"))


def test_all_that_an_alert_divides_by_is_there_before_the_first_request(
    server: Server, trained: Path
) -> None:
    series = scraped(server)
    asked = set(re.findall(r"\b(?:penstock|process)_\w+", expressions()))
    # A histogram of seconds begins with the first request, numerator and denominator at once.
    assert asked - series.keys() == {"penstock_request_duration_seconds_bucket"}
    failed = [labels for labels in series["penstock_requests_total"] if labels["code"] == "500"]
    assert {labels["protocol"] for labels in failed} == {"v1", "v2", "mlflow"}
    assert {labels["origin"] for labels in failed} == {"live"}
    assert "live" in {labels["origin"] for labels in series["penstock_prediction_score_count"]}
    missing = {labels["feature"] for labels in series["penstock_feature_missing_total"]}
    assert missing == {
        labels["feature"] for labels in series["penstock_feature_missing_in_training_ratio"]
    }
    reference = Reference.read(trained / FILE_NAME)
    for column in reference.columns:
        if column.name in missing:
            share = server.metric("penstock_feature_missing_in_training_ratio", feature=column.name)
            assert share == pytest.approx(column.nulls / reference.rows)


def test_the_labels_that_alerts_ask_for_are_the_servers(server: Server) -> None:
    assert server.predict(ROW).status_code == 200
    series = scraped(server)
    for name, matchers in re.findall(r"\b(penstock_\w+)\{([^}]*)\}", expressions()):
        for label, value in re.findall(r'(\w+)="([^"]*)"', matchers):
            assert value in {labels[label] for labels in series[name]}, (name, label, value)
        for label in re.findall(r"(\w+)[=!]", matchers):
            assert all(label in labels for labels in series[name]), (name, label)
    for labels, inner in re.findall(r"by \(([^)]*)\) \((?:\w+\()?(penstock_\w+)", expressions()):
        assert set(labels.split(", ")) - TARGET <= series[inner][0].keys(), inner
