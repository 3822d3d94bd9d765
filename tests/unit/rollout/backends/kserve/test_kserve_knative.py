"""The router of KServe in Knative mode on an emulated cluster: what it writes, and waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster_emulator import Scripted, running
from kserve_world import Driver, Ending, KilledError, release, serve
from running_process import until

from penstock.errors import InputError, ServiceError
from penstock.rollout.backends.kserve.backend import KserveService
from penstock.rollout.backends.kserve.knative import KnativeBackend
from penstock.rollout.router import Routing

pytestmark = pytest.mark.usefixtures("stored")


@pytest.fixture
def driver() -> Iterator[Driver]:
    with running() as cluster:
        cluster.install_knative()
        yield Driver(cluster, KnativeBackend)


def predictor_of(driver: Driver) -> dict[str, Any]:
    found = driver.cluster.get("inferenceservices", "adult")
    assert found is not None
    return dict(found["spec"]["predictor"])


def served_by(driver: Driver) -> tuple[str, int | None]:
    """Return the files and the share in the InferenceService."""
    predictor = predictor_of(driver)
    return predictor["model"]["storageUri"], predictor.get("canaryTrafficPercent")


def never_served(driver: Driver, version: int) -> bool:
    """Return whether no route of Knative's ever gave a revision of this version a request."""
    ksvc = driver.cluster.knative.services["adult"]
    mine = {
        revision.name
        for revision in ksvc.revisions
        if revision.template["labels"]["penstock/version"] == str(version)
    }
    assert mine
    return not any(
        share
        for shares in driver.cluster.knative.seen
        for name, share in shares.items()
        if name in mine
    )


def test_one_inferenceservice_has_the_files_and_the_share_of_the_newest(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        assert served_by(driver) == ("s3://models/adult/1", None)
        router.deploy(release(2), timeout=10)
        assert served_by(driver) == ("s3://models/adult/2", 0)
        router.promote(2)
        router.clean_up()
        assert served_by(driver) == ("s3://models/adult/2", None)
        assert router.url == "http://adult.penstock.example.com"
    assert len(driver.cluster.knative.services["adult"].revisions) == 2


def test_what_is_written(driver: Driver) -> None:
    router = driver.router(replicas=2)
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2, fault="errors"), timeout=10)
        router.route(Routing(mirror=0.5))
        router.set_weight(2, 20)
    found = driver.cluster.get("inferenceservices", "adult")
    assert found is not None
    annotations = found["metadata"]["annotations"]
    assert annotations["serving.kserve.io/deploymentMode"] == "Knative"
    assert annotations["serving.kserve.io/enable-tag-routing"] == "true"
    assert annotations["penstock/digest"] == f"sha256:{2:064}"
    predictor = found["spec"]["predictor"]
    assert (predictor["canaryTrafficPercent"], predictor["minReplicas"]) == (20, 2)
    assert predictor["model"]["command"][-1] == "--fault=errors"
    # What changes with the traffic is in no revision, and none of it makes a new one.
    assert len(driver.cluster.knative.services["adult"].revisions) == 2
    state = driver.cluster.get("configmaps", "penstock-service-adult")
    assert state is not None
    assert '"mirror":0.5' in state["metadata"]["annotations"]["penstock/state"]
    # By this label journals are found, and it is none.
    assert "penstock/service" not in state["metadata"]["labels"]


