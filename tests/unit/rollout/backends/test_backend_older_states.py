"""States that the release before wrote: they are read, and nothing in them is lost."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import IntegrityError
from penstock.rollout.backends.kserve.state import ClusterState
from penstock.rollout.backends.local.state import LocalState

ORIGIN: dict[str, Any] = {
    "version": 3,
    "uri": "models:/adult/3",
    "model": "sha256:3",
    "folder": "/m/3",
    "export": "",
    "drill": "slow",
}
PROCESS: dict[str, Any] = {"pid": 7, "boot": "b", "namespace": "n", "ticks": 9, "started": None}
SERVER: dict[str, Any] = {
    "identity": "i",
    "origin": ORIGIN,
    "port": 81,
    "process": PROCESS,
    "restarts": 2,
    "death_counted": True,
}
LOCAL: dict[str, Any] = {
    "record": "penstock/local-service",
    "schema_version": 3,
    "service": "adult",
    "term": 4,
    "port": 80,
    "front": {"port": 80, "admin_port": 82, "process": PROCESS},
    "stable": SERVER,
    "candidate": None,
    "retired": None,
    "weight": 0,
    "assignment": {"mirror": 0.5, "sticky_header": "a", "choice_header": "b", "grids": None},
    "previous": {**ORIGIN, "version": 2},
    "lost": {"version": 1, "restarts": 3, "reason": "r"},
}
ARM: dict[str, Any] = {
    "version": 3,
    "name": "adult-v3",
    "backend": "adult-v3-predictor",
    "uri": "models:/adult/3",
    "model": "sha256:3",
    "export": "e",
    "drill": "errors",
    "storage": "s3://m/3",
    "own_traffic": "sha256:o",
}
CLUSTER: dict[str, Any] = {
    "record": "penstock/cluster-service",
    "schema_version": 1,
    "service": "adult",
    "term": 4,
    "token": "t",
    "stable": ARM,
    "candidate": {**ARM, "version": 4},
    "retired": None,
    "previous": {**ARM, "version": 2},
    "passing": [{**ARM, "version": 5}],
    "baseline": {"pod": 2},
    "weight": 30,
    "mirror": 0.5,
    "choice_header": "h",
}


@pytest.mark.parametrize("version", [2, 3])
def test_a_local_state(version: int) -> None:
    state = LocalState.parse({**LOCAL, "schema_version": version}, where="w")
    assert state.stable is not None
    assert state.previous is not None
    assert state.stable.model_dump() == {
        **{key: ORIGIN[key] for key in ORIGIN if key != "drill"},
        **{key: SERVER[key] for key in SERVER if key != "origin"},
        "fault": "slow",
    }
    assert state.proxy is not None
    assert state.proxy.model_dump() == LOCAL["front"]
    assert (state.previous.version, state.previous.process) == (2, None)
    assert (state.term, state.port, state.assignment.sticky_header) == (4, 80, "a")
    assert state.lost is not None
    assert LocalState.loads(state.dumps(), where="w") == state


def test_a_state_of_a_cluster() -> None:
    state = ClusterState.parse(CLUSTER, where="w")
    assert state.stable is not None
    assert state.candidate is not None
    assert state.candidate.model_dump() == {
        **{key: ARM[key] for key in ARM if key != "drill"},
        "fault": "errors",
        "version": 4,
        "baseline": {"pod": 2},
    }
    assert state.stable.baseline == {"pod": 2}
    assert [arm.version for arm in state.passing] == [5]
    assert (state.weight, state.assignment.mirror, state.assignment.choice_header) == (30, 0.5, "h")
    assert (state.token, state.term) == ("t", 4)
    assert ClusterState.loads(state.dumps(), where="w") == state


def test_a_state_with_the_former_names_of_its_fields() -> None:
    raw = LocalState.parse(LOCAL, where="w").payload()
    raw["front"] = raw.pop("proxy")
    raw["stable"]["drill"] = raw["stable"].pop("fault")
    state = LocalState.parse(raw, where="w")
    assert state.stable is not None
    assert state.proxy is not None
    assert (state.stable.fault, state.proxy.admin_port) == ("slow", 82)


@pytest.mark.parametrize(
    "state", [{**LOCAL, "schema_version": 1}, {**CLUSTER, "schema_version": 2}]
)
def test_a_form_that_nobody_knows_is_refused_by_name(state: dict[str, Any]) -> None:
    kind = LocalState if "local" in state["record"] else ClusterState
    with pytest.raises(IntegrityError, match="expected record penstock/service"):
        kind.parse(state, where="w")
