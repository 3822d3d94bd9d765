"""A canary through a gateway that asks for a key of every request, as in production."""

from __future__ import annotations

import pytest
from kserve_world import BODIES, Driver, look_often, release, serve
from running_process import until

from penstock.errors import ServiceError
from penstock.rollout.router import Routing

pytestmark = pytest.mark.usefixtures("stored")
KEY = "a-key-of-the-rollout"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT_KEY", KEY)
    look_often(monkeypatch)


def test_a_canary_is_probed_replayed_and_promoted_with_the_key(driver: Driver) -> None:
    driver.cluster.key = KEY
    router = driver.router(access={"token": "${env:ENDPOINT_KEY}"})
    with router.exclusive():
        serve(router, 1)
        address = router.deploy(release(2), timeout=10)
        assert driver.at(address) == "2"
        router.route(Routing(mirror=0.5))
        router.set_weight(2, 40)
        with router.replay(BODIES, rate=200):
            until(lambda: router.observe().pairs.candidate.requests >= 5)
            # Which arm a request is for is drawn.
            until(lambda: router.observe().arms.keys() == {1, 2})
        seen = router.observe().arms
        router.promote(2)
        router.clean_up()
    # Not one answer was the gateway's own.
    assert set(seen) == {1, 2}
    assert not any(arm.client_errors or arm.server_errors for arm in seen.values())
    assert driver.versions() == {"2"}
    assert KEY not in repr(address)
    assert driver.ask(3) == {"none": 3}, "users need a key of theirs"
    assert driver.ask(3, authorization=f"Bearer {KEY}") == {"2": 3}


def test_without_the_key_no_version_is_taken_for_one_that_answers(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.rollout.backends.kserve.prober._SHUT_OUT", 0.2)
    driver.cluster.key = KEY
    router = driver.router()
    with router.exclusive():
        router.open()
        with pytest.raises(ServiceError, match="asks for a token, and none is named") as caught:
            router.deploy(release(1), timeout=10)
    assert "deployment.kserve.access.token" in str(caught.value)


def test_a_token_that_ends_in_the_midst_is_no_failure_of_either_version(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.rollout.backends.kserve.prober._SHUT_OUT", 0.2)
    driver.cluster.key = KEY
    router = driver.router(access={"token": "${env:ENDPOINT_KEY}"})
    with router.exclusive():
        serve(router, 1)
        router.deploy(release(2), timeout=10)
        router.set_weight(2, 40)
        with router.replay(BODIES, rate=200):
            until(lambda: router.observe().arms.keys() == {1, 2})
            assert router.health(2).ready
            driver.cluster.key = "another-key"
            until(lambda: not router.health(2).ready)
            assert router.health(2).reason == "The gateway answers with status 401."
        arms = router.observe().arms.values()
        assert not any(arm.client_errors or arm.server_errors for arm in arms)
        # The traffic is back; that it is cannot be seen, so what had it is kept.
        with pytest.raises(ServiceError, match="does not take the token"):
            router.rollback(2)
        assert driver.ask(20, authorization="Bearer another-key") == {"1": 20}
        assert driver.versions() == {"1", "2"}
        monkeypatch.setenv("ENDPOINT_KEY", "another-key")
        router.rollback(2)


def test_of_two_listeners_a_token_goes_to_the_one_with_tls(driver: Driver) -> None:
    gateway = driver.cluster.objects["gateways", "penstock", "penstock"]
    gateway["spec"]["listeners"].append({"name": "https", "port": 443, "protocol": "HTTPS"})
    access = {"token": "${env:ENDPOINT_KEY}"}
    assert driver.router().backend.reach().startswith("http://")
    assert driver.router(access=access).backend.reach().startswith("https://")
