"""What a router leaves on a cluster, whatever ends it: nothing that no state names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from cluster_emulator import Fault, Scripted, running
from kserve_world import Driver, Ending, KilledError, look_often, release, serve

from penstock.cluster.client import INFERENCE_SERVICES, ForbiddenError
from penstock.errors import LeaseLostError, ServiceError
from penstock.rollout.backends.kserve.backend import KserveService
from penstock.rollout.backends.kserve.choice import ROUTERS, settled_kind
from penstock.rollout.backends.kserve.inference import delete
from penstock.rollout.backends.kserve.state import ClusterState
from penstock.rollout.router import Routing
from penstock.rollout.spec import KserveSpec

pytestmark = pytest.mark.usefixtures("stored")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    look_often(monkeypatch)


Action = Callable[[KserveService], Any]
STEPS: list[Action] = [
    lambda router: (router.open(), router.deploy(release(1), timeout=10)),
    lambda router: router.promote(1),
    lambda router: router.clean_up(),
    lambda router: router.deploy(release(2), timeout=10),
    lambda router: router.route(Routing(mirror=0.5)),
    lambda router: router.set_weight(2, 40),
    lambda router: router.rollback(2),
    lambda router: router.clean_up(),
    lambda router: router.deploy(release(3), timeout=10),
    lambda router: router.promote(3),
    lambda router: router.clean_up(),
    lambda router: router.rollback(3),
    lambda router: router.clean_up(),
]


def servers_named(state: ClusterState) -> set[str]:
    return {arm.name for arm in (*state.roles().values(), *state.passing)}


def served(driver: Driver) -> set[str]:
    """Return the InferenceServices that are there."""
    return {key[2] for key in driver.cluster.objects if key[0] == "inferenceservices"}


@pytest.fixture
def scaled(driver: Driver) -> Driver:
    """Of versions that load scales, with users whom one server does not do."""
    driver.settings = {"autoscaling": {"min_replicas": 2, "max_replicas": 20, "settle_seconds": 0}}
    driver.cluster.autoscalers.users = 30
    driver.cluster.autoscalers.starts_in = 0
    return driver


def floors(driver: Driver) -> list[int]:
    """Return how few servers each version is left."""
    found = [one for key, one in driver.cluster.objects.items() if key[0] == "inferenceservices"]
    return [one["spec"]["predictor"]["minReplicas"] for one in found]


@pytest.mark.exhaustive
@pytest.mark.parametrize("how", ["before", "after", "refused", "forbidden"])
def test_whatever_write_is_the_last_of_a_version_that_load_scales(
    scaled: Driver, how: str, quick: None
) -> None:
    go_on_after_each(scaled, STEPS, how=how)
    assert (scaled.versions(), floors(scaled)) == ({"1"}, [2])


@pytest.mark.parametrize("how", ["before", pytest.param("after", marks=pytest.mark.long)])
def test_a_floor_is_raised_and_given_back_whoever_dies_at_it(
    scaled: Driver, how: str, quick: None
) -> None:
    router = scaled.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
    raising: Action = lambda router: router.set_weight(2, 50)  # noqa: E731
    ends_at_each(scaled, raising, how=how, wanted=[4, 4])
    ends_at_each(scaled, lambda router: router.promote(2), how=how, wanted=[4, 8])
    ends_at_each(scaled, lambda router: router.clean_up(), how=how, wanted=[2])


def ends_at_each(driver: Driver, action: Action, *, how: str, wanted: list[int]) -> None:
    """End an action at each of its writes in turn; do it again, and see the floors it leaves."""
    lives, hit = 0, True
    while hit:
        router = driver.router(ready_timeout=10)
        with contextlib.suppress(KilledError), router.exclusive():
            ending = Ending(router, left=lives, how=how)
            action(router)
        hit, lives = ending.hit, lives + 1
    assert lives > 1
    assert floors(driver) == wanted


@pytest.mark.exhaustive
@pytest.mark.parametrize("how", ["before", "after", "refused", "forbidden"])
def test_whatever_write_is_the_last_the_next_controller_goes_on(
    each: Driver, how: str, quick: None
) -> None:
    go_on_after_each(each, STEPS, how=how)
    assert each.versions() == {"1"}


def test_a_controller_that_dies_at_a_write_leaves_nothing_behind(each: Driver, quick: None) -> None:
    go_on_after_each(each, STEPS[:4], how="after")
    assert each.versions() == {"1", "2"}


def go_on_after_each(each: Driver, steps: list[Action], *, how: str) -> None:
    """End each action at each of its writes in turn, and do it again by a new controller."""
    number, lives, ends = 0, 0, 0
    while number < len(steps):
        router = each.router(ready_timeout=10)
        # The dead may not tidy up either, when the block ends.
        with contextlib.suppress(KilledError), router.exclusive():
            # What is there has a role in the state: whoever came before left nothing else.
            assert served(each) == servers_named(router.state), (number, lives)
            assert router.state.passing == ()
            ending = Ending(router, left=lives, how=how)
            try:
                steps[number](router)
                number, lives = number + (not ending.hit), 0 if not ending.hit else lives + 1
            except (KilledError, ServiceError):
                assert ending.hit
                lives, ends = lives + 1, ends + 1
        read = each.router()
        if read.refresh():
            # Written before it is started, forgotten after it is gone.
            assert served(each) <= servers_named(read.state), (number, lives)
        # Knative gives a very first version its requests before it is promoted.
        first = each.kind is ROUTERS["kserve-knative"] and number < 1
        known = {"none"} | ({"1"} if number >= 1 or first else set()) | {"2", "3"}
        assert each.ask(5).keys() <= known
        if 3 <= number < 4:
            assert each.ask(20) == {"1": 20}
    assert ends >= len(steps)
    assert each.ask(20) == {"1": 20}


def test_what_no_state_names_is_swept_and_nothing_else(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
    mine = driver.cluster.get("inferenceservices", "adult-v1")
    assert mine is not None

    def put(name: str, **labels: str) -> None:
        metadata = {"name": name, "labels": {**mine["metadata"]["labels"], **labels}}
        driver.cluster.put("inferenceservices", {**mine, "metadata": metadata})

    put("adult-v7")
    put("census-v7", **{"penstock/service": "census"})
    put("theirs", **{"app.kubernetes.io/managed-by": "somebody"})
    # What the other routers have of a service bears its own name, and their states tell of it.
    put("adult")
    with driver.router().exclusive():
        assert served(driver) == {"adult-v1", "census-v7", "theirs", "adult"}
    assert driver.ask(5) == {"1": 5}


# Names of other services.


def test_a_service_whose_name_is_another_s_version_keeps_its_own(driver: Driver) -> None:
    """Version 2 of `adult` has the name of the service `adult-v2` of KServe's own canary."""
    other = Driver(driver.cluster, ROUTERS["kserve-native"])
    theirs = other.router(service="adult-v2")
    with theirs.exclusive():
        serve(theirs, 1)
    before = driver.cluster.get("inferenceservices", "adult-v2")
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        with pytest.raises(ServiceError, match="belongs to service adult-v2"):
            router.deploy(release(2), timeout=5)
        assert router.candidate is None
        router.clean_up()
    assert driver.cluster.get("inferenceservices", "adult-v2") == before
    assert served(driver) == {"adult-v1", "adult-v2"}


