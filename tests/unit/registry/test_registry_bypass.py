"""Every way around the gate that we know of: each is refused, and says what was tried."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import IntegrityError, NotApprovedError, PenstockError
from penstock.gate.advantage import MarginSpec
from penstock.gate.approval import ApprovalSpec
from penstock.gate.compared import Champion
from penstock.records.approval import Approval, Identity
from penstock.records.decision import Decision
from penstock.records.operations import Operations
from penstock.registry import approvals, audit, versions
from penstock.registry.champion import checked_champion, fetch_champion, set_champion

Registry = Any
"""The fixture's class lives in conftest.py, which cannot be imported by name."""


def edited(record: Any, **changes: Any) -> Any:
    return record.model_copy(update=changes)


def assert_nothing_is_registered(registry: Registry) -> None:
    assert not registry.store().search_registered_models()


def flag_forced(registry: Registry, decision: Decision) -> Decision:
    failed = edited(decision.rules[0], verdict="fail", sentence="Too bad.")
    return edited(decision, approved=True, rules=(failed, *decision.rules[1:]))


def rules_edited(registry: Registry, decision: Decision) -> Decision:
    return edited(decision, rules=(edited(decision.rules[0], value=0.9), *decision.rules[1:]))


def rules_taken_away(registry: Registry, decision: Decision) -> Decision:
    return edited(decision, rules=decision.rules[:1])


def of_another_model(registry: Registry, decision: Decision) -> Decision:
    return registry.decided(depth=3)[0]


def on_another_commit(registry: Registry, decision: Decision) -> Decision:
    return edited(decision, commit="fff")


def by_another_release(registry: Registry, decision: Decision) -> Decision:
    return edited(decision, code="0.0.1")


def in_another_image(registry: Registry, decision: Decision) -> Decision:
    return edited(decision, image="somebody/else:1")


def compared_with_nobody_there(registry: Registry, decision: Decision) -> Decision:
    return edited(decision, champion="models:/adult/7")


def names_operations(registry: Registry, decision: Decision) -> Decision:
    return edited(decision, operations="sha256:00")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (flag_forced, "says approved but its own rules do not"),
        (rules_edited, "rules: the gate, run again, gives another rules"),
        (rules_taken_away, "rules: the gate, run again, gives another rules"),
        (of_another_model, "the decision approves model sha256:.*, not this one"),
        (on_another_commit, r"commit: the decision was made on commit fff, .* \(abc123\)"),
        (by_another_release, r"code: the decision was made on code 0\.0\.1"),
        (in_another_image, "image: the decision was made on image somebody/else:1"),
        (compared_with_nobody_there, "champion: the gate, run again, gives another champion"),
        (names_operations, "operations: the decision was made on operations sha256:00"),
    ],
)
def test_an_edited_decision_is_not_registered(
    registry: Registry,
    change: Callable[[Registry, Decision], Decision],
    words: str,
) -> None:
    decision, evaluation = registry.decided()
    with pytest.raises(PenstockError, match=words):
        registry.register(change(registry, decision), evaluation)
    assert_nothing_is_registered(registry)


def test_what_is_handed_over_must_be_what_was_decided_on(registry: Registry) -> None:
    decision, evaluation = registry.decided()
    lenient = edited(registry.policy, baseline=MarginSpec(margin=-1.0))
    with pytest.raises(IntegrityError, match="policy: the decision was made on policy"):
        registry.register(decision, evaluation, policy=lenient)
    better = edited(evaluation, rows=10**6)
    with pytest.raises(IntegrityError, match="evaluation: the decision was made on evaluation"):
        registry.register(decision, better)
    other = Operations(model=decision.model, dataset=decision.dataset, asked=True)
    with pytest.raises(IntegrityError, match="operations: the decision was made on operations"):
        registry.register(decision, evaluation, operations=other)
    assert_nothing_is_registered(registry)


def test_a_holdout_whose_rows_were_swapped_is_refused(registry: Registry) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    decision, evaluation = registry.decided()
    (path,) = registry.holdout.glob("*.parquet")
    table = pq.read_table(path)
    ages = table.column("age").to_pylist()
    at = table.schema.get_field_index("age")
    pq.write_table(table.set_column(at, "age", pa.array([1, *ages[1:]], pa.int64())), path)
    record = registry.holdout / "_dataset.json"
    told = json.loads(record.read_text())
    told["files"][0]["bytes"] = path.stat().st_size
    record.write_text(json.dumps(told))
    with pytest.raises(IntegrityError, match="dataset: the rows of the holdout have digest"):
        registry.register(decision, evaluation)
    assert_nothing_is_registered(registry)


