"""Releases in Knative mode, by a router that was left open, on real model servers."""

from __future__ import annotations

from typing import Any

import pytest
from cluster_emulator import GATEWAY
from kserve_site import Site

from penstock.errors import InputError
from penstock.rollout import control
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import target_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kserve-knative")]


@pytest.fixture(scope="module")
def site(site: Site) -> Site:
    """The same with Knative and without a gateway."""
    site.in_knative("kserve")
    return site


def _storage(site: Site) -> tuple[str, int | None]:
    found = site.cluster.get("inferenceservices", "adult")
    assert found is not None
    predictor = found["spec"]["predictor"]
    return predictor["model"]["storageUri"], predictor.get("canaryTrafficPercent")


def _let_the_lease_run_out(site: Site) -> None:
    # How it does by itself is tested in test_kserve_release.py.
    lease = site.cluster.get("leases", "penstock-adult")
    assert lease is not None
    site.cluster.put("leases", {**lease, "spec": {**lease["spec"], "holderIdentity": ""}})


@pytest.mark.long
def test_a_good_candidate_is_promoted_and_a_bad_one_leaves_the_good_files(site: Site) -> None:
    world = site.world
    second, _, (_, share) = site.good_then_bad("kserve-knative", kept=lambda: _storage(site))
    one, two = second.stable, second.candidate
    assert share is None
    assert world.deployed(2).url == "http://adult.penstock.example.com"

    (found,) = control.status(site.place())
    assert any(f"version {two}: 100 %" in line for line in found.lines())
    assert found.service.running
    spec = DeploymentSpec.model_validate(site.spec)
    back = control.roll_back(site.place(), spec=spec, tracking_uri=world.uri, to=one)
    assert (back.candidate, back.router) == (one, "kserve-knative")
    assert (world.champion(), site.ask()) == (one, str(one))


@pytest.mark.long
@pytest.mark.parametrize("word", ["resume", "abort"])
def test_a_killed_controller_s_rollout_is_gone_on_with_or_ended(site: Site, word: str) -> None:
    site.has_served()
    before, good = site.ask(), _storage(site)
    depth = {"resume": 5, "abort": 6}[word]
    with site.held_in_a_step(depth):
        pass
    _let_the_lease_run_out(site)
    # A gateway has come meanwhile, which a new service would get.
    site.cluster.put("gateways", GATEWAY)
    try:
        if word == "resume":
            control.approve(site.place())
            resumed = control.resume(site.place())
            assert (resumed.outcome, resumed.router) == ("promoted", "kserve-knative")
            assert site.ask() == str(resumed.candidate) != before
        else:
            ended = control.abort(site.place(), reason="enough")
            assert ended is not None
            assert ended.outcome == "rolled_back"
            assert (site.ask(), _storage(site)) == (before, good)
    finally:
        site.cluster.delete("gateways", "penstock")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"canary": {"choice_header": "x-variant"}}, "no choice of a version by a header"),
        ({"canary": {"sticky_header": "x-user"}}, "no assignment by the value of a header"),
        ({"canary": {"traffic": {"source": "live"}}}, "live traffic alone shows nothing"),
        ({"canary": {"steps": [{"weight": 100}]}}, "keeps no way back"),
        ({"kserve": {"hostname": "adult.example.org"}}, "KServe names the host"),
    ],
)
def test_what_knative_cannot_do_is_refused(site: Site, changes: dict[str, Any], match: str) -> None:
    spec = DeploymentSpec.model_validate(site.spec | {"router": "kserve-knative"} | changes)
    with pytest.raises(InputError, match=match):
        _ = target_of(spec, service="adult", home=site.world.home, tracking_uri="").router
