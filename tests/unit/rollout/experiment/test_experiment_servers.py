"""An experiment on what decisions cost takes one server of each version: labels reach one alone."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from penstock.errors import InputError
from penstock.rollout.experiment import running
from penstock.rollout.experiment.spec import ExperimentSpec
from penstock.rollout.spec import DeploymentSpec


class PassedError(Exception):
    """The servers were not what was refused."""


def begun(monkeypatch, kserve: dict[str, Any]) -> None:
    def reached(*_: Any, **__: Any) -> None:
        raise PassedError

    # What comes next needs a registry with versions.
    monkeypatch.setattr(running, "challenger_of", reached)
    target: Any = None
    holdouts: Any = contextlib.nullcontext
    running.new_order(
        target,
        version=None,
        spec=ExperimentSpec.parse({"kpi": "cost"}, where="experiment"),
        deployment=DeploymentSpec.parse(
            {"router": "kserve-gateway", "kserve": kserve}, where="deployment"
        ),
        cost=None,
        tracking_uri="",
        by="Ada",
        holdouts=holdouts,
    )


@pytest.mark.parametrize(
    ("kserve", "has"),
    [
        ({"replicas": 2}, "each version has 2"),
        ({"autoscaling": {"autoscaler": "none", "min_replicas": 3}}, "each version has 3"),
        ({"autoscaling": {"max_replicas": 4}}, "load scales"),
        ({"autoscaling": {"autoscaler": "external"}}, "load scales"),
    ],
)
def test_several_servers_are_refused(monkeypatch, kserve: dict[str, Any], has: str) -> None:
    with pytest.raises(InputError, match=has):
        begun(monkeypatch, kserve)


@pytest.mark.parametrize(
    "kserve", [{}, {"autoscaling": {"autoscaler": "none"}}, {"autoscaling": {"max_replicas": 1}}]
)
def test_one_server_is_taken(monkeypatch, kserve: dict[str, Any]) -> None:
    with pytest.raises(PassedError):
        begun(monkeypatch, kserve)
