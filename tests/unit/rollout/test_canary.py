"""Canaries on this machine: real registry, real model servers, real traffic, real faults."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from rollout_world import QUICK, World
from router_parts import load_on

from penstock.records.rollout import Rollout, total
from penstock.registry.versions import ROLLED_BACK
from penstock.rollout import control
from penstock.rollout.journal import Journal
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import history

pytestmark = pytest.mark.slow
long = pytest.mark.long
"""`make test` has one canary of each kind on real processes: good, bad, crash, kill, takeover. What
each rule and each transition does is in test_analysis_rules.py and, killed before every action, in
test_engine.py."""

STRICT: dict[str, Any] = {"score_psi": 0.25, "score_ks": 0.2}


@pytest.fixture(scope="module")
def world(world: World) -> World:
    """Version 1 serves and is the champion; nothing else runs."""
    assert world.release(2).outcome == "promoted"
    return world


def assert_untouched(world: World, rollout: Rollout, *, served: int = 1) -> None:
    """The stable version serves alone and is the champion; the candidate says why it is not."""
    assert rollout.outcome == "rolled_back"
    assert world.champion() == served
    state = world.state()
    assert state.stable is not None
    assert (state.stable.version, state.candidate, state.retired) == (served, None, None)
    assert world.ask(rollout.url) == str(served)
    assert len(world.processes()) == 2
    assert world.tags(rollout.candidate)[ROLLED_BACK] == rollout.reason
    outputs = world.outputs("3")
    assert not outputs.deployment.exists()
    assert Rollout.read(outputs.rollout) == rollout
    assert "<html" in outputs.report.read_text()


def failed_rules(rollout: Rollout) -> list[str]:
    return [f.rule for f in rollout.transitions[-2].findings if f.verdict == "fail"]


@pytest.mark.xdist_group("canary-good")
def test_a_good_candidate_is_promoted_and_no_request_fails(world: World) -> None:
    with load_on(world.deployed(2).url, world.rows[:1]) as answers:
        rollout = world.release(3)
        time.sleep(0.5)

    assert rollout.outcome == "promoted", rollout.reason
    assert [t.phase for t in rollout.transitions] == [
        "deploy", "shadow", "step", "step", "promote", "done",
    ]  # fmt: skip
    assert set(answers) == {"200 version 1", f"200 version {rollout.candidate}"}
    assert world.champion() == rollout.candidate
    assert world.deployed(3).previous == 1
    assert len(world.processes()) == 2
    steps = rollout.of_phase("step")
    seen = total(interval.candidate for interval in steps)
    assert seen.requests > seen.replayed > 0
    assert total(interval.candidate for interval in rollout.of_phase("shadow")).requests == 0

    back = control.roll_back(world.place(), spec=DeploymentSpec(), tracking_uri=world.uri)
    assert (back.candidate, world.champion(), world.ask(rollout.url)) == (1, 1, "1")
    assert "by hand to version 1" in world.tags(rollout.candidate)[ROLLED_BACK]
    assert len(world.processes()) == 2


SLOW = {"latency_ratio": 1.5, "agreement": 0.9}

BAD: list[Any] = [
    pytest.param("errors", {}, "errors", id="5 % extra 500s"),
    pytest.param("slow", SLOW, "latency", id="3x latency", marks=long),
    pytest.param("shifted-scores", STRICT, "scores", id="scores shifted", marks=long),
    pytest.param("constant-scores", STRICT, "scores", id="scores constant", marks=long),
    pytest.param("refuses-a-category", {}, "refusals", id="refuses one category", marks=long),
]


@pytest.mark.xdist_group("canary-bad")
@pytest.mark.parametrize(("fault", "rules", "rule"), BAD)
def test_a_bad_candidate_is_rolled_back_for_the_right_reason(
    world: World, fault: str, rules: dict[str, Any], rule: str
) -> None:
    canary = {"rules": QUICK["rules"] | rules, "shadow": {"min_pairs": 300, "max_wait": 120}}
    rollout = world.release(3, canary=canary, spec={"fault_injection": fault})
    assert failed_rules(rollout) == [rule], rollout.reason
    assert rollout.last.weight == 0
    assert_untouched(world, rollout)


@long
@pytest.mark.xdist_group("canary-bad")
def test_what_is_only_slower_is_said_to_agree(world: World) -> None:
    rules = QUICK["rules"] | {"latency_ratio": 1.5, "agreement": 0.5}
    rollout = world.release(3, canary={"rules": rules}, spec={"fault_injection": "slow"})
    verdicts = {f.rule: f.verdict for f in rollout.transitions[-2].findings}
    assert verdicts["latency"] == "fail"
    assert verdicts["agreement"] in ("pass", "inconclusive")
    assert_untouched(world, rollout)


@pytest.mark.xdist_group("canary-crash")
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param("crash-at-start", "did not come up", marks=long),
        pytest.param("crash-later", "server died", marks=long),
        pytest.param("leak", "server died", marks=long),
    ],
)
def test_a_candidate_that_crashes_is_rolled_back_at_once(
    world: World, fault: str, words: str
) -> None:
    canary = {"shadow": {"min_pairs": 10**6, "max_wait": 300}}
    with load_on(world.deployed(2).url, world.rows[:1]) as answers:
        rollout = world.release(3, canary=canary, spec={"fault_injection": fault})
    assert words in rollout.reason
    assert set(answers) == {"200 version 1"}
    assert_untouched(world, rollout)


@long
@pytest.mark.xdist_group("canary-crash")
def test_a_candidate_that_crashes_in_a_step_is_rolled_back(world: World) -> None:
    canary = {
        "shadow": {"share": 0},
        "steps": [{"weight": 50, "min_samples": 10**6, "max_wait": 300}],
    }
    rollout = world.release(3, canary=canary, spec={"fault_injection": "crash-later"})
    assert "died" in rollout.reason or "errors" in failed_rules(rollout)
    assert_untouched(world, rollout)


@contextmanager
def labelled_load(url: str, rows: list[dict[str, Any]]) -> Iterator[None]:
    """Users' requests, and a little later what they turned out to be."""
    over = threading.Event()
    truth = ["yes" if r["hours per-week"] + 10 * r["member"] > 45 else "no" for r in rows]

    def ask(worker: int) -> None:
        with httpx.Client(trust_env=False, timeout=30, base_url=url, verify=False) as client:
            number = 0
            while not over.is_set():
                row, name = number % len(rows), f"{worker}-{number}"
                number += 1
                answer = client.post(
                    "/v1/models/adult:predict",
                    json={"instances": [rows[row]]},
                    headers={"x-request-id": name},
                )
                assert answer.headers["x-request-id"] == name
                told = {"labels": [{"request_id": name, "label": truth[row]}]}
                client.post("/v1/models/adult:feedback", json=told)
                over.wait(0.01)

    threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@long
