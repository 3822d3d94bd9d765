"""Whether a candidate died: only its own server's restarts, and only since its pod was ready."""

from __future__ import annotations

from typing import Any

from penstock.rollout.backends.kserve.pods import Restarts


def pod(uid: str, *, ready: bool = True, restarts: int = 0, others: int = 0) -> dict[str, Any]:
    """Return a pod whose init container and sidecar were started again `others` times."""
    return {
        "metadata": {"name": uid, "uid": uid},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "initContainerStatuses": [{"name": "storage-initializer", "restartCount": others}],
            "containerStatuses": [
                {"name": "kserve-container", "restartCount": restarts},
                {"name": "istio-proxy", "restartCount": others},
            ],
        },
    }


def test_init_containers_and_sidecars_are_no_server() -> None:
    restarts = Restarts()
    assert restarts.of([pod("a", others=1)]) == 0
    assert restarts.of([pod("a", others=5)]) == 0


def test_what_came_before_readiness_does_not_count() -> None:
    restarts = Restarts()
    assert restarts.of([pod("a", ready=False, restarts=2)]) == 0
    assert restarts.of([pod("a", restarts=3)]) == 0
    assert restarts.of([pod("a", ready=False, restarts=3)]) == 0
    assert restarts.of([pod("a", restarts=4)]) == 1
    assert restarts.of([pod("a", ready=False, restarts=5)]) == 2


def test_a_pod_that_replaces_another_is_no_death() -> None:
    restarts = Restarts()
    assert restarts.of([pod("a"), pod("b")]) == 0
    assert restarts.of([pod("b"), pod("c", ready=False)]) == 0
    assert restarts.of([pod("c", restarts=1)]) == 0
    assert restarts.of([pod("c", restarts=2)]) == 1


def test_another_controller_counts_from_the_same_baseline() -> None:
    assert Restarts().of([pod("a", restarts=3)], baseline={"a": 1}) == 2
    assert Restarts().of([pod("a", restarts=3), pod("b", restarts=7)], baseline={"a": 3}) == 0
