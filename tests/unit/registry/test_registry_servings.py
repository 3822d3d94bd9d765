"""What gets past the gate by other ways than a release: refused where it acts, told by verify."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.common import files
from penstock.errors import IntegrityError, NotApprovedError
from penstock.gate.approval import ApprovalSpec
from penstock.model import digest_of
from penstock.pipelines.cli import main
from penstock.records.approval import Identity
from penstock.records.evidence import AuditEntry
from penstock.registry import approvals, audit, versions
from penstock.registry.audit import Actor
from penstock.registry.champion import checked_champion, fetch_champion, set_champion
from penstock.registry.check import Check
from penstock.registry.verify import verify

Registry = Any
"""The fixture's class lives in conftest.py, which cannot be imported by name."""

ANN = Identity(name="ann", means="stated")
BOB = Identity(name="bob", means="stated")


@pytest.fixture
def asking(registry: Registry) -> Registry:
    registry.policy = registry.policy.model_copy(update={"approval": ApprovalSpec(people=1)})
    return registry


def say(registry: Registry, version: int, verdict: Any, by: Identity = ANN) -> None:
    approvals.give(
        f"models:/adult/{version}",
        verdict=verdict,
        by=by,
        reason="I looked.",
        tracking_uri=registry.uri,
    )


def move(registry: Registry, version: int, event: str = "rolled back") -> None:
    set_champion("adult", version, tracking_uri=registry.uri, event=event)


def admit(registry: Registry, version: int) -> None:
    uri, actor = f"models:/adult/{version}", Actor(name="the controller")
    audit.record(
        registry.store(), "adult", event="admitted", uri=uri, actor=actor, facts={"identity": "x"}
    )


def table(registry: Registry, version: int = 1) -> list[Check]:
    _, checks = verify(f"models:/adult/{version}", tracking_uri=registry.uri)
    return checks


def wrong(registry: Registry, version: int = 1) -> dict[str, str]:
    return {check.name: check.found for check in table(registry, version) if not check.good}