@pytest.mark.xdist_group("canary-bad")
def test_labels_that_arrive_tell_what_the_holdout_did_not(
    world: World, many_instances: list[dict[str, Any]]
) -> None:
    # Many rows: of twenty, half exchanged among themselves may all keep their label by chance.
    canary = {
        "shadow": {"min_pairs": 10**6, "max_wait": 120},
        "rules": QUICK["rules"] | {"labels": "required", "label_loss_increase": 0.01},
        "traffic": {"source": "live"},
    }
    with labelled_load(world.deployed(2).url, many_instances):
        rollout = world.release(3, canary=canary, spec={"fault_injection": "wrong-later"})
    assert failed_rules(rollout) == ["labels"], rollout.reason
    assert_untouched(world, rollout)


@long
@pytest.mark.xdist_group("canary-low")
def test_twenty_requests_are_no_evidence(world: World) -> None:
    url = world.deployed(2).url
    canary = {"deadline": 12, "traffic": {"source": "live"}}
    asked = threading.Timer(1, lambda: [world.ask(url) for _ in range(20)])
    asked.start()
    rollout = world.release(3, canary=canary)
    asked.join()
    assert "deadline of 12 s" in rollout.reason
    assert [t.phase for t in rollout.transitions] == ["deploy", "shadow", "rollback", "done"]
    assert "inconclusive" in {f.verdict for f in rollout.transitions[-2].findings}
    assert rollout.transitions[-2].findings[0].verdict != "pass"
    assert_untouched(world, rollout)


def newest(world: World) -> Journal | None:
    found = history(world.place())
    return found[-1] if found else None


def at(world: World, phase: str, step: int, *, before: int) -> bool:
    """Whether a rollout that began after the first `before` ones has come to a transition."""
    found = history(world.place())[before:]
    return any((t.phase, t.step) == (phase, step) for j in found for t in j.rollout.transitions)


