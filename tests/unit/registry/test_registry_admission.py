"""The one check that every move passes, on a real store: what is let in, what may come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from penstock.errors import InputError, IntegrityError, NotApprovedError
from penstock.gate.approval import ApprovalSpec
from penstock.records.approval import Identity
from penstock.records.release import Registration
from penstock.registry import admission, approvals, versions
from penstock.registry.admission import Admission
from penstock.registry.champion import set_champion
from penstock.rollout import control
from penstock.rollout.resume import promote
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import target_of

Registry = Any
"""The fixture's class lives in conftest.py, which cannot be imported by name."""

ALICE = Identity(name="alice", means="kubernetes user")
BOB = Identity(name="bob", means="kubernetes user")


def say(
    registry: Registry, version: int, *, verdict: Any = "approved", by: Identity = ALICE
) -> None:
    uri = f"models:/adult/{version}"
    approvals.give(uri, verdict=verdict, by=by, reason="Seen.", tracking_uri=registry.uri)


def released(registry: Registry, depth: int) -> Registration:
    """Register a version and do in the registry what its promotion does."""
    registration, decision = registry.registered(depth=depth)
    promote(registry.order(registration, decision), reason="Every rule passed.")
    return registration


def roll_back(registry: Registry, *, to: int | None = None) -> None:
    home = registry.folder / "home"
    spec = DeploymentSpec(port=0)
    place = target_of(spec, service="adult", home=home, tracking_uri=registry.uri)
    control.roll_back(place, spec=spec, tracking_uri=registry.uri, to=to)


def left_behind(registry: Registry) -> list[str]:
    """The processes that a refused command left: none is to hold the users' port."""
    home = str(registry.folder / "home")
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [" ".join(command) for command in commands if any(home in part for part in command)]


def champion(registry: Registry) -> int | None:
    found = versions.champion("adult", tracking_uri=registry.uri)
    return found.version if found else None


@pytest.mark.parametrize("rejected", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_version_that_was_never_champion_is_nothing_to_go_back_to(
    registry: Registry, rejected: bool
) -> None:
    released(registry, 2)
    registry.registered(depth=3)
    if rejected:
        say(registry, 2, verdict="rejected")
    with pytest.raises(NotApprovedError, match="version 2 was never the champion"):
        roll_back(registry, to=2)
    assert champion(registry) == 1
    assert left_behind(registry) == []


def test_an_earlier_champion_that_was_rejected_since_stays_away(registry: Registry) -> None:
    released(registry, 2)
    released(registry, 3)
    say(registry, 1, verdict="rejected", by=BOB)
    for to in (None, 1):
        with pytest.raises(NotApprovedError, match="Rejected by bob: Seen"):
            roll_back(registry, to=to)
    say(registry, 1, by=BOB)
    admission.require_return("adult", 1, tracking_uri=registry.uri)


def test_there_is_no_way_back_to_what_was_rolled_back(registry: Registry) -> None:
    released(registry, 2)
    released(registry, 3)
    store = registry.uri
    set_champion("adult", 1, tracking_uri=store, event="rolled back")
    with pytest.raises(InputError, match="there is no version that was champion before and was"):
        roll_back(registry)
    # Whoever names it gets it: it was let in once.
    assert admission.require_return("adult", 2, tracking_uri=store).version == 2


def test_a_rejection_counts_at_the_next_move(registry: Registry) -> None:
    """Also where the policy asks nobody: somebody has looked, and said no."""
    registration, decision = registry.registered()
    asked = Admission(registry.order(registration, decision))
    assert asked.require().version == 1
    say(registry, 1, verdict="rejected")
    with pytest.raises(NotApprovedError, match="Rejected by alice"):
        asked.require()
    say(registry, 1)
    asked.require()


def test_two_decisions_on_one_champion_make_one_champion(registry: Registry) -> None:
    released(registry, 2)
    second = registry.order(*registry.registered(depth=3))
    third = registry.order(*registry.registered(depth=4))
    asked = Admission(third)
    asked.require()
    promote(second, reason="Every rule passed.")
    with pytest.raises(
        IntegrityError, match=r"compared with the champion models:/adult/1, and now"
    ):
        asked.require()
    with pytest.raises(IntegrityError, match="2"):
        promote(third, reason="Every rule passed.")
    assert champion(registry) == 2
    # What is champion already may be told so again.
    Admission(second).require()
    promote(second, reason="Every rule passed.")


def test_a_policy_that_is_not_to_be_had_asks_no_less(registry: Registry) -> None:
    asked = ApprovalSpec(people=2)
    registry.policy = registry.policy.model_copy(update={"approval": asked})
    decision, evaluation = registry.decided()
    registration = registry.register(decision, evaluation, policy=None)
    with pytest.raises(IntegrityError, match=r"policy: .*neither handed over nor kept"):
        registry.deploy(registration, decision, policy={})
    with pytest.raises(NotApprovedError, match="0 of 2 different people"):
        registry.deploy(registration, decision)


TAMPERED = {
    versions.MODEL_DIGEST: "sha256:" + "0" * 64,
    versions.EXPORT_DIGEST: "sha256:" + "1" * 64,
    versions.DECISION_DIGEST: "sha256:" + "2" * 64,
    versions.EVIDENCE_DIGEST: "sha256:" + "3" * 64,
}


@pytest.mark.parametrize(
    "tag",
    [
        versions.MODEL_DIGEST,
        versions.EVIDENCE_DIGEST,
        pytest.param(versions.EXPORT_DIGEST, marks=pytest.mark.long),
        pytest.param(versions.DECISION_DIGEST, marks=pytest.mark.long),
    ],
)
def test_tags_that_are_not_what_the_trail_registered_let_nothing_in(
    registry: Registry, tag: str
) -> None:
    registration = released(registry, 2)
    registry.store().set_model_version_tag("adult", "1", tag, TAMPERED[tag])
    with pytest.raises(IntegrityError, match=r"(?s)the audit log says that .* was registered"):
        admission.require_return("adult", registration.version, tracking_uri=registry.uri)


def test_a_champion_whose_files_and_tags_were_edited_together_is_not_brought_up(
    registry: Registry,
) -> None:
    from penstock.model import digest_of

    registration = released(registry, 2)
    second = registry.registered(depth=3)
    (folder,) = (
        path.parent
        for path in registry.folder.glob("artifacts/**/penstock.json")
        if digest_of(path.parent) == registration.model
    )
    record = folder / "penstock.json"
    told = json.loads(record.read_text())
    record.write_text(json.dumps(told | {"name": "another"}))
    edited = digest_of(folder)
    assert edited != registration.model
    registry.store().set_model_version_tag("adult", "1", versions.MODEL_DIGEST, edited)
    with pytest.raises(IntegrityError, match="the audit log says"):
        registry.deploy(*second)
    assert left_behind(registry) == []


def test_the_trail_says_once_that_a_rollout_was_let_in(registry: Registry, tmp_path: Path) -> None:
    from penstock.registry import audit

    registration, decision = registry.registered()
    version = Admission(registry.order(registration, decision)).require()
    actor = audit.Actor(name=audit.CANARY)
    for identity in ("1-a", "1-a", "1-b"):
        admission.record_once(
            version,
            event=audit.ADMITTED,
            identity=identity,
            facts={"move": "canary"},
            actor=actor,
            tracking_uri=registry.uri,
        )
    told = audit.read(registry.model_tags()).of(version.uri)
    assert [e.facts["identity"] for e in told if e.event == "admitted"] == ["1-a", "1-b"]