@pytest.mark.parametrize("rejected", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_version_that_a_rollback_crowned_without_a_release_fails(
    registry: Registry, rejected: bool
) -> None:
    registry.registered()
    registry.promote(1)
    registry.registered(depth=3)
    if rejected:
        say(registry, 2, "rejected")
    move(registry, 2)
    words = "It was not promoted before, so it could not be rolled back to."
    said = "Rejected by ann: I looked." if rejected else words
    assert wrong(registry, 2) == {"served: rolled back": said}
    assert wrong(registry, 1) == {}


def test_what_people_had_said_where_a_version_began_to_serve_decides(asking: Registry) -> None:
    asking.registered()
    admit(asking, 1)
    assert wrong(asking) == {"served: admitted": "Not approved: 0 of 1 person approved."}
    # A later yes does not help, and the promotion behind it holds.
    say(asking, 1, "approved")
    asking.promote(1)
    assert list(wrong(asking)) == ["served: admitted"]
    say(asking, 1, "rejected", BOB)
    admit(asking, 1)
    found = [check for check in table(asking) if check.name.startswith("served")]
    assert [(check.name, check.verdict) for check in found] == [
        ("served: admitted", "fails"),
        ("served: promoted", "holds"),
        ("served: admitted", "fails"),
    ]
    assert found[1].found == "Approved by ann. Rejected later by bob."
    assert found[2].found == "Rejected by bob: I looked."


def test_a_rejection_in_the_middle_of_a_rollout_makes_its_promotion_fail(asking: Registry) -> None:
    asking.registered()
    say(asking, 1, "approved")
    admit(asking, 1)
    say(asking, 1, "rejected", BOB)
    asking.promote(1)
    assert wrong(asking) == {"served: promoted": "Rejected by bob: I looked."}


def test_a_promotion_over_another_champion_than_was_compared_with_fails(
    registry: Registry,
) -> None:
    registry.registered()
    registry.promote(1)
    registry.registered(depth=3)
    registry.registered(depth=4)
    registry.promote(2)
    registry.promote(3)
    assert wrong(registry, 2) == {}
    assert wrong(registry, 3) == {"compared with champion": "models:/adult/2"}


def test_a_champion_that_was_rolled_back_and_came_again_reads_right(asking: Registry) -> None:
    asking.registered()
    say(asking, 1, "approved")
    asking.promote(1)
    asking.registered(depth=3)
    say(asking, 2, "approved")
    asking.promote(2)
    move(asking, 1)
    admit(asking, 1)
    move(asking, 2)
    assert (wrong(asking, 1), wrong(asking, 2)) == ({}, {})


def test_a_champion_comes_back_after_its_approval_expired(
    asking: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.registered()
    say(asking, 1, "approved")
    asking.promote(1)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=30)

    monkeypatch.setattr(audit, "datetime", Later)
    admit(asking, 1)
    assert wrong(asking) == {}
    (found,) = [check for check in table(asking) if check.name == "served: admitted"]
    assert found.found.startswith("It was promoted before. Not approved")


@pytest.mark.long
def test_a_clock_that_is_hours_off_fails_nothing(
    asking: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(hours=5)

    asking.registered()
    with monkeypatch.context() as patch:
        patch.setattr(approvals, "datetime", Ahead)
        patch.setattr(audit, "datetime", Ahead)
        say(asking, 1, "approved")
    asking.promote(1)
    assert wrong(asking) == {}


def test_a_version_whose_policy_was_not_kept_fails(registry: Registry) -> None:
    decision, evaluation = registry.decided()
    registry.register(decision, evaluation, policy=None)
    registry.promote(1)
    assert wrong(registry) == {
        "decided on policy": "none",
        "approvals": "the policy was not kept, so the approvals that it requires are unknown",
    }


def test_a_rejection_that_was_taken_away_fails(asking: Registry) -> None:
    asking.registered()
    say(asking, 1, "rejected")
    (key,) = [k for k in asking.store().get_model_version("adult", "1").tags if ".approval." in k]
    asking.store().delete_model_version_tag("adult", "1", key)
    assert list(wrong(asking)) == ["approvals"]


def test_a_word_is_not_said_again_by_others(asking: Registry) -> None:
    """An approval that its person has taken back, appended to the log once more."""
    registration, decision = asking.registered()
    say(asking, 1, "approved")
    say(asking, 1, "rejected")
    said = next(e for e in audit.read(asking.model_tags()).entries if e.event == "approved")
    audit.record(
        asking.store(),
        "adult",
        event="approved",
        uri=said.uri,
        actor=Actor(name=said.by, digests=said.digests),
    )
    with pytest.raises(NotApprovedError, match="an approval of ann on models:/adult/1 twice"):
        asking.deploy(registration, decision)
    assert list(wrong(asking)) == ["approvals"]


def test_of_two_words_that_did_not_meet_the_rejection_counts(asking: Registry) -> None:
    asking.registered()
    store, there = asking.store(), audit.read(asking.model_tags())
    real = audit.record
    for verdict in ("rejected", "approved"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                audit, "record", lambda *given, **named: real(*given, **named, there=there)
            )
            say(asking, 1, verdict)
    tags = dict(store.get_model_version("adult", "1").tags)
    log = audit.read(asking.model_tags())
    assert len(log.heads) == 2
    assert [word.verdict for word in approvals.read(tags, log=log)] == ["approved", "rejected"]
    # Whoever says yes in the knowledge of it takes it back.
    say(asking, 1, "approved")
    tags = dict(store.get_model_version("adult", "1").tags)
    last = approvals.read(tags, log=audit.read(asking.model_tags()))[-1]
    assert last.verdict == "approved"


def _swap(registry: Registry) -> tuple[str, str]:
    """Alter a model's ONNX form and its files, and let the tags say so; return the two digests."""
    (stored,) = registry.folder.glob("artifacts/**/requirements.txt")
    folder = stored.parent
    stored.write_text("altered\n")
    record = folder / "serving" / "export.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"max_difference": 0.5}))
    digests = digest_of(folder), files.digest_of_folder(folder / "serving")
    tags = (versions.MODEL_DIGEST, versions.EXPORT_DIGEST)
    for tag, digest in zip(tags, digests, strict=True):
        registry.store().set_model_version_tag("adult", "1", tag, digest)
    return digests


@pytest.mark.long
def test_files_and_tags_that_were_edited_together_are_not_fetched(
    registry: Registry, tmp_path: Path
) -> None:
    registration, _ = registry.registered()
    registry.promote(1)
    swapped, exported = _swap(registry)

    def fetch() -> None:
        versions.fetch("models:/adult/1", tracking_uri=registry.uri, destination=tmp_path / "got")

    with pytest.raises(IntegrityError, match=r"models:/adult/1, model: the tag .* audit log"):
        fetch()
    assert not (tmp_path / "got").exists()
    with pytest.raises(IntegrityError, match="audit log says"):
        say(registry, 1, "approved")
    found = wrong(registry)
    assert found["audit log: model"] == swapped
    assert found["audit log: export"] == exported
    told = fetch_champion("adult", tracking_uri=registry.uri, destination=tmp_path / "champion")
    assert told is not None
    assert "audit log says" in told.problem
    registry.store().set_model_version_tag("adult", "1", versions.MODEL_DIGEST, registration.model)
    with pytest.raises(IntegrityError, match=r"models:/adult/1, export: the tag .* audit log"):
        fetch()


def _forget_the_export(registry: Registry) -> None:
    """Let the registration in the log be as an earlier release wrote it."""
    store = registry.store()
    for key, text in registry.model_tags().items():
        entry = AuditEntry.loads(text, where=key)
        store.delete_registered_model_tag("adult", key)
        kept = {kind: digest for kind, digest in entry.digests.items() if kind != "export"}
        actor = Actor(name=entry.by, digests=kept)
        audit.record(store, "adult", event=entry.event, uri=entry.uri, actor=actor)


def test_of_an_earlier_release_the_evidence_tells_what_was_exported(
    registry: Registry, tmp_path: Path
) -> None:
    registration, _ = registry.registered()
    _forget_the_export(registry)

    def fetch(place: str) -> None:
        versions.fetch("models:/adult/1", tracking_uri=registry.uri, destination=tmp_path / place)

    fetch("fine")
    store = registry.store()
    store.set_model_version_tag("adult", "1", versions.EXPORT_DIGEST, "sha256:0")
    with pytest.raises(IntegrityError, match=f"export: the tag .* says that {registration.export}"):
        fetch("tag")
    manifest = registry.pack(registration) / "manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"export": "sha256:0"}))
    with pytest.raises(IntegrityError, match=r"its digest is .* the audit log says"):
        fetch("manifest")
    manifest.unlink()
    with pytest.raises(IntegrityError, match="cannot be trusted: it is gone"):
        fetch("gone")


def test_nothing_is_fetched_by_a_trail_that_is_broken_or_does_not_know_it(
    registry: Registry, tmp_path: Path
) -> None:
    registry.registered()
    registry.promote(1)
    store, tags = registry.store(), registry.model_tags()

    def fetch() -> None:
        versions.fetch("models:/adult/1", tracking_uri=registry.uri, destination=tmp_path / "got")

    first = next(key for key, text in tags.items() if '"registered"' in text)
    store.delete_registered_model_tag("adult", first)
    with pytest.raises(IntegrityError, match="the audit log is broken: What went before"):
        fetch()
    for key in tags.keys() - {first}:
        store.delete_registered_model_tag("adult", key)
    with pytest.raises(IntegrityError, match="its registration is not in the audit log"):
        fetch()
    # One from before there was an audit log is believed.
    store.delete_model_version_tag("adult", "1", versions.EVIDENCE_DIGEST)
    fetch()


def test_by_hand_only_a_former_champion_becomes_champion(
    asking: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    asking.registered()
    say(asking, 1, "approved")
    asking.promote(1)
    asking.registered(depth=3)

    def put(version: int) -> tuple[int, str]:
        command = ["audit", "--model", "adult", "--tracking-uri", asking.uri]
        code = main([*command, "--champion", str(version), "--reason", "So.", "--as", "ann"])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    code, said = put(2)
    assert code == 1
    assert "version 2 was never the champion" in said
    asking.store().set_registered_model_alias("adult", "champion", "2")
    code, said = put(2)
    assert (code, "version 2 was never the champion" in said) == (1, True)
    code, said = put(1)
    assert (code, "Champion: models:/adult/1." in said) == (0, True)
    say(asking, 1, "rejected", BOB)
    asking.store().delete_registered_model_alias("adult", "champion")
    code, said = put(1)
    assert code == 1
    assert "Rejected by bob: I looked." in said
    say(asking, 1, "approved", BOB)
    assert put(1)[0] == 0
    assert checked_champion("adult", tracking_uri=asking.uri).problem == ""