def test_a_rollback_ends_with_the_good_files_in_the_spec(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        router.set_weight(2, 50)
        router.rollback(2)
        # First the traffic, while the bad files are still there.
        assert served_by(driver) == ("s3://models/adult/2", 0)
        assert driver.ask(50) == {"1": 50}
        router.clean_up()
        assert served_by(driver) == ("s3://models/adult/1", None)
        found = driver.cluster.get("inferenceservices", "adult")
        assert found is not None
        assert found["metadata"]["annotations"]["penstock/digest"] == f"sha256:{1:064}"
        assert driver.ask(50) == {"1": 50}
        assert driver.versions() == {"1"}
        assert (router.stable, router.candidate) == (1, None)


def test_files_that_come_back_serve_only_once_they_are_ready(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        slow: list[Scripted] = []

        def start(name: str, predictor: dict[str, Any]) -> Scripted:
            slow.append(Scripted("1", ready=False))
            return slow[-1]

        router.rollback(2)
        driver.cluster.start = start
        seen = len(driver.cluster.knative.seen)
        ready_soon(slow)
        router.clean_up()
        assert served_by(driver) == ("s3://models/adult/1", None)
    assert never_served(driver, 2)
    # The revision of the first release gave its requests to the restored one, and no other had any.
    assert driver.cluster.knative.seen[seen:][-1] == {"adult-predictor-00003": 100}


def test_files_that_knative_never_saw_are_taken_back_too(driver: Driver) -> None:
    router = driver.router(ready_timeout=15)
    with router.exclusive():
        serve(router, 1)
        driver.cluster.knative.paused = True
        again = threading.Timer(3, lambda: setattr(driver.cluster.knative, "paused", False))
        again.start()
        with pytest.raises(ServiceError, match="did not become ready within 1 s"):
            router.deploy(release(2), timeout=1)
        again.join()
        assert served_by(driver) == ("s3://models/adult/1", None)
        assert driver.ask(10) == {"1": 10}
    revisions = driver.cluster.knative.services["adult"].revisions
    assert [each.template["labels"]["penstock/version"] for each in revisions] == ["1", "1"]


def ready_soon(servers: list[Scripted]) -> None:
    def come_up() -> None:
        until(lambda: servers)
        time.sleep(1.5)
        servers[0].ready = True

    threading.Thread(target=come_up, daemon=True).start()


@pytest.mark.parametrize("clean", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_promoted_version_is_taken_back(driver: Driver, clean: bool) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        router.promote(2)
        if clean:
            router.clean_up()
        router.rollback(2)
        assert driver.ask(50) == {"1": 50}
        assert router.stable == 1
        router.rollback(2)
        router.clean_up()
        assert driver.versions() == {"1"}
        assert served_by(driver) == ("s3://models/adult/1", None)


@pytest.mark.parametrize(
    ("reason", "match"),
    [
        ("InvalidImageName", "did not become ready: InvalidImageName"),
        ("", "Revision adult-predictor-00002 is not ready"),
    ],
)
def test_a_candidate_that_does_not_come_up_never_had_a_request(
    driver: Driver, reason: str, match: str
) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        driver.break_start(2, reason=reason)
        with pytest.raises(ServiceError, match=match):
            router.deploy(release(2), timeout=1)
        assert served_by(driver) == ("s3://models/adult/1", None)
    assert never_served(driver, 2)


def test_a_service_in_standard_mode_is_found_out_before_it_is_written(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        before = driver.cluster.get("inferenceservices", "adult")
        driver.cluster.standard = True
        with pytest.raises(ServiceError, match=r"is in Standard mode.*ignores canaryTrafficPer"):
            router.deploy(release(2), timeout=10)
        assert driver.cluster.get("inferenceservices", "adult") == before
        assert router.candidate is None


def test_a_first_version_in_standard_mode_is_removed_again(driver: Driver) -> None:
    driver.cluster.standard = True
    router = driver.router()
    with router.exclusive():
        router.open()
        with pytest.raises(ServiceError, match="is in Standard mode"):
            router.deploy(release(1), timeout=10)
    assert driver.cluster.get("inferenceservices", "adult") is None


def test_a_revision_that_kserve_picks_wrongly_is_noticed(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        router.promote(2)
        router.clean_up()
        # It looks between two steps of Knative's, takes a share of 0 % of the revision that serves
        # for a rollback, and gives users the one before.
        driver.cluster.knative.torn = 1
        with pytest.raises(
            ServiceError, match="gives users' requests to revision adult-predictor-00001"
        ):
            router.deploy(release(3), timeout=10)
        assert driver.ask(30) == {"2": 30}
        assert served_by(driver) == ("s3://models/adult/2", None)
        router.deploy(release(3), timeout=10)
        assert driver.ask(30) == {"2": 30}


@pytest.mark.parametrize("alter", ["deleted", "files", "share"])
def test_what_others_alter_is_written_again(driver: Driver, alter: str) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        found = driver.cluster.get("inferenceservices", "adult")
        assert found is not None
        if alter == "deleted":
            driver.cluster.delete("inferenceservices", "adult")
        else:
            predictor = dict(found["spec"]["predictor"])
            if alter == "files":
                predictor["model"] = {**predictor["model"], "storageUri": "s3://theirs"}
            predictor["canaryTrafficPercent"] = 20
            driver.cluster.put("inferenceservices", {**found, "spec": {"predictor": predictor}})
        router.mend()
        assert served_by(driver) == ("s3://models/adult/1", None)
        assert driver.ask(5) == {"1": 5}


def test_what_others_delete_in_a_rollout_is_made_again(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        beside = router.deploy(release(2), timeout=10)
        router.set_weight(2, 20)
        driver.cluster.delete("inferenceservices", "adult")
        assert "was deleted" in router.health(2).reason
        router.mend()
        assert driver.at(beside) == "2"
        router.set_weight(2, 0)
        assert driver.ask(20) == {"1": 20}


STEPS: list[Callable[[KserveService], Any]] = [
    lambda router: router.deploy(release(2), timeout=10),
    lambda router: router.set_weight(2, 40),
    lambda router: router.rollback(2),
    lambda router: router.clean_up(),
    lambda router: router.deploy(release(3), timeout=10),
    lambda router: router.set_weight(3, 40),
    lambda router: router.promote(3),
    lambda router: router.clean_up(),
    lambda router: router.rollback(3),
    lambda router: router.clean_up(),
]


@pytest.mark.long
def test_a_controller_that_dies_at_any_write_is_gone_on_from(driver: Driver) -> None:
    """Each write in turn is the last one of its controller; a new one does the action again."""
    first = driver.router()
    with first.exclusive():
        serve(first, 1)
    number, lives, deaths = 0, 1, 0
    while number < len(STEPS):
        router = driver.router()
        with router.exclusive():
            Ending(router, left=lives - 1, how="after")
            try:
                STEPS[number](router)
                number, lives = number + 1, 1
            except KilledError:
                lives, deaths = lives + 1, deaths + 1
        unproven = {"2"} if number not in (1, 2) else set()
        assert driver.ask(20).keys() <= {"1", "2", "3"} - unproven, number
    assert deaths >= 10
    assert served_by(driver) == ("s3://models/adult/1", None)
    assert driver.ask(30) == {"1": 30}


def test_an_inferenceservice_of_somebody_else_is_left_alone(driver: Driver) -> None:
    theirs = {
        "metadata": {"name": "adult", "labels": {}},
        "spec": {"predictor": {"model": {"storageUri": "s3://x", "args": ["--version=9"]}}},
    }
    driver.cluster.put("inferenceservices", theirs)
    router = driver.router()
    with router.exclusive(), pytest.raises(ServiceError, match="was not made by Penstock"):
        router.open()
    found = driver.cluster.get("inferenceservices", "adult")
    assert found is not None
    assert found["spec"] == theirs["spec"]
    assert driver.cluster.get("configmaps", "penstock-service-adult") is None


def test_a_service_whose_state_is_gone_is_not_taken_from_users(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
    driver.cluster.delete("configmaps", "penstock-service-adult")
    router = driver.router()
    with router.exclusive(), pytest.raises(ServiceError, match="keeps its state is gone"):
        router.open()
    assert driver.ask(5) == {"1": 5}


def test_all_requests_are_given_by_a_promotion_alone(driver: Driver) -> None:
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        with pytest.raises(InputError, match="no way back"):
            router.set_weight(2, 100)


def test_without_an_address_the_service_s_own_is_taken(driver: Driver) -> None:
    router = driver.router(address="")
    with router.exclusive():
        router.open()
        assert router.url == ""
    router = driver.router()
    with router.exclusive():
        serve(router, 1)
    assert driver.router(address="").backend.reach() == "http://adult.penstock.example.com"
