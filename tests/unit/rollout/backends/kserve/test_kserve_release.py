"""Releases to an emulated cluster whose model servers are real processes, from the registry on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kserve_site import Site
from receivers import receivers

from penstock.errors import InputError, ServiceError
from penstock.rollout import control
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import history, target_of

READ = {"prometheus": {"url": "http://127.0.0.1:9"}}
REPLAY = {"source": "replay"}
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kserve")]


def test_a_good_candidate_is_promoted_and_a_bad_one_rolled_back(site: Site) -> None:
    world = site.world
    second, third, serving = site.good_then_bad(
        "kserve-gateway", kept=lambda: set(site.cluster.servers)
    )
    one, two = second.stable, second.candidate
    assert serving == {f"adult-v{two}"}

    # What was read from the cluster is what the release returned.
    kept = [journal.rollout for journal in history(site.place())][-2:]
    assert [(r.candidate, r.outcome) for r in kept] == [
        (two, "promoted"),
        (third.candidate, "rolled_back"),
    ]
    assert kept[0].transitions == second.transitions

    (found,) = control.status(site.place())
    assert any(f"version {two}: 100 %" in line for line in found.lines())
    spec = DeploymentSpec.model_validate(site.spec)
    back = control.roll_back(site.place(), spec=spec, tracking_uri=world.uri, to=one)
    assert (back.candidate, world.champion(), site.ask()) == (one, one, str(one))


@pytest.mark.long
def test_a_canary_that_holds_notifies_people_once(site: Site, tmp_path: Path) -> None:
    site.has_served()
    steps = [{"weight": 50, "min_samples": 50, "max_wait": 120, "hold": True}]
    with receivers(tmp_path) as received:
        notify = site.world.teller(received.spec, 4)

        def tell(text: str) -> None:
            notify(text)
            control.approve(site.place())

        assert site.release(4, canary={"steps": steps}, tell=tell).outcome == "promoted"
        received.require_same()
    assert received.types == ["release.waiting"]
    assert "waits for a person" in received.events[0]["data"]["text"]


@pytest.mark.long
def test_a_candidate_that_crashes_is_rolled_back(site: Site) -> None:
    site.has_served()
    before = site.ask()
    canary = {"shadow": {"min_pairs": 10**6, "max_wait": 300}}
    rollout = site.release(5, fault_injection="crash-later", canary=canary)
    assert rollout.outcome == "rolled_back"
    assert "server died" in rollout.reason or "failed" in rollout.reason, rollout.reason
    assert site.ask() == before


@pytest.mark.long
def test_a_killed_controller_is_resumed_from_elsewhere(site: Site) -> None:
    site.has_served()
    with site.held_in_a_step(3):
        assert control.approve(site.place()).endswith("beyond 50 %")
        assert site.place().driven()
    resumed = control.resume(site.place())
    assert resumed.outcome == "promoted", resumed.reason
    assert not site.place().driven()
    assert site.ask() == str(resumed.candidate)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"canary": {"traffic": {"source": "live"}}}, "live traffic alone shows nothing"),
        ({"canary": {"traffic": {"source": "live"}}, "kserve": READ}, "not compared row by row"),
        (
            {
                "canary": {"traffic": {"source": "live"}},
                "kserve": READ,
                "router": "kserve-native",
            },
            "only kserve-gateway copies users' requests",
        ),
        (
            {"canary": {"rules": {"labels": "required"}, "traffic": REPLAY}, "kserve": READ},
            "labels",
        ),
        (
            {
                "canary": {"rules": {"labels": "required"}},
                "kserve": READ,
                "router": "kserve-native",
            },
            "labels that come",
        ),
        ({"canary": {"sticky_header": "x-user"}}, "no assignment by the value of a header"),
        ({"canary": {"rules": {"labels": "required"}}}, "labels that come during a rollout"),
        ({"canary": {"interval": 0.5, "deadline": 36_000}}, "do not fit into a ConfigMap"),
    ],
)
def test_what_a_gateway_cannot_do_is_refused(
    site: Site, changes: dict[str, Any], match: str
) -> None:
    spec = DeploymentSpec.model_validate(site.spec | changes)
    with pytest.raises(InputError, match=match):
        target_of(spec, service="adult", home=site.world.home, tracking_uri=site.world.uri)


def test_names_and_clusters_that_cannot_be_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = DeploymentSpec.model_validate(site.spec)
    with pytest.raises(InputError, match="cannot be the name of a service on Kubernetes"):
        target_of(spec, service="Adult_1", home=site.world.home, tracking_uri="")
    monkeypatch.setenv("KUBECONFIG", str(site.world.home / "absent"))
    with pytest.raises(ServiceError, match="no Kubernetes cluster is known here"):
        target_of(spec, service="adult", home=site.world.home, tracking_uri="")


def test_an_artifact_that_the_cluster_cannot_read_is_named(site: Site) -> None:
    spec = {"router": "kserve-gateway", "kserve": {}}
    rollout = site.world.release(6, spec=spec, canary={"deadline": 400})
    assert rollout.outcome == "rolled_back"
    assert "KServe cannot read the model from" in rollout.reason
