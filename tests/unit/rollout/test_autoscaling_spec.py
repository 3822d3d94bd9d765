"""The project file's settings for servers that load scales: what is taken, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import InputError
from penstock.rollout.spec import KserveSpec


def parsed(**given: Any) -> KserveSpec:
    return KserveSpec.parse(given, where="deployment.kserve")


def test_one_field_is_enough() -> None:
    found = parsed(autoscaling={"max_replicas": 8}).autoscaling
    assert found is not None
    assert (found.autoscaler, found.min_replicas, found.metric, found.target) == (
        "hpa",
        1,
        "cpu",
        80,
    )
    assert found.scales


@pytest.mark.parametrize("autoscaler", ["external", "none"])
def test_what_somebody_else_decides_is_left_to_them(autoscaler: str) -> None:
    found = parsed(autoscaling={"autoscaler": autoscaler}).autoscaling
    assert found is not None
    assert not found.scales


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "max_replicas: hpa needs it"),
        ({"autoscaler": "keda"}, "max_replicas: keda needs it"),
        ({"max_replicas": 2, "min_replicas": 3}, "2 is below min_replicas, 3"),
        (
            {"max_replicas": 2, "behavior": {"scale_down_seconds": 5}},
            "KServe hands it to KEDA alone; with hpa it has no effect",
        ),
        ({"autoscaler": "none", "target": 50}, "target: with none nothing scales them"),
        ({"autoscaler": "external", "min_replicas": 2}, "min_replicas: with external whoever"),
        ({"autoscaler": "external", "max_replicas": 2}, "max_replicas: with external whoever"),
        ({"autoscaler": "vpa"}, "autoscaler"),
        ({"max_replicas": 2, "target": 101}, "less than or equal to 100"),
        ({"max_replicas": 2, "min_replicas": 0}, "greater than or equal to 1"),
        ({"max_replicas": 2, "metric": "rps"}, "metric"),
    ],
)
def test_what_has_no_effect_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        parsed(autoscaling=given)


def test_how_many_there_are_is_said_once() -> None:
    with pytest.raises(InputError, match=r"replicas: autoscaling is given too"):
        parsed(replicas=2, autoscaling={"max_replicas": 8})
