"""An experiment of a service on a cluster: who is led where, and what is left after any kill."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_emulator import Cluster, Fault
from kserve_world import Driver, Ending, KilledError, look_often, release, serve

from penstock.captures.spec import ShippedCapturesSpec
from penstock.cluster.client import Manifest
from penstock.errors import ServiceError
from penstock.rollout.backends.kserve import proxy_manifests, routes
from penstock.rollout.backends.kserve.backend import KserveService
from penstock.rollout.proxy.experiment import User
from penstock.rollout.proxy.pod import parser
from penstock.rollout.router import ExperimentRouting, Routing
from penstock.rollout.spec import KserveSpec

USERS = ExperimentRouting(identity="2-experiment-x", salt="s", header="x-user-id", labels=False)
NAME = "adult-experiment"
NAMES = [f"user-{number}" for number in range(40)]
Action = Callable[[KserveService], object]

pytestmark = pytest.mark.usefixtures("stored")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    look_often(monkeypatch)
    monkeypatch.setattr("penstock.rollout.backends.kserve.experiment_proxy.POLL", 0.01)


def begin(router: KserveService, weight: int = 20) -> None:
    router.route(Routing(experiment=USERS))
    router.set_weight(2, weight)


def answers(driver: Driver) -> dict[str, str]:
    """Return the version that each user meets."""
    return {name: next(iter(driver.ask(1, **{USERS.header: name}))) for name in NAMES}


def assigned(weight: int) -> dict[str, str]:
    return {name: "2" if User.of(name, salt=USERS.salt).point < weight else "1" for name in NAMES}


def left(cluster: Cluster) -> list[str]:
    """Return what is there of an experiment's proxy."""
    found = [kind for kind in ("deployments", "services") if cluster.get(kind, NAME)]
    return found + [one.template for one in cluster.deployments.pods.get(NAME, [])]


def test_users_have_their_versions_by_the_salted_hash_and_nothing_is_left_after_it(
    driver: Driver,
) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        begin(router)
        assert answers(driver) == answers(driver) == assigned(20)
        assert driver.ask(20) == {"1": 20}
        # More users: each pod is replaced by one with the new table.
        router.set_weight(2, 50)
        assert answers(driver) == assigned(50)
        tables = {one.template for one in driver.cluster.deployments.pods[NAME]}
        assert len(tables) == 1
        assert len(driver.cluster.deployments.pods[NAME]) == proxy_manifests.REPLICAS
        router.promote(2)
        assert driver.ask(20) == {"2": 20}
        router.clean_up()
        assert router.state.proxy == ""
        assert "proxy" not in router.state.payload()
    assert left(driver.cluster) == []
    assert driver.ask(20) == {"2": 20}


def test_users_are_led_to_the_proxy_only_once_every_pod_is_up(driver: Driver) -> None:
    pods = driver.cluster.deployments
    hasty, patient = driver.router(ready_timeout=0.2), driver.router()
    with hasty.exclusive():
        serve(hasty, 1)
        hasty.deploy(release(2), timeout=10)
        pods.held = True
        with pytest.raises(ServiceError, match=r"not up after 0\.2 s: 0 of 2 pods have its table"):
            hasty.route(Routing(experiment=USERS))
        assert hasty.state.proxy == "begun"
        assert answers(driver) == dict.fromkeys(NAMES, "1")
        pods.held = False
    with patient.exclusive():
        begin(patient)
        assert answers(driver) == assigned(20)
    with hasty.exclusive():
        # A weight that not all have yet is not in effect.
        pods.held = True
        with pytest.raises(ServiceError, match="0 of 2 pods have its table"):
            hasty.set_weight(2, 50)
        assert answers(driver) == assigned(20)
        pods.held = False
    with patient.exclusive():
        patient.set_weight(2, 50)
        assert answers(driver) == assigned(50)
        patient.rollback(2)
        patient.clean_up()
    assert left(driver.cluster) == []
    assert driver.ask(20) == {"1": 20}


