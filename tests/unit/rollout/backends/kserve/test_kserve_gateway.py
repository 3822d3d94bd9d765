"""The routers of KServe on an emulated cluster: what they write, and wait for."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from cluster_emulator import Fault, Scripted, running
from kserve_world import BODIES, V2, Driver, release, serve
from needs import shared
from running_process import until

from penstock.cluster.client import Kube, RefusedError
from penstock.errors import LeaseLostError, ServiceError
from penstock.rollout.backends.kserve.backend import KserveService
from penstock.rollout.backends.kserve.native import NativeBackend
from penstock.rollout.backends.kserve.users import Source, Users
from penstock.rollout.router import Routing
from penstock.rollout.spec import PrometheusSpec
from penstock.serving.request_headers import SMOKE, digest_of

pytestmark = pytest.mark.usefixtures("stored")


def test_the_definitions_are_checked() -> None:
    """Without them the emulated cluster takes whatever is written."""
    shared("crds")
    with running() as cluster:
        kube = Kube(cluster.url)
        path = "/apis/gateway.networking.k8s.io/v1/namespaces/penstock/httproutes"
        manifest = {"metadata": {"name": "x"}, "spec": {"rulez": []}}
        with pytest.raises(RefusedError, match="rulez"):
            kube.create(path, manifest)


def test_what_is_written(driver: Driver) -> None:
    router = driver.router(hostname="adult.example.com", replicas=2)
    with router.exclusive():
        router.open()
        address = router.deploy(release(1, fault="errors"), timeout=10)
        found = driver.cluster.get("inferenceservices", "adult-v1")
    assert found is not None
    assert found["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert found["metadata"]["labels"]["networking.kserve.io/visibility"] == "cluster-local"
    predictor = found["spec"]["predictor"]
    assert (predictor["serviceAccountName"], predictor["minReplicas"]) == ("penstock-server", 2)
    # A server is told the digest of what marks the rollout's own requests, not that itself.
    own = predictor["model"]["args"].pop()
    assert own == f"--own-traffic={digest_of(address.headers[SMOKE])}"
    assert predictor["model"] == {
        "modelFormat": {"name": "penstock", "version": "1"},
        "runtime": "penstock",
        "storageUri": "s3://models/adult/1",
        "args": [
            "--name=adult",
            "--version=1",
            f"--digest=sha256:{1:064}",
            "--export=sha256:ee",
        ],
        "command": ["python", "-m", "penstock.serving.fault_injection", "--fault=errors"],
    }
    route = driver.cluster.get("httproutes", "adult")
    assert route is not None
    assert route["spec"]["hostnames"] == ["adult.example.com"]
    assert router.url == "http://adult.example.com"


def test_each_rule_of_the_route_keeps_its_place(driver: Driver) -> None:
    """A gateway that knows rules by their place fails users' requests while those move."""
    router = driver.router()
    seen: list[list[Any]] = []

    def look() -> None:
        route = driver.cluster.get("httproutes", "adult")
        assert route is not None
        seen.append([rule["matches"] for rule in route["spec"]["rules"]])

    with router.exclusive():
        router.open()
        router.route(Routing(choice_header="x-version"))
        serve(router, 1)
        look()
        for version, promoted in ((2, True), (3, False)):
            router.deploy(release(version), timeout=10)
            look()
            router.route(Routing(mirror=0.5, choice_header="x-version"))
            look()
            router.set_weight(version, 40)
            look()
            (router.promote if promoted else router.rollback)(version)
            look()
            router.clean_up()
            look()
    assert len(seen) == 11
    assert all(places == seen[0] for places in seen)
    assert len(seen[0]) == 7


def test_users_of_a_service_without_a_version_are_not_told_of_an_error_of_its_server(
    driver: Driver,
) -> None:
    """The Gateway API answers 500 for a rule that matches and leads nowhere."""
    router = driver.router()
    paths = ("/v1/models/adult:predict", "/v1/models/adult:feedback", "/v2/models/adult/infer")

    def told() -> set[int]:
        return {httpx.post(driver.cluster.gateway_url + path).status_code for path in paths}

    with router.exclusive():
        router.open()
        assert told() == {404}
        address = router.deploy(release(1), timeout=10)
        assert told() == {404}
        assert httpx.get(address.url + V2, headers=address.headers).status_code == 200
        router.promote(1)
        assert told() == {200}