@pytest.mark.xdist_group("canary-kill")
@pytest.mark.parametrize(
    ("phase", "step", "fault"),
    [
        pytest.param("deploy", 0, "", marks=long),
        pytest.param("shadow", 0, "", marks=long),
        pytest.param("step", 0, "", marks=long),
        pytest.param("step", 1, "", marks=long),
        pytest.param("promote", 0, "", marks=long),
        pytest.param("rollback", 0, "errors", marks=long),
        pytest.param("done", 0, "", marks=long),
    ],
)
def test_a_controller_killed_at_a_transition_is_taken_up(
    world: World, phase: str, step: int, fault: str
) -> None:
    before, run = len(history(world.place())), f"kill-{phase}-{step}"
    expected = "rolled_back" if fault else "promoted"
    was = world.champion()
    with load_on(world.deployed(2).url, world.rows[:1]) as answers:
        with world.controller(3, run=run, spec={"fault_injection": fault}) as process:
            process.wait_until(lambda: at(world, phase, step, before=before), every=0.01)
            process.send_signal(signal.SIGKILL)
        rollout = world.release(3, run=run, spec={"fault_injection": fault})

    assert rollout.outcome == expected, rollout.reason
    assert len(history(world.place())) == before + 1
    phases = [t.phase for t in rollout.transitions]
    assert phases[0] == "deploy"
    assert phases[-1] == "done"
    serves = rollout.candidate if expected == "promoted" else was
    state = world.state()
    assert state.stable is not None
    assert (state.stable.version, state.candidate, world.champion()) == (serves, None, serves)
    assert len(world.processes()) == 2
    if not fault:
        assert set(answers) <= {"200 version 1", f"200 version {rollout.candidate}"}
        control.roll_back(world.place(), spec=DeploymentSpec(), tracking_uri=world.uri, to=1)


@long
@pytest.mark.xdist_group("canary-kill")
@pytest.mark.parametrize("part", ["proxy", "stable", "candidate"])
def test_a_part_killed_in_a_step_leaves_a_legal_state(world: World, part: str) -> None:
    before = len(history(world.place()))
    steps = [{"weight": 50, "min_samples": 300, "max_wait": 120, "min_seconds": 3}]
    canary = {"shadow": {"share": 0}, "steps": steps, "abort": {"max_restarts": 1}}
    run = f"part-{part}"
    with world.controller(3, run=run, canary=canary) as process:
        process.wait_until(lambda: at(world, "step", 0, before=before), every=0.01)
        time.sleep(1)
        victim = getattr(world.state(), part)
        os.kill(victim.process.pid, signal.SIGKILL)
        process.wait(timeout=180)
    rollout = newest(world)
    assert rollout is not None
    assert rollout.rollout.outcome in ("promoted", "rolled_back")
    serves = 1 if rollout.rollout.outcome == "rolled_back" else rollout.rollout.candidate
    assert world.champion() == serves
    assert world.ask(rollout.rollout.url) == str(serves)
    assert len(world.processes()) == 2
    if serves != 1:
        control.roll_back(world.place(), spec=DeploymentSpec(), tracking_uri=world.uri, to=1)


@long
@pytest.mark.xdist_group("canary-kill")
def test_another_version_takes_the_place_of_what_was_left_half_way(world: World) -> None:
    before = len(history(world.place()))
    with world.controller(3, run="left") as process:
        process.wait_until(lambda: at(world, "step", 0, before=before), every=0.01)
        process.send_signal(signal.SIGKILL)
    rollout = world.release(4)
    assert rollout.outcome == "promoted", rollout.reason
    left = history(world.place())[before].rollout
    assert left.outcome == "rolled_back"
    assert f"Version {rollout.candidate} took its place" in left.reason
    control.roll_back(world.place(), spec=DeploymentSpec(), tracking_uri=world.uri, to=1)


@long
@pytest.mark.xdist_group("canary-kill")
def test_two_controllers_never_drive_one_service(world: World) -> None:
    before = len(history(world.place()))
    with world.controller(3, run="first") as process:
        process.wait_until(lambda: at(world, "shadow", 0, before=before), every=0.01)
        with pytest.raises(Exception, match=rf"process {process.pid}"):
            world.release(4)
        process.send_signal(signal.SIGKILL)
    resumed = control.resume(world.place())
    assert resumed.outcome == "promoted"
    control.roll_back(world.place(), spec=DeploymentSpec(), tracking_uri=world.uri, to=1)


@long
@pytest.mark.xdist_group("canary-low")
def test_a_person_can_abort_and_approve(world: World) -> None:
    before = len(history(world.place()))
    steps = [{"weight": 50, "min_samples": 50, "max_wait": 120, "hold": True}]
    with world.controller(3, run="abort", canary={"steps": steps}) as process:
        process.wait_until(lambda: at(world, "step", 0, before=before), every=0.01)
        aborted = control.abort(world.place(), reason="a customer called")
        assert aborted is not None
        assert aborted.outcome == "rolled_back"
        assert process.wait(timeout=60) == 0
    journal = newest(world)
    assert journal is not None
    assert "a customer called" in journal.rollout.reason
    with world.controller(3, run="approve", canary={"steps": steps}) as process:
        process.wait_until(lambda: at(world, "step", 0, before=before + 1), every=0.01)
        assert "beyond 50 %" in control.approve(world.place())
        assert process.wait(timeout=120) == 0
    journal = newest(world)
    assert journal is not None
    assert journal.rollout.outcome == "promoted"
    (found,) = control.status(world.place())
    assert any(f"version {journal.rollout.candidate}: 100 %" in line for line in found.lines())
    control.roll_back(world.place(), spec=DeploymentSpec(), tracking_uri=world.uri, to=1)