@pytest.mark.parametrize(
    ("first", "second"),
    [(("kserve-native", "adult"), ("kserve-gateway", "adult-arms"))],
)
def test_a_route_of_another_service_is_left_alone(
    driver: Driver, first: tuple[str, str], second: tuple[str, str]
) -> None:
    kind, service = first
    router = Driver(driver.cluster, ROUTERS[kind]).router(service=service)
    with router.exclusive():
        serve(router, 1)
    before = driver.cluster.get("httproutes", "adult-arms")
    kind, service = second
    other = Driver(driver.cluster, ROUTERS[kind]).router(service=service)
    with pytest.raises(ServiceError, match="belongs to service adult,"), other.exclusive():
        pass
    assert driver.cluster.get("httproutes", "adult-arms") == before
    kube = driver.kube()
    assert settled_kind(kube, KserveSpec(), service="adult", begun=list) == "kserve-native"
    assert settled_kind(kube, KserveSpec(), service="adult-arms", begun=list) == ""


def test_an_inferenceservice_of_somebody_else_is_neither_written_nor_deleted(
    driver: Driver,
) -> None:
    theirs = {
        "metadata": {"name": "adult-v2", "labels": {}},
        "spec": {"predictor": {"model": {"storageUri": "s3://x", "args": ["--version=9"]}}},
    }
    driver.cluster.put("inferenceservices", theirs)
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        with pytest.raises(ServiceError, match="was not made by Penstock"):
            router.deploy(release(2), timeout=5)
    found = driver.cluster.get("inferenceservices", "adult-v2")
    assert found is not None
    assert found["spec"] == theirs["spec"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"service": 3}'])
def test_a_state_that_cannot_be_read_is_named(driver: Driver, text: str) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
    route = driver.cluster.get("httproutes", "adult")
    assert route is not None
    metadata = {**route["metadata"], "annotations": {"penstock/state": text} if text else {}}
    driver.cluster.put("httproutes", {**route, "metadata": metadata})
    with pytest.raises(Exception, match="HTTPRoute penstock/adult") as caught:
        driver.router().refresh()
    assert type(caught.value).__module__ == "penstock.errors"


# Controllers that were taken over from.


