"""Servers that load scales: what KServe is told, and what a rollout asks for before each step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cluster_emulator import schema
from kserve_world import Driver, look_often, release, serve
from needs import shared
from role_rights import allowed, used
from running_process import until

from penstock.errors import CapacityError
from penstock.rollout.backends.kserve.backend import KserveService
from penstock.rollout.router import Routing

pytestmark = pytest.mark.usefixtures("stored", "quick")

DEPLOYER = Path(__file__).parents[5] / "manifests/base/access/deployer.yaml"
HPA = {"min_replicas": 2, "max_replicas": 20, "target": 80, "settle_seconds": 0}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    look_often(monkeypatch)


@pytest.fixture
def scaled(driver: Driver) -> Driver:
    driver.settings = {"autoscaling": HPA}
    return driver


def predictor(driver: Driver, version: int) -> dict[str, Any]:
    found = driver.cluster.get("inferenceservices", f"adult-v{version}")
    assert found is not None
    fields: dict[str, Any] = found["spec"]["predictor"]
    return fields


def least(driver: Driver, version: int) -> int:
    return int(predictor(driver, version)["minReplicas"])


def ready(driver: Driver, version: int) -> int:
    return sum(pod.ready for pod in driver.cluster.autoscalers.pods[f"adult-v{version}"])


def users_need(driver: Driver, servers: int) -> None:
    """Have users send what so many servers carry, and wait until the stable one has them."""
    scalers = driver.cluster.autoscalers
    scalers.users = servers * scalers.capacity * 0.8
    router = driver.router()
    assert router.refresh()
    assert router.stable is not None
    stable = router.stable

    def grown() -> bool:
        router.backend.health(router.state.stable)
        return ready(driver, stable) >= servers

    until(grown, what=f"{servers} servers of version {stable}", every=0.01)


WRITTEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "hpa": (
        {"max_replicas": 5, "metric": "memory", "target": 70},
        {"minReplicas": 1, "maxReplicas": 5, "scaleMetric": "memory", "scaleTarget": 70},
    ),
    "keda": (
        {"max_replicas": 5, "behavior": {"scale_down_seconds": 600}},
        {
            "minReplicas": 1,
            "maxReplicas": 5,
            "autoScaling": {
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 80},
                        },
                    }
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
            },
        },
    ),
    "external": ({}, {}),
    "none": ({"min_replicas": 3}, {"minReplicas": 3, "maxReplicas": 3}),
}


@pytest.mark.parametrize("autoscaler", WRITTEN)
def test_what_kserve_is_told(driver: Driver, autoscaler: str) -> None:
    given, wanted = WRITTEN[autoscaler]
    driver.settings = {"autoscaling": {"autoscaler": autoscaler, **given}}
    router = driver.router()
    with router.exclusive():
        router.open()
        router.deploy(release(1), timeout=10)
    found = driver.cluster.get("inferenceservices", "adult-v1")
    assert found is not None
    annotations = found["metadata"]["annotations"]
    assert annotations["serving.kserve.io/autoscalerClass"] == autoscaler
    others = ("serviceAccountName", "model")
    told = {key: value for key, value in predictor(driver, 1).items() if key not in others}
    assert told == wanted


def test_the_fields_are_those_of_the_definition() -> None:
    shared("crds")
    checked = schema("inferenceservices")
    assert checked is not None
    for _, fields in WRITTEN.values():
        body = {"metadata": {"name": "x"}, "spec": {"predictor": fields}}
        assert list(checked.iter_errors(body)) == []


def test_a_candidate_has_its_servers_before_it_has_its_share(scaled: Driver) -> None:
    router = scaled.router()
    with router.exclusive():
        serve(router, 1)
        users_need(scaled, 8)
        router.deploy(release(2), timeout=10)
        assert (least(scaled, 1), least(scaled, 2)) == (2, 2)
        router.route(Routing(mirror=0.5))
        # The stable one keeps what it has; the candidate gets copies of half of its requests.
        assert (least(scaled, 1), least(scaled, 2), ready(scaled, 2)) == (8, 4, 4)
        router.route(Routing())
        router.set_weight(2, 20)
        assert (least(scaled, 2), ready(scaled, 2)) == (4, 4)
        router.set_weight(2, 50)
        assert (least(scaled, 2), ready(scaled, 2)) == (8, 8)
        router.promote(2)
        # At 50 % eight servers had half of the requests, so all of them take sixteen.
        assert (least(scaled, 1), least(scaled, 2), ready(scaled, 2)) == (8, 16, 16)
        router.clean_up()
        assert least(scaled, 2) == 2
        assert router.state.stable is not None
        assert router.state.stable.floor == 0
    assert used(scaled.cluster.calls) <= allowed(DEPLOYER)


def test_a_rollback_finds_the_servers_of_the_stable_version_and_gives_them_back(
    scaled: Driver,
) -> None:
    router = scaled.router()
    scaled.cluster.autoscalers.keeps = 0
    with router.exclusive():
        serve(router, 1)
        users_need(scaled, 6)
        router.deploy(release(2), timeout=10)
        router.set_weight(2, 90)
        for _ in range(5):
            # Its load alone would leave it two.
            router.mend()
            assert ready(scaled, 1) == 6
        router.rollback(2)
        assert (least(scaled, 1), ready(scaled, 1)) == (6, 6)
        router.clean_up()
        assert least(scaled, 1) == 2


def test_a_version_that_is_brought_up_again_has_the_servers_of_the_one_it_replaces(
    scaled: Driver,
) -> None:
    router = scaled.router()
    with router.exclusive():
        serve(router, 1)
        serve(router, 2)
        users_need(scaled, 7)
        router.rollback(2)
        assert (router.stable, ready(scaled, 1)) == (1, 7)
        assert scaled.cluster.autoscalers.refused["adult-v1"] == 0
        router.clean_up()
        assert least(scaled, 1) == 2


def test_a_rollback_asks_for_what_load_has_grown_to(scaled: Driver) -> None:
    router = scaled.router()
    with router.exclusive():
        serve(router, 1)
        users_need(scaled, 4)
        router.deploy(release(2), timeout=10)
        router.set_weight(2, 50)
        # What fourteen servers carry, so seven of each version.
        scaled.cluster.autoscalers.users = 112
        until(lambda: seen(router, 1)[0] == 7, what="more servers of version 1", every=0.01)
        assert least(scaled, 1) == 4
        router.rollback(2)
        # Seven servers had half of the requests, so all of them take fourteen.
        assert least(scaled, 1) == 14
        router.clean_up()
        assert least(scaled, 1) == 2


@pytest.mark.parametrize("way", ["rollback", pytest.param("return", marks=pytest.mark.long)])
def test_a_version_that_is_gone_back_to_has_the_servers_that_it_had(
    scaled: Driver, way: str
) -> None:
    scaled.cluster.autoscalers.keeps = 0
    router = scaled.router()
    with router.exclusive():
        serve(router, 1)
        users_need(scaled, 7)
        serve(router, 2)
        # Version 2 fails its users, who go away, and its servers with them.
        scaled.cluster.autoscalers.users = 0
        until(lambda: seen(router, 2)[0] == 2, what="fewer servers of version 2", every=0.01)
        if way == "rollback":
            router.rollback(2)
        else:
            router.deploy(release(1), timeout=10)
            router.promote(1, insist=False)
        assert (router.stable, ready(scaled, 1)) == (1, 7)


def test_servers_that_are_on_their_way_count(scaled: Driver) -> None:
    router = scaled.router(ready_timeout=0.3)
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        scaled.cluster.autoscalers.starts_in = 600
        scaled.cluster.autoscalers.users = 40
        assert seen(router, 1)[0] == 2
        with pytest.raises(CapacityError, match="2 of 5 servers of version 2"):
            router.promote(2)


@pytest.mark.parametrize(("settle", "lags"), [(0.0, 600.0), (1.5, 0.3)])
def test_servers_are_kept_until_the_autoscaler_has_seen_the_load(
    driver: Driver, settle: float, lags: float
) -> None:
    """It judges by what the load was: with 90 % of the requests elsewhere two were enough."""
    driver.settings = {"autoscaling": HPA | {"settle_seconds": settle}}
    router = driver.router()
    scalers = driver.cluster.autoscalers
    with router.exclusive():
        serve(router, 1)
        users_need(driver, 6)
        router.deploy(release(2), timeout=10)
        router.set_weight(2, 90)
        # What it sees from here on is the load of now, until it is old enough.
        assert seen(router, 1)[0] == 6
        scalers.keeps, scalers.lags = 0, lags
        router.rollback(2)
        router.clean_up()
        assert least(driver, 1) == 2
        assert seen(router, 1)[0] == (6 if settle else 2)


def test_no_floor_is_above_the_most(scaled: Driver) -> None:
    router = scaled.router()
    with router.exclusive():
        serve(router, 1)
        users_need(scaled, 15)
        router.deploy(release(2), timeout=10)
        router.set_weight(2, 90)
        assert (least(scaled, 2), ready(scaled, 2)) == (20, 20)


SHORT = {
    "nodes": r"0/3 nodes are available: 3 Insufficient cpu",
    "quota": r"exceeded quota: pods, requested: pods=1",
}


@pytest.mark.parametrize("short_of", SHORT)
def test_servers_that_do_not_come_are_named_and_no_traffic_is_moved(
    scaled: Driver, short_of: Any
) -> None:
    scalers = scaled.cluster.autoscalers
    scalers.short_of = short_of
    router = scaled.router(ready_timeout=0.3)
    with router.exclusive():
        serve(router, 1)
        users_need(scaled, 6)
        router.deploy(release(2), timeout=10)
        scalers.room = 9
        with pytest.raises(CapacityError, match="3 of 6 servers of version 2") as raised:
            router.set_weight(2, 50)
        raised.match(SHORT[short_of])
        raised.match("quota, nodes")
        assert router.state.weight == 0
        with pytest.raises(CapacityError, match="3 of 6 servers"):
            router.promote(2)
        assert (router.stable, router.candidate) == (1, 2)
        scalers.users = 0
        router.promote(2, insist=False)
        assert router.stable == 2


def test_a_wait_for_servers_that_copies_need_can_be_ended(scaled: Driver) -> None:
    def ended() -> None:
        raise InterruptedError

    scalers = scaled.cluster.autoscalers
    scalers.short_of = "nodes"
    router = scaled.router(ready_timeout=60)
    with router.exclusive():
        serve(router, 1)
        users_need(scaled, 6)
        router.deploy(release(2), timeout=10)
        scalers.room = 9
        with pytest.raises(InterruptedError):
            router.route(Routing(mirror=1.0), meanwhile=ended)
        assert router.state.assignment.mirror == 0


def test_a_bound_that_somebody_altered_is_written_again(scaled: Driver) -> None:
    router = scaled.router()
    with router.exclusive():
        serve(router, 1)
        users_need(scaled, 6)
        router.deploy(release(2), timeout=10)
        router.set_weight(2, 50)
        found = scaled.cluster.get("inferenceservices", "adult-v2")
        assert found is not None
        found["spec"]["predictor"]["minReplicas"] = 1
        router.mend()
        assert least(scaled, 2) == 6


def test_a_version_of_before_keeps_the_servers_that_it_was_given(driver: Driver) -> None:
    router = driver.router(replicas=3)
    with router.exclusive():
        serve(router, 1)
    before = predictor(driver, 1)
    again = driver.router(autoscaling=HPA)
    with again.exclusive():
        again.deploy(release(2), timeout=10)
        again.set_weight(2, 50)
        assert predictor(driver, 1) == before
        again.rollback(2)
        again.clean_up()
        assert predictor(driver, 1) == before


def test_what_the_project_file_says_later_starts_no_server_anew(scaled: Driver) -> None:
    router = scaled.router()
    with router.exclusive():
        serve(router, 1)
        users_need(scaled, 4)
    before = predictor(scaled, 1)
    again = scaled.router(service_account="another", autoscaling=HPA | {"target": 50})
    with again.exclusive():
        again.deploy(release(2), timeout=10)
        again.set_weight(2, 50)
        assert predictor(scaled, 1) == before | {"minReplicas": 4}


def seen(router: KserveService, version: int) -> tuple[int, int]:
    found = router.observe().servers[version]
    return found.ready, found.ended


def test_servers_are_counted_and_those_that_end_too(scaled: Driver) -> None:
    router = scaled.router()
    scalers = scaled.cluster.autoscalers
    scalers.keeps = 0
    with router.exclusive():
        serve(router, 1)
        users_need(scaled, 5)
        assert seen(router, 1) == (5, 0)
        scalers.users = 0
        until(lambda: seen(router, 1) == (2, 3), what="three have ended", every=0.01)
        router.deploy(release(2), timeout=10)
        router.route(Routing())
        assert seen(router, 2)[1] == 0


def test_servers_that_nothing_scales_are_not_counted(driver: Driver) -> None:
    router = driver.router(replicas=2)
    with router.exclusive():
        serve(router, 1)
        assert router.observe().servers == {}
