"""The choice of a router for a service of a cluster, where `deployment.router` leaves it open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_emulator import NAMESPACE, RUNTIME, Cluster, Fault, kubeconfig_of, running
from kserve_world import Driver, planned, release, serve

from penstock.cluster.client import Kube
from penstock.errors import InputError, ServiceError
from penstock.rollout.backends.kserve.choice import ROUTERS
from penstock.rollout.backends.kserve.lease import ClusterLease
from penstock.rollout.backends.kserve.store import ConfigMapStore
from penstock.rollout.journal import Journal
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import Target, target_of

CONTROLLER = "/apis/apps/v1/namespaces/kserve/deployments"
SETTINGS = "/api/v1/namespaces/kserve/configmaps"


@pytest.fixture
def cluster(stored: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with running() as made:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(kubeconfig_of(made.url)))
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        yield made


def place(**spec: Any) -> Target:
    chosen = DeploymentSpec.model_validate({"router": "kserve"} | spec)
    return target_of(chosen, service="adult", home=Path(), tracking_uri="sqlite://")


def test_a_gateway_comes_first(cluster: Cluster) -> None:
    cluster.install_knative()
    assert place().kind == "kserve-gateway"


def test_without_a_gateway_it_is_knative(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.install_knative()
    cluster.delete("gateways", "penstock")
    assert place().kind == "kserve-knative"
    said = "".join(capsys.readouterr())
    assert "router kserve-knative (kserve-gateway: " in said
    assert "there is no such gateway" in said


def test_a_gateway_that_nobody_has_taken_is_none(cluster: Cluster) -> None:
    cluster.install_knative()
    found = cluster.get("gateways", "penstock")
    assert found is not None
    cluster.put("gateways", {**found, "status": {"conditions": []}})
    assert place().kind == "kserve-knative"


def test_where_none_fits_each_has_its_reason(cluster: Cluster) -> None:
    cluster.delete("gateways", "penstock")
    with pytest.raises(ServiceError) as caught:
        _ = place().router
    said = str(caught.value)
    assert "kserve-gateway: " in said
    assert "there is no such gateway" in said
    assert "kserve-knative: " in said
    assert "Knative Serving is not installed" in said
    assert "kserve-native: never chosen by itself" in said
    # To look at what serves does not need a router.
    assert place().status() == []


def test_kserve_s_own_canary_is_never_chosen(cluster: Cluster) -> None:
    cluster.discovery.pop("/apis/gateway.networking.k8s.io/v1")
    with pytest.raises(ServiceError, match=r"the Gateway API is not installed.*Knative Serving"):
        _ = place().router


def test_a_plan_that_only_one_can_follow_decides(cluster: Cluster) -> None:
    cluster.install_knative()
    cluster.delete("gateways", "penstock")
    with pytest.raises(
        ServiceError, match=r"kserve-knative: .*revisions have no choice of a version"
    ):
        _ = place(canary={"choice_header": "x-variant"}).router
    # What none of them can do is the plan's fault, not the cluster's.
    with pytest.raises(InputError, match="live traffic alone"):
        place(canary={"traffic": {"source": "live"}})


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("kserve-native", "refuses every field of autoscaling in spec.canary"),
        ("kserve-knative", "Knative scales revisions by its own autoscaler"),
    ],
)
def test_only_our_own_route_scales_both_versions(cluster: Cluster, kind: str, why: str) -> None:
    with pytest.raises(InputError, match=f"{why}.*router: kserve-gateway"):
        place(router=kind, kserve={"autoscaling": {"max_replicas": 4}})
    cluster.install_knative()
    cluster.delete("gateways", "penstock")
    with pytest.raises(ServiceError, match=r"kserve-knative: deployment\.kserve\.autoscaling"):
        _ = place(kserve={"autoscaling": {"max_replicas": 4}}).router


@pytest.mark.parametrize("kind", sorted(ROUTERS))
def test_a_service_that_stands_keeps_its_router(cluster: Cluster, kind: str) -> None:
    cluster.install_knative()
    driver = Driver(cluster, ROUTERS[kind])
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
    if kind != "kserve-knative":
        cluster.delete("gateways", "penstock")
    assert place().kind == kind
    (found,) = place(kserve={"address": cluster.gateway_url}).status()
    assert found.weights == {1: 100, 2: 0}


def test_a_rollout_that_has_begun_keeps_its_router(cluster: Cluster) -> None:
    kube = Kube(cluster.url)
    lease = ClusterLease(kube, namespace=NAMESPACE, service="adult", name="penstock-adult")
    kept = ConfigMapStore(kube, namespace=NAMESPACE, service="adult", identity="2-abc", lease=lease)
    journal = Journal(kept)
    with lease.held():
        journal.begin(planned(service="adult", router="kserve-knative"), reason="Approved.")
        assert place().kind == "kserve-knative"
        journal.go("rollback", reason="Bad.")
        journal.go("done", reason="Back.")
        assert place().kind == "kserve-gateway"


def test_a_service_of_two_routers_is_not_guessed_at(cluster: Cluster) -> None:
    cluster.install_knative()
    for kind in ("kserve-gateway", "kserve-knative"):
        router = Driver(cluster, ROUTERS[kind]).router()
        with router.exclusive():
            serve(router, 1)
    with pytest.raises(ServiceError, match="several routers: kserve-gateway, kserve-knative"):
        _ = place().router


@pytest.mark.parametrize(
    ("forbid", "words"),
    [
        (False, "(KServe: version v0.20.0; default mode Standard; enableGatewayApi True)"),
        (True, "(KServe: version, default mode, enableGatewayApi not to be read by this account)"),
    ],
)
def test_what_may_be_read_of_kserve_is_told(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], forbid: bool, words: str
) -> None:
    container = {"name": "manager", "image": "registry:5000/kserve/kserve-controller:v0.20.0"}
    spec = {"template": {"spec": {"containers": [container]}}}
    data = {
        "deploy": '{"defaultDeploymentMode": "Standard"}',
        "ingress": '{"enableGatewayApi": true}',
    }
    put_into_kserve(cluster, "deployments", "kserve-controller-manager", {"spec": spec})
    put_into_kserve(cluster, "configmaps", "inferenceservice-config", {"data": data})
    if forbid:
        for path in (CONTROLLER, SETTINGS):
            cluster.faults.append(Fault("GET", path, 403, message="forbidden", times=9))
    assert place().kind == "kserve-gateway"
    assert words in "".join(capsys.readouterr())


def put_into_kserve(cluster: Cluster, plural: str, name: str, body: dict[str, Any]) -> None:
    cluster.objects[(plural, "kserve", name)] = {"metadata": {"name": name}, **body}


@pytest.mark.parametrize(
    ("break_it", "match"),
    [
        (lambda c: c.put("servingruntimes", RUNTIME), "port named http and a lifecycle"),
        (lambda c: c.delete("servingruntimes", "penstock"), "there is no ServingRuntime"),
    ],
)
def test_a_runtime_that_knative_refuses_is_a_reason(
    cluster: Cluster, break_it: Callable[[Cluster], Any], match: str
) -> None:
    cluster.install_knative()
    cluster.delete("gateways", "penstock")
    break_it(cluster)
    with pytest.raises(ServiceError, match=match):
        _ = place().router