def test_users_choose_by_a_header_once_the_candidate_has_traffic(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        router.route(Routing(choice_header="x-variant"))
        assert driver.ask(10, **{"x-variant": "candidate"}) == {"1": 10}
        router.set_weight(2, 10)
        assert driver.ask(10, **{"x-variant": "candidate"}) == {"2": 10}
        assert driver.ask(10, **{"x-variant": "stable"}) == {"1": 10}


@pytest.mark.parametrize("each", ["kserve-gateway", "kserve-native"], indirect=True)
def test_what_the_gateway_answers_itself_counts_against_the_arm(each: Driver) -> None:
    router = each.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        router.route(Routing())
        router.set_weight(2, 50)
        each.server(2).ready = False
        with router.replay(BODIES, rate=200):
            until(lambda: 2 in router.observe().arms and router.observe().arms[2].requests > 20)
        arms = router.observe().arms
        assert arms[2].server_errors == arms[2].requests
        assert arms[1].server_errors == 0


def test_users_requests_are_mirrored(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        router.route(Routing(mirror=1.0))
        for _ in range(20):
            said = httpx.post(
                f"{driver.cluster.gateway_url}/v1/models/adult:predict",
                content=BODIES[0],
                verify=False,
            )
            assert said.headers["x-penstock-version"] == "1"
        until(lambda: driver.server(2).asked == 20)
        router.set_weight(2, 50)
        router.rollback(2)
        asked = driver.server(2).asked
        httpx.post(
            f"{driver.cluster.gateway_url}/v1/models/adult:predict", content=BODIES[0], verify=False
        )
        assert driver.server(2).asked == asked


def test_a_split_that_is_not_there_is_found_before_users_meet_it(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        driver.cluster.ignore_weights = True
        with pytest.raises(ServiceError, match="does not split traffic"):
            router.deploy(release(2), timeout=10)
        assert router.candidate is None
        assert set(driver.cluster.servers) == {"adult-v1"}
        assert driver.ask(20) == {"1": 20}


def test_health_tells_of_deletion(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        driver.cluster.delete("inferenceservices", "adult-v2")
        assert "was deleted" in router.health(2).reason


def test_a_restart_before_readiness_is_no_death_for_whoever_takes_over(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        driver.cluster.start = lambda *_: Scripted("2", restarts=2)
        router.deploy(release(2), timeout=10)
        assert router.health(2).restarts == 0
    again = driver.router()
    with again.exclusive():
        assert again.health(2).restarts == 0
        driver.server(2).restarts = 3
        assert again.health(2).restarts == 1


def test_where_users_count_the_gateway_must_reach_the_candidate(driver: Driver) -> None:
    spec = PrometheusSpec(url="http://127.0.0.1:9")
    users = Users(Source(spec, namespace="penstock", service="adult", alone=True))
    router = driver.router(users=users)
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        assert router.health(2).ready
        driver.server(2).version = "9"
        health = router.health(2)
        assert not health.ready
        assert "The gateway answers for it with version 9" in health.reason
        assert router.health(1).ready


def test_labels_go_to_both_versions_where_they_count(driver: Driver) -> None:
    address = f"{driver.cluster.gateway_url}/v1/models/adult:feedback"
    for url, to_both in (("", False), ("http://127.0.0.1:9", True)):
        router = driver.router(prometheus={"url": url})
        with router.exclusive():
            serve(router, 1)
            router.deploy(release(2), timeout=10)
            router.set_weight(2, 40)
            before = driver.server(1).asked, driver.server(2).asked
            for _ in range(50):
                assert httpx.post(address, content=b"{}", verify=False).status_code == 200
            if to_both:
                until(lambda before=before: driver.server(2).asked == before[1] + 50)
                assert driver.server(1).asked == before[0] + 50
            else:
                until(lambda before=before: _asked(driver) == sum(before) + 50)
            router.rollback(2)
            router.clean_up()


def _asked(driver: Driver) -> int:
    return driver.server(1).asked + driver.server(2).asked


def test_what_others_delete_or_alter_is_written_again(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        driver.cluster.delete("inferenceservices", "adult-v1")
        router.mend()
        assert set(driver.cluster.servers) == {"adult-v1"}
        driver.cluster.delete("httproutes", "adult")
        router.mend()
        assert driver.ask(5) == {"1": 5}
        route = driver.cluster.get("httproutes", "adult")
        assert route is not None
        driver.cluster.put("httproutes", {**route, "spec": {**route["spec"], "rules": []}})
        router.mend()
        assert driver.ask(5) == {"1": 5}


def test_what_others_delete_of_kserve_s_own_canary_is_written_again(driver: Driver) -> None:
    driver.kind = NativeBackend
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        beside = router.deploy(release(2), timeout=10)
        driver.cluster.delete("inferenceservices", "adult")
        router.mend()
        assert set(driver.cluster.servers) == {"adult-v1", "adult-v2"}
        driver.cluster.delete("httproutes", "adult-arms")
        router.mend()
        assert (driver.at(beside), driver.ask(5)) == ("2", {"1": 5})


def test_an_api_server_that_stays_away_is_named(driver: Driver) -> None:
    kube = driver.kube(patience=0.5)
    driver.cluster.faults.append(Fault("GET", "configmaps", 503, times=100))
    with pytest.raises(ServiceError, match="does not answer: 503: on purpose"):
        kube.get("/api/v1/namespaces/penstock/configmaps/x")
    with pytest.raises(ServiceError, match="Check the cluster"):
        Kube("http://127.0.0.1:9", patience=0.2).get("/x")


def test_a_controller_that_fell_silent_is_taken_over_from(driver: Driver) -> None:
    first, second = driver.router(seconds=3), driver.router(seconds=3)
    with first.exclusive():
        serve(first, 1)
        # Its renewals get lost from now on, as when its node is cut off.
        driver.cluster.faults.append(Fault("PUT", "leases", 403, times=10))
        until(lambda: not driver.cluster.faults or _expired(first), seconds=60)
        driver.cluster.faults.clear()
        with pytest.raises(LeaseLostError):
            first.set_weight(1, 10)
    with second.exclusive():
        assert second.stable == 1


def _expired(router: KserveService) -> bool:
    try:
        router.observe()
    except LeaseLostError:
        return True
    return False


def test_a_route_of_somebody_else_is_left_alone(driver: Driver) -> None:
    theirs = {"metadata": {"name": "adult"}, "spec": {"parentRefs": [{"name": "x"}], "rules": []}}
    driver.cluster.put("httproutes", theirs)
    with pytest.raises(ServiceError, match="was not made by Penstock"), driver.router().exclusive():
        pass
    found = driver.cluster.get("httproutes", "adult")
    assert found is not None
    assert found["spec"] == theirs["spec"]


def test_kserve_s_own_canary_as_it_is_written(driver: Driver) -> None:
    driver.kind = NativeBackend
    router = driver.router(replicas=2)
    with router.exclusive():
        router.open()
        router.deploy(release(1), timeout=10)
        first = driver.cluster.get("inferenceservices", "adult")
        assert first is not None
        # Nobody but the rollout reaches a first version before it has shown its answers.
        assert first["metadata"]["labels"]["networking.kserve.io/visibility"] == "cluster-local"
        router.promote(1)
        router.deploy(release(2, fault="errors"), timeout=10)
        router.route(Routing())
        router.set_weight(2, 20)
        found = driver.cluster.get("inferenceservices", "adult")
        assert found is not None
        (canary,) = found["spec"]["canary"]
        assert (canary["trafficPercent"], canary["predictor"]["name"]) == (20, "v2")
        assert canary["predictor"]["model"]["command"][-1] == "--fault=errors"
        assert (found["spec"]["predictor"]["name"], router.url) == (
            "v1",
            "http://adult-penstock.example.com",
        )
        assert found["metadata"]["annotations"]["penstock/digest-v2"] == f"sha256:{2:064}"


@pytest.mark.parametrize(
    ("lack", "match"),
    [({"native": False}, "does not know spec.canary"), ({"splits": False}, "but no split")],
)
def test_a_kserve_without_its_canary_or_its_split_is_found_out(
    driver: Driver, lack: dict[str, bool], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.rollout.backends.kserve.state_store.EFFECT", 1.0)
    driver.kind = NativeBackend
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        for name, value in lack.items():
            setattr(driver.cluster, name, value)
        with pytest.raises(ServiceError, match=match):
            router.deploy(release(2), timeout=10)
        assert (router.stable, router.candidate) == (1, None)
        assert set(driver.cluster.servers) == {"adult-v1"}
        assert driver.ask(20) == {"1": 20}