def test_an_old_decision_is_stale_once_the_champion_moved_on(registry: Registry) -> None:
    old = registry.decided(depth=3)
    waiting, its_decision = registry.registered(depth=4)
    first, _ = registry.registered()
    registry.promote(first.version)
    words = "champion: the decision is stale: it compared with the champion none, and now it is "
    with pytest.raises(IntegrityError, match=f"{words}models:/adult/2"):
        registry.register(*old, depth=3)
    with pytest.raises(IntegrityError, match=f"{words}models:/adult/2"):
        registry.deploy(waiting, its_decision)


def test_an_alias_moved_by_hand_stops_the_next_release(registry: Registry) -> None:
    first, _ = registry.registered()
    registry.promote(first.version)
    second, its_decision = registry.registered(depth=3)
    third = registry.decided(depth=4)
    registry.store().set_registered_model_alias("adult", "champion", str(second.version))
    words = "points to version 2, but by the audit log version 1 became the champion .*was moved by"
    with pytest.raises(IntegrityError, match=words):
        registry.register(*third, depth=4)
    with pytest.raises(IntegrityError, match=words):
        registry.deploy(second, its_decision)
    # Whoever puts it right says so, and the log goes on from there.
    set_champion("adult", 1, tracking_uri=registry.uri)
    assert registry.register(*third, depth=4).version == 3


def test_a_champion_that_was_deleted_is_missed(registry: Registry) -> None:
    first, _ = registry.registered()
    registry.promote(first.version)
    registry.store().delete_registered_model_alias("adult", "champion")
    found = checked_champion("adult", tracking_uri=registry.uri)
    assert found.version is None
    words = "version 1 became the champion on .*, but no version carries the alias champion: it"
    assert found.problem.startswith("version 1 became the champion on ")
    candidate = registry.decided(depth=3)
    with pytest.raises(IntegrityError, match=words):
        registry.register(*candidate, depth=3)


def test_what_evaluates_is_told_that_the_alias_is_not_where_it_was_put(registry: Registry) -> None:
    first, _ = registry.registered()
    registry.promote(first.version)
    registry.registered(depth=3)

    def told(place: str) -> Champion | None:
        return fetch_champion(
            "adult", tracking_uri=registry.uri, destination=registry.folder / place
        )

    found = told("fine")
    assert found is not None
    assert (found.uri, found.problem, found.gone) == ("models:/adult/1", "", False)
    registry.store().set_registered_model_alias("adult", "champion", "2")
    moved = told("moved")
    assert moved is not None
    assert (moved.uri, moved.folder, moved.gone) == ("models:/adult/2", None, False)
    assert "the alias was moved by hand. See penstock audit" in moved.problem
    registry.store().delete_registered_model_alias("adult", "champion")
    gone = told("gone")
    assert gone is not None
    assert (gone.folder, gone.gone) == (None, True)
    assert "it was removed by hand. See penstock audit" in gone.problem


def test_an_alias_that_no_promotion_set_is_not_believed(registry: Registry) -> None:
    first, decision = registry.registered()
    registry.store().set_registered_model_alias("adult", "champion", "1")
    with pytest.raises(
        IntegrityError, match="the audit log has no promotion: the alias was set by"
    ):
        registry.deploy(first, decision)


def test_a_registry_from_before_the_trail_is_believed_and_that_is_said(registry: Registry) -> None:
    registry.registered()
    store = registry.store()
    for key in registry.model_tags():
        store.delete_registered_model_tag("adult", key)
    store.delete_model_version_tag("adult", "1", versions.EVIDENCE_DIGEST)
    store.set_registered_model_alias("adult", "champion", "1")
    found = checked_champion("adult", tracking_uri=registry.uri)
    assert found.version is not None
    assert (found.version.version, found.problem) == (1, "")
    assert "before there was an audit log: the alias counts" in found.note


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_deploy_compares_with_what_was_kept(registry: Registry) -> None:
    registration, decision = registry.registered()
    with pytest.raises(NotApprovedError, match="was registered with decision"):
        registry.deploy(registration, edited(decision, commit="fff"))
    lenient = edited(registry.policy, baseline=MarginSpec(margin=-1.0)).model_dump(mode="json")
    with pytest.raises(IntegrityError, match=r"policy: .*The policy was edited after the decision"):
        registry.deploy(registration, decision, policy=lenient)
    pack = registry.pack(registration)
    kept = (pack / "decision.json").read_text()
    _edit(pack / "decision.json", champion="models:/adult/9")
    with pytest.raises(IntegrityError, match=r"champion: .* kept with the version\s+says models"):
        registry.deploy(registration, decision)
    (pack / "decision.json").write_text(kept)
    _edit(pack / "policy.json", baseline={"margin": -1.0})
    with pytest.raises(IntegrityError, match="policy: the policy that was kept with the version"):
        registry.deploy(registration, decision, policy={})
    (pack / "decision.json").unlink()
    with pytest.raises(IntegrityError, match=r"the decision that was kept .* is gone"):
        registry.deploy(registration, decision)
    registry.store().set_model_version_tag("adult", "1", "penstock.decision_digest", "sha256:0")
    with pytest.raises(
        IntegrityError, match=r"tag penstock.decision_digest is sha256:0, but the audit"
    ):
        registry.deploy(registration, decision)