def test_who_ends_it_does_not_wait_for_pods_that_never_come_up(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        begin(router)
    driver.cluster.deployments.stop()
    driver.cluster.deployments.held = True
    another = driver.router(ready_timeout=60)
    with another.exclusive():
        health = another.health(2)
        assert (health.ready, health.reason) == (
            False,
            "No pod of the experiment's proxy is ready.",
        )
        another.rollback(2)
        another.clean_up()
    assert left(driver.cluster) == []
    assert driver.ask(20) == {"1": 20}


@pytest.mark.parametrize("kind", ["deployments", "services"])
def test_what_somebody_deletes_of_it_is_written_again(driver: Driver, kind: str) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        begin(router)
        driver.cluster.delete(kind, NAME)
        assert router.health(2).ready == (kind == "services")
        router.mend()
        assert router.health(2).ready
        assert answers(driver) == assigned(20)


def settle(cluster: Cluster) -> None:
    """Let the pods be replaced to the end: that goes on also where no controller looks."""
    deployment = cluster.get("deployments", NAME)
    for _ in range(10):
        cluster.deployments.reconcile(NAME, deployment)


STEPS: list[Action] = [
    lambda router: serve(router, 1),
    lambda router: router.deploy(release(2), timeout=10),
    begin,
    lambda router: router.set_weight(2, 50),
]
ENDS: dict[str, list[Action]] = {
    "promoted": [lambda router: router.promote(2), lambda router: router.clean_up()],
    "kept": [lambda router: router.rollback(2), lambda router: router.clean_up()],
}


@pytest.mark.parametrize(
    ("end", "how"),
    [(end, how) for end in ENDS for how in ("before", "after", "refused")],
)
@pytest.mark.long
def test_a_controller_that_dies_at_any_write_is_gone_on_from(
    driver: Driver, end: str, how: str
) -> None:
    """Each write in turn is the last one of its controller; a new one does the action again."""
    steps = [*STEPS, *ENDS[end]]
    number, lives, ends = 0, 0, 0
    while number < len(steps):
        router = driver.router(ready_timeout=10)
        with contextlib.suppress(KilledError), router.exclusive():
            ending = Ending(router, left=lives, how=how)
            try:
                steps[number](router)
                number, lives = number + (not ending.hit), 0 if not ending.hit else lives + 1
            except (KilledError, ServiceError):
                assert ending.hit
                lives, ends = lives + 1, ends + 1
        settle(driver.cluster)
        if 1 <= number < 4:
            # Nobody changes sides: the champion alone, or as the hash says at one of the weights.
            assert answers(driver) in (assigned(0), assigned(20), assigned(50)), (number, lives)
        if number >= 1:
            assert driver.ask(10).keys() <= {"1", "2"}, (number, lives)
    assert ends >= len(steps)
    assert left(driver.cluster) == []
    winner = "2" if end == "promoted" else "1"
    assert driver.ask(20) == {winner: 20}


@pytest.mark.parametrize("numbers", [[2, 5], pytest.param([*range(8)], marks=pytest.mark.long)])
def test_an_experiment_that_is_broken_off_after_a_kill_leaves_nothing(
    driver: Driver, numbers: list[int]
) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
    for number in numbers:
        router = driver.router(ready_timeout=10)
        with contextlib.suppress(KilledError), router.exclusive():
            router.deploy(release(2), timeout=10)
            ending = Ending(router, left=number, how="after")
            with contextlib.suppress(KilledError):
                begin(router)
            if ending.hit:
                raise KilledError
        another = driver.router()
        with another.exclusive():
            another.rollback(2)
            another.clean_up()
        assert left(driver.cluster) == [], number
        assert driver.ask(20) == {"1": 20}


def test_an_account_without_the_rights_is_told_what_has_them(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        driver.cluster.faults.append(Fault("GET", "/services/", 403, times=10**6))
        with pytest.raises(ServiceError, match="manifests/components/experiments"):
            router.route(Routing(experiment=USERS))
        assert answers(driver) == dict.fromkeys(NAMES, "1")
        driver.cluster.faults.clear()
        router.rollback(2)
        router.clean_up()
    assert left(driver.cluster) == []


VERBS = {"POST": "create", "PUT": "update", "DELETE": "delete", "GET": "get"}


def test_what_is_asked_of_the_cluster_is_in_the_role_of_the_component(driver: Driver) -> None:
    access = Path(__file__).parents[5] / "manifests/components/experiments/access.yaml"
    role = next(one for one in yaml.safe_load_all(access.read_text()) if one["kind"] == "Role")
    granted = {(rule["resources"][0], verb) for rule in role["rules"] for verb in rule["verbs"]}
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        begin(router)
        router.set_weight(2, 50)
        router.promote(2)
        router.clean_up()
    asked = {
        (found[1], VERBS[method])
        for method, path in driver.cluster.calls
        if (found := re.search(r"/(deployments|services)(?:/|$)", path))
    }
    # A Service is the same at every weight: another release writes it anew.
    assert asked == granted - {("services", "update")}


# What is written.


def written(driver: Driver, **captures: Any) -> tuple[Manifest, Manifest]:
    """Return Deployment and Service of an experiment."""
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        begin(router)
        state = router.state
    spec = KserveSpec(captures=ShippedCapturesSpec(**captures))
    runtime = driver.cluster.get("servingruntimes", "penstock")
    assert runtime is not None
    made = proxy_manifests.deployment(state, spec=spec, runtime=runtime)
    return made, proxy_manifests.service_object(state, spec=spec)


def test_the_pods_are_told_what_the_proxy_takes(driver: Driver) -> None:
    made, service = written(driver, destination="s3://bucket/rows", secret="store")
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = parser().parse_args(container["args"])
    assert (given.service, given.experiment) == ("adult", "2-experiment-x")
    assert (given.to, given.spool) == ("s3://bucket/rows", Path("/var/spool/penstock"))
    assert container["image"] == "penstock/serving:1"
    assert container["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert pod["serviceAccountName"] == "penstock-experiment"
    assert pod["automountServiceAccountToken"] is False
    selected = service["spec"]["selector"]
    assert selected.items() <= made["spec"]["template"]["metadata"]["labels"].items()
    assert selected == made["spec"]["selector"]["matchLabels"]
    # Requests are answered, then events shipped, before the pod is killed.
    assert pod["terminationGracePeriodSeconds"] >= 5 + 30 + 20


def test_another_weight_is_another_template_and_the_same_one_none(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        begin(router)
        state = router.state
        before = len(driver.cluster.calls)
        router.set_weight(2, 20)
    wrote = {
        (method, path.rpartition("/")[0].rpartition("/")[2])
        for method, path in driver.cluster.calls[before:]
        if method in ("POST", "PUT")
    }
    assert ("PUT", "deployments") not in wrote
    runtime = driver.cluster.get("servingruntimes", "penstock")
    assert runtime is not None
    digests = {
        weight: proxy_manifests.deployment(
            state.model_copy(update={"weight": weight}), spec=KserveSpec(), runtime=runtime
        )["metadata"]["annotations"]
        for weight in (20, 50)
    }
    assert digests[20] != digests[50]


def test_of_no_pods_not_all_are_up() -> None:
    status = {"observedGeneration": 1, "replicas": 0, "updatedReplicas": 0, "availableReplicas": 0}
    found = {"metadata": {"generation": 1}, "spec": {"replicas": 0}, "status": status}
    assert not proxy_manifests.rolled_out(found)


def test_the_rules_of_the_route_keep_their_places(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        alone = router.state
        begin(router)
        spec = KserveSpec()
        before, during = (
            routes.http_route(state, spec=spec)["spec"]["rules"] for state in (alone, router.state)
        )
    assert [rule["matches"] for rule in before] == [rule["matches"] for rule in during]
    assert before[2:] == during[2:]
    assert [rule["backendRefs"][0]["name"] for rule in during[:2]] == [NAME, NAME]
