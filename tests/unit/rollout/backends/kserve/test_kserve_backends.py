"""What every router of KServe does on a cluster: what it measures, waits for and says.

What it has in common with processes of this machine is in test_backend_contract.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cluster_emulator import RUNTIME, Cluster, Fault
from kserve_world import BODIES, Driver, release, serve
from running_process import until

from penstock.cluster.client import RefusedError
from penstock.errors import ServiceError
from penstock.records.rollout import HistogramBuckets
from penstock.rollout.router import Routing

pytestmark = pytest.mark.usefixtures("stored")

GATEWAY, KNATIVE = "kserve-gateway", "kserve-knative"


def test_pairs_are_measured_in_the_shadow_phase_and_arms_in_steps(each: Driver) -> None:
    router = each.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        each.server(2).errors = 0.5
        router.route(Routing(mirror=1.0, grids=HistogramBuckets()))
        with router.replay(BODIES, rate=200):
            until(lambda: router.observe().pairs.candidate.requests > 40)
            seen = router.observe().pairs
            assert seen.stable.requests == seen.candidate.requests
            assert 0.2 < seen.candidate.server_errors / seen.candidate.requests < 0.8
            assert seen.stable.server_errors == 0
            assert 0 < seen.agreeing == seen.rows <= seen.candidate.requests
            assert 2 not in router.observe().arms

            router.route(Routing())
            router.set_weight(2, 25)
            until(lambda: sum(a.requests for a in router.observe().arms.values()) > 300)
        arms = router.observe().arms
        assert arms[2].server_errors > 5
        assert arms[1].server_errors == 0
        assert arms[1].replayed == arms[1].requests
        assert sum(arms[1].latency.values()) == arms[1].requests


def test_a_change_is_waited_for(each: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    # A split that is still in effect gives so many answers of one version by no chance.
    monkeypatch.setattr("penstock.rollout.backends.kserve.prober._SURE", 0.2)
    router = each.router()
    with router.exclusive():
        serve(router, 1)
        # A gateway's controller reports on a route before its proxies have it.
        each.cluster.lag, each.cluster.behind = 0.1, 0.3
        router.deploy(release(2), timeout=10)
        router.set_weight(2, 50)
        assert each.ask(100)["2"] > 20
        router.rollback(2)
        assert each.ask(100) == {"1": 100}
        router.clean_up()
        assert each.ask(100) == {"1": 100}


@pytest.mark.parametrize("each", [GATEWAY, KNATIVE], indirect=True)
@pytest.mark.parametrize(
    ("reason", "match"),
    [
        ("CrashLoopBackOff", "not become ready within 0.3 s: CrashLoopBackOff: it does not"),
        ("InvalidImageName", "did not become ready: InvalidImageName: it does not start"),
        ("ImagePullBackOff", "ImagePullBackOff"),
        ("", "did not become ready within 0.3 s"),
    ],
)
def test_a_candidate_that_does_not_come_up_leaves_what_served(
    each: Driver, reason: str, match: str
) -> None:
    router = each.router()
    with router.exclusive():
        serve(router, 1)
        each.break_start(2, reason=reason)
        with pytest.raises(ServiceError, match=match):
            router.deploy(release(2), timeout=0.3)
        assert router.candidate is None
        assert each.versions() == {"1"}
        assert each.ask(10) == {"1": 10}


def test_health_is_of_a_version_s_own_pods(each: Driver) -> None:
    router = each.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        assert router.health(2).ready
        each.server(2).restarts = 1
        health = router.health(2)
        assert (health.ready, health.restarts) == (True, 1)
        assert "its log" in health.reason
        assert (router.health(1).ready, router.health(1).restarts) == (True, 0)
        assert router.health(7).reason == "It is not up."
        assert "its log" in router.log(1)
        assert "its log" in router.log(2)


def test_a_webhook_s_words_reach_the_user(each: Driver) -> None:
    router = each.router()
    with router.exclusive():
        serve(router, 1)
        each.cluster.refusal = "the storageUri is not supported"
        with pytest.raises(RefusedError, match=r"denied the request: the storageUri is not"):
            router.deploy(release(2), timeout=5)
        each.cluster.refusal = ""
        assert each.ask(10) == {"1": 10}


def _fault_of(value: object) -> str | None:
    return f"{value.method} {value.path} {value.status}" if isinstance(value, Fault) else None


@pytest.mark.parametrize(
    ("each", "fault"),
    [
        (GATEWAY, Fault("PUT", "httproutes", 409, times=3)),
        (GATEWAY, Fault("PUT", "httproutes", 429, times=1, headers={"retry-after": "1"})),
        (GATEWAY, Fault("GET", "httproutes", 500, times=2)),
        pytest.param(
            GATEWAY, Fault("POST", "inferenceservices", 503, times=1), marks=pytest.mark.long
        ),
        (GATEWAY, Fault("POST", "inferenceservices", 0, times=1)),
        pytest.param(GATEWAY, Fault("PUT", "httproutes", 0, times=1), marks=pytest.mark.long),
        pytest.param(
            KNATIVE, Fault("PUT", "inferenceservices", 409, times=3), marks=pytest.mark.long
        ),
        pytest.param(
            KNATIVE,
            Fault("PUT", "inferenceservices", 429, times=1, headers={"retry-after": "1"}),
            marks=pytest.mark.long,
        ),
        pytest.param(
            KNATIVE, Fault("GET", "inferenceservices", 500, times=2), marks=pytest.mark.long
        ),
        (KNATIVE, Fault("PUT", "inferenceservices", 0, times=1)),
        (KNATIVE, Fault("PUT", "configmaps", 409, times=3)),
        pytest.param(KNATIVE, Fault("PUT", "configmaps", 0, times=1), marks=pytest.mark.long),
    ],
    indirect=["each"],
    ids=_fault_of,
)
def test_an_api_server_that_fails_for_a_moment_is_asked_again(each: Driver, fault: Fault) -> None:
    router = each.router()
    with router.exclusive():
        serve(router, 1)
        each.cluster.faults.append(fault)
        router.deploy(release(2), timeout=10)
        router.set_weight(2, 50)
        assert not each.cluster.faults
        assert each.ask(100)["2"] > 20
    # A write that is done twice makes no third revision where Knative counts them.
    assert all(len(made.revisions) == 2 for made in each.cluster.knative.services.values())


@pytest.mark.parametrize(
    ("each", "break_it", "match"),
    [
        (
            GATEWAY,
            lambda c: c.discovery.pop("/apis/serving.kserve.io/v1beta1"),
            "KServe is not installed",
        ),
        (
            GATEWAY,
            lambda c: c.discovery.pop("/apis/gateway.networking.k8s.io/v1"),
            "the Gateway API is not installed",
        ),
        (
            GATEWAY,
            lambda c: c.delete("servingruntimes", "penstock"),
            "there is no ServingRuntime penstock",
        ),
        (GATEWAY, lambda c: c.delete("gateways", "penstock"), "there is no such gateway"),
        (
            GATEWAY,
            lambda c: c.get("gateways", "penstock")["status"].update(conditions=[]),
            "it is not accepted: no controller has reported on it",
        ),
        (
            KNATIVE,
            lambda c: c.discovery.pop("/apis/serving.kserve.io/v1beta1"),
            "KServe is not installed",
        ),
        (
            KNATIVE,
            lambda c: c.discovery.pop("/apis/serving.knative.dev/v1"),
            "Knative Serving is not inst",
        ),
        (
            KNATIVE,
            lambda c: c.delete("servingruntimes", "penstock"),
            "there is no ServingRuntime penstock",
        ),
        (
            KNATIVE,
            lambda c: c.put("servingruntimes", RUNTIME),
            "Knative refuses containers with a port named http and a lifecycle",
        ),
    ],
    indirect=["each"],
)
def test_what_a_cluster_lacks_is_named(
    each: Driver, break_it: Callable[[Cluster], Any], match: str
) -> None:
    break_it(each.cluster)
    with pytest.raises(ServiceError, match=match), each.router().exclusive():
        pass
    assert each.cluster.get("httproutes", "adult") is None
    assert each.cluster.get("configmaps", "penstock-service-adult") is None