ALICE = Identity(name="alice", means="kubernetes user")
TRAINER = Identity(name="Trainer", means="kubernetes user")


def word_on(registration: Any, by: Identity, **changes: Any) -> Approval:
    now = datetime.now(UTC)
    fields = {
        "uri": registration.uri,
        "model": registration.model,
        "decision": registration.decision,
        "verdict": "approved",
        "by": by,
        "reason": "Looks right.",
        "time": now,
        "expires": now + timedelta(days=1),
    }
    return Approval(**(fields | changes))


@pytest.fixture
def asking(registry: Registry) -> Registry:
    """A registry whose policy asks for one person."""
    registry.policy = registry.policy.model_copy(update={"approval": ApprovalSpec(people=1)})
    return registry


def _say(registry: Registry, registration: Any, by: Identity, **changes: Any) -> Approval:
    fields: dict[str, Any] = {"verdict": "approved", "reason": "Looks right."}
    return approvals.give(registration.uri, by=by, tracking_uri=registry.uri, **(fields | changes))


def test_without_the_word_that_the_policy_asks_for_nothing_is_deployed(asking: Registry) -> None:
    registration, decision = asking.registered()
    for policy in ({}, asking.policy.model_dump(mode="json")):
        # Leaving the policy out asks no less: it is kept with the version.
        with pytest.raises(NotApprovedError, match=r"0 of 1 person approved.* penstock approve"):
            asking.deploy(registration, decision, policy=policy)
    _say(asking, registration, TRAINER)
    with pytest.raises(NotApprovedError, match="trainer trained it and cannot be the only one"):
        asking.deploy(registration, decision)
    _say(asking, registration, ALICE, valid_days=1e-9)
    with pytest.raises(NotApprovedError, match="the approval of alice expired"):
        asking.deploy(registration, decision)
    _say(asking, registration, ALICE, verdict="rejected", reason="Wrong data.")
    with pytest.raises(NotApprovedError, match="Rejected by alice: Wrong data"):
        asking.deploy(registration, decision)


@pytest.mark.parametrize(
    "how", ["forged", pytest.param("edited", marks=pytest.mark.long), "of another version"]
)
def test_a_word_that_nobody_said_opens_nothing(asking: Registry, how: str) -> None:
    registration, decision = asking.registered()
    store = asking.store()
    if how == "forged":
        store.set_model_version_tag(
            "adult", "1", "penstock.approval.x", word_on(registration, ALICE).dumps()
        )
    elif how == "edited":
        said = _say(asking, registration, TRAINER)
        (key,) = [k for k in store.get_model_version("adult", "1").tags if ".approval." in k]
        store.set_model_version_tag("adult", "1", key, edited(said, by=ALICE).dumps())
    else:
        other, _ = asking.registered(depth=3)
        said = _say(asking, other, ALICE)
        store.set_model_version_tag("adult", "1", "penstock.approval.x", said.dumps())
    words = "for another model" if how == "of another version" else "it was forged or edited"
    with pytest.raises(NotApprovedError, match=words):
        asking.deploy(registration, decision)


def test_a_rejection_cannot_be_taken_away(asking: Registry) -> None:
    registration, decision = asking.registered()
    _say(asking, registration, Identity(name="bob", means="stated"), verdict="rejected")
    store = asking.store()
    (key,) = [k for k in store.get_model_version("adult", "1").tags if ".approval." in k]
    store.delete_model_version_tag("adult", "1", key)
    _say(asking, registration, ALICE)
    with pytest.raises(
        NotApprovedError, match="the rejection by bob is in the audit log and not with"
    ):
        asking.deploy(registration, decision)


def test_words_count_only_while_the_trail_is_whole(asking: Registry) -> None:
    registration, decision = asking.registered()
    _say(asking, registration, ALICE)
    first = min(key for key in asking.model_tags() if key.startswith(audit.PREFIX))
    asking.store().delete_registered_model_tag("adult", first)
    with pytest.raises(IntegrityError, match=r"the audit log is broken: What went before appr"):
        asking.deploy(registration, decision)