def let_go(driver: Driver) -> None:
    """Have whoever holds the lease be taken for dead."""
    found = driver.cluster.get("leases", "penstock-adult")
    assert found is not None
    driver.cluster.put("leases", {**found, "spec": {**found["spec"], "holderIdentity": ""}})


@pytest.mark.parametrize(
    "each",
    [
        "kserve-gateway",
        *(
            pytest.param(kind, marks=pytest.mark.long)
            for kind in ("kserve-knative", "kserve-native")
        ),
    ],
    indirect=True,
)
@pytest.mark.parametrize(
    "act",
    [
        lambda router: router.set_weight(2, 90),
        lambda router: router.promote(2),
        lambda router: router.rollback(2),
        lambda router: router.deploy(release(3), timeout=5),
        lambda router: router.route(Routing(mirror=0.5)),
        lambda router: router.backend._follow() or router._save(),
    ],
)
def test_a_stale_controller_changes_nothing(each: Driver, act: Action) -> None:
    stale = each.router()
    with stale.exclusive():
        serve(stale, 1)
        stale.deploy(release(2), timeout=10)
        stale.set_weight(2, 40)
        let_go(each)
        successor = each.router()
        with successor.exclusive():
            successor.set_weight(2, 30)
            # It does not know yet.
            stale._lease._valid_until = float("inf")
            before = _written(each)
            with pytest.raises(LeaseLostError):
                act(stale)
            assert _written(each) == before
            successor.set_weight(2, 20)


def test_a_stale_controller_deletes_nothing_that_was_made_anew(driver: Driver) -> None:
    stale = driver.router()
    with stale.exclusive():
        serve(stale, 1)
        stale.deploy(release(2), timeout=10)
        path = INFERENCE_SERVICES.path("penstock", "adult-v2")
        found = driver.kube().get(path)
        assert found is not None
        let_go(driver)
        successor = driver.router()
        with successor.exclusive():
            successor.rollback(2)
            successor.clean_up()
            successor.deploy(release(2), timeout=10)
            delete(driver.kube(), "penstock", found, service="adult")
            assert driver.versions() == {"1", "2"}


def test_what_is_deleted_slowly_is_not_said_to_be_held(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.rollout.backends.kserve.state_store.EFFECT", 0.1)
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
    found = driver.cluster.get("inferenceservices", "adult-v1")
    assert found is not None
    driver.cluster.faults.append(Fault("DELETE", "inferenceservices", 200, times=9))
    with pytest.raises(ServiceError, match=r"it is not deleted within 60 s\. Look"):
        delete(driver.kube(), "penstock", found, service="adult")
    found["metadata"]["finalizers"] = ["kserve.io/finalizer"]
    driver.cluster.put("inferenceservices", found)
    with pytest.raises(ServiceError, match=r"60 s: the finalizer kserve\.io/finalizer holds"):
        delete(driver.kube(), "penstock", found, service="adult")


def _written(driver: Driver) -> dict[Any, Any]:
    kinds = ("inferenceservices", "httproutes", "configmaps")
    return {
        key: (found["metadata"]["uid"], found["metadata"]["resourceVersion"])
        for key, found in driver.cluster.objects.items()
        if key[0] in kinds
    }


def test_a_write_that_is_refused_changes_nothing_here_either(each: Driver) -> None:
    router = each.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        before = router.state
        Ending(router, left=0, how="forbidden")
        for act in (
            lambda: router.set_weight(2, 40),
            lambda: router.route(Routing(mirror=0.5)),
            lambda: router.promote(2),
        ):
            with pytest.raises(ForbiddenError):
                act()
            assert router.state == before


def test_a_lease_that_was_deleted_shuts_nobody_out(driver: Driver) -> None:
    for version in (1, 2, 3):
        router = driver.router()
        with router.exclusive():
            serve(router, version)
    driver.cluster.delete("leases", "penstock-adult")
    router = driver.router()
    with router.exclusive():
        serve(router, 4)
        assert router._lease.term > 3
    assert driver.ask(5) == {"4": 5}


# How long a version that served before may take.


@pytest.mark.parametrize(
    "kind",
    ["kserve-gateway", "kserve-knative", pytest.param("kserve-native", marks=pytest.mark.long)],
)
def test_a_way_back_that_does_not_come_up_ends_by_ready_timeout(kind: str, quick: None) -> None:
    with running() as cluster:
        cluster.install_knative()
        driver = Driver(cluster, ROUTERS[kind])
        router = driver.router(ready_timeout=0.5)
        with router.exclusive():
            serve(router, 1)
            serve(router, 2)
            cluster.start = lambda *_: Scripted("1", ready=False)
            with pytest.raises(ServiceError, match=r"version 1 did not become ready within 0\.5 s"):
                router.rollback(2)
            assert router.stable == 2
            assert driver.ask(5) == {"2": 5}
