"""Checking a version long after, and the log: on a real store, by the command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import UntrustedError
from penstock.pipelines.cli import main
from penstock.records.approval import Identity
from penstock.records.evidence import AuditEntry
from penstock.records.rollout import Rollout, Transition
from penstock.registry import approvals, audit, versions
from penstock.registry.evidence import keep_rollout
from penstock.registry.verify import verify

Registry = Any
"""The fixture's class lives in conftest.py, which cannot be imported by name."""


def verdicts(registry: Registry, **changes: Any) -> dict[str, str]:
    _, checks = verify("models:/adult/1", tracking_uri=registry.uri, **changes)
    return {check.name: check.verdict for check in checks}


def wrong(registry: Registry, **changes: Any) -> dict[str, str]:
    found = verdicts(registry, **changes)
    good = ("holds", "not signed", "not there")
    return {name: verdict for name, verdict in found.items() if verdict not in good}


def a_rollout(registration: Any) -> Rollout:
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    moves = [
        Transition(sequence=index, time=now, phase=phase, reason="It went well.")
        for index, phase in enumerate(("deploy", "promote", "done"))
    ]
    return Rollout(
        identity="1-abc",
        service="adult",
        router="local",
        url="http://127.0.0.1:1",
        candidate=registration.version,
        stable=None,
        uri=registration.uri,
        model=registration.model,
        decision=registration.decision,
        started=now,
        plan={},
        outcome="promoted",
        reason="It went well.",
        transitions=tuple(moves),
    )


def test_a_released_version_holds(registry: Registry, tmp_path: Path) -> None:
    registration, _ = registry.registered()
    card = (registry.pack(registration) / "card.md").read_text()
    assert "To be tested." in card
    assert "Approved: " in card
    assert "The slices look right." not in card
    approvals.give(
        registration.uri,
        verdict="approved",
        by=Identity(name="ann", means="stated"),
        reason="The slices look right.",
        tracking_uri=registry.uri,
    )
    registry.promote(1)
    page = tmp_path / "page.html"
    page.write_text("<p>timeline</p>")
    rollout = a_rollout(registration)
    kept = keep_rollout(rollout, tracking_uri=registry.uri, others={"rollout.html": page})
    assert kept is not None
    # A step that is run again keeps nothing twice.
    assert keep_rollout(rollout, tracking_uri=registry.uri) is None
    pack = registry.pack(registration)
    final = (pack.with_name(f"{pack.name}.rollouts") / "1-abc" / "card.md").read_text()
    for words in (registration.uri, "ann", "The slices look right.", "To be tested."):
        assert words in final
    found = verdicts(registry)
    assert wrong(registry) == {}
    for name in (
        "model files",
        "ONNX form",
        "manifest.json",
        "decision.json",
        "policy.json",
        "evaluation.json",
        "holdout.json",
        "card.html",
        "decided on evaluation",
        "decided on policy",
        "holdout.json is of",
        "rollout 1-abc",
        "rollout 1-abc: rollout.json",
        "rollout 1-abc: rollout.html",
        "audit log",
        "audit log: evidence",
        "alias champion",
    ):
        assert found[name] == "holds", name
    assert found["signature"] == "not signed"


def _append(path: Path) -> None:
    with path.open("a") as stream:
        stream.write(" ")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("evaluation.json", {"evaluation.json": "fails", "decided on evaluation": "fails"}),
        pytest.param(
            "policy.json",
            {"policy.json": "fails", "decided on policy": "fails"},
            marks=pytest.mark.long,
        ),
        pytest.param("holdout.json", {"holdout.json": "fails"}, marks=pytest.mark.long),
        ("export.json", {"export.json": "fails"}),
    ],
)
def test_evidence_that_was_edited_is_found(
    registry: Registry, file: str, expected: dict[str, str]
) -> None:
    registration, _ = registry.registered()
    path = registry.pack(registration) / file
    told = json.loads(path.read_text())
    key = {"evaluation.json": "rows", "policy.json": "floors"}.get(file, "x")
    path.write_text(json.dumps(told | {key: [] if key == "x" else 1}))
    assert wrong(registry) == expected


def test_evidence_that_was_added_removed_or_told_differently_is_found(registry: Registry) -> None:
    registration, _ = registry.registered()
    pack = registry.pack(registration)
    (pack / "note.txt").write_text("It was all fine.")
    assert wrong(registry) == {"note.txt": "fails"}
    (pack / "note.txt").unlink()
    (pack / "holdout.json").unlink()
    assert wrong(registry) == {"holdout.json": "missing"}
    manifest = json.loads((pack / "manifest.json").read_text())
    del manifest["files"]["holdout.json"]
    (pack / "manifest.json").write_text(json.dumps(manifest))
    assert wrong(registry) == {"manifest.json": "fails"}
    # Whoever writes tags can make the manifest fit, and then the log does not.
    digest = versions.EVIDENCE_DIGEST
    from penstock.records.evidence import Evidence

    forged = Evidence.read(pack / "manifest.json").digest()
    registry.store().set_model_version_tag("adult", "1", digest, forged)
    assert wrong(registry) == {"audit log: evidence": "fails"}


def test_model_files_that_were_altered_are_found(registry: Registry) -> None:
    registry.registered()
    (stored,) = registry.folder.glob("artifacts/**/requirements.txt")
    stored.write_text("altered\n")
    assert wrong(registry) == {"model files": "fails"}


def _keys(registry: Registry) -> dict[str, AuditEntry]:
    tags = registry.model_tags()
    found = {k: AuditEntry.loads(v, where=k) for k, v in tags.items() if k.startswith(audit.PREFIX)}
    return dict(sorted(found.items()))


@pytest.mark.parametrize(
    "how",
    [
        "removed",
        pytest.param("edited", marks=pytest.mark.long),
        "edited with its key",
        pytest.param("newest edited", marks=pytest.mark.long),
    ],
)
def test_a_trail_that_was_altered_is_found(
    registry: Registry, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.registered()
    registry.promote(1)
    store, entries = registry.store(), _keys(registry)
    assert [e.event for e in entries.values()] == ["registered", "promoted", "champion moved"]
    assert main(["audit", "--model", "adult", "--tracking-uri", registry.uri]) == 0
    key = list(entries)[-1 if how == "newest edited" else 0]
    forged = entries[key].model_copy(update={"by": "somebody else"})
    if how in ("removed", "edited with its key"):
        store.delete_registered_model_tag("adult", key)
    if how != "removed":
        named = f"{key[:-8]}{forged.digest()[7:15]}" if how == "edited with its key" else key
        store.set_registered_model_tag("adult", named, forged.dumps())
    assert wrong(registry)["audit log"] == "fails"
    capsys.readouterr()
    assert main(["audit", "--model", "adult", "--tracking-uri", registry.uri]) == 1
    out = capsys.readouterr().out
    words = {
        "removed": "BROKEN: What went before promoted of models:/adult/1 on",
        "edited with its key": "BROKEN: What went before promoted of models:/adult/1 on",
        "edited": "was altered: it says registered of models:/adult/1 by somebody else",
        "newest edited": "was altered: it says champion moved of models:/adult/1 by somebody else",
    }
    assert words[how] in out


def test_signed_evidence_is_checked_with_the_key(
    registry: Registry, keypair: Callable[[str], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keypair("ours")
    _, others = keypair("theirs")
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", str(private))
    registration, _ = registry.registered()
    assert verdicts(registry)["signature"] == "not there"
    assert verdicts(registry, key=public)["signature"] == "holds"
    assert wrong(registry, key=public) == {}
    assert wrong(registry, key=others) == {"signature": "fails", "signed for servers": "fails"}
    _append(registry.pack(registration) / "manifest.json")
    # A space changes no record: its digest holds, and the signature on the file does not.
    assert wrong(registry, key=public) == {"signature": "fails"}


def test_a_version_that_is_not_signed_fails_where_a_key_is_given(
    registry: Registry, keypair: Callable[[str], tuple[Path, Path]]
) -> None:
    registry.registered()
    _, public = keypair("ours")
    assert wrong(registry, key=public) == {"signature": "missing"}
    # Nothing is said of signatures by a key that is none.
    for path in (Path("/nowhere/key.pub"), registry.holdout / "_dataset.json"):
        with pytest.raises(UntrustedError, match="no public key that a signature can be checked"):
            wrong(registry, key=path)


def test_a_key_that_cannot_sign_stops_the_registration(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock.errors import InputError

    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", "/nowhere/key.pem")
    decided = registry.decided()
    with pytest.raises(InputError, match=r"/nowhere/key\.pem, named by PENSTOCK_SIGNING_KEY"):
        registry.register(*decided)
    assert not registry.store().search_model_versions("name = 'adult'")


def test_the_command_prints_a_table_and_its_code_tells(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registration, _ = registry.registered()
    command = ["verify", "models:/adult/1", "--tracking-uri", registry.uri]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "model files" in out
    assert out.splitlines()[-1].startswith("models:/adult/1: all ")
    (registry.pack(registration) / "evaluation.json").unlink()
    assert main(command) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "models:/adult/1: 2 do not hold."
    assert main([*command, "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    missing = [c["name"] for c in checks if c["verdict"] == "missing"]
    assert missing == ["evaluation.json", "decided on evaluation"]


def test_a_version_from_before_says_what_is_missing(registry: Registry) -> None:
    registration, _ = registry.registered()
    store = registry.store()
    for key in registry.model_tags():
        store.delete_registered_model_tag("adult", key)
    store.delete_model_version_tag("adult", "1", versions.EVIDENCE_DIGEST)
    import shutil

    shutil.rmtree(registry.pack(registration))
    assert wrong(registry) == {"evidence": "missing", "audit log: registered": "missing"}


def test_a_version_of_an_older_release_names_its_training_part_by_the_dataset_tag(
    registry: Registry,
) -> None:
    registration, _ = registry.registered()
    store = registry.store()
    table = store.get_model_version("adult", "1").tags[versions.DATASET]
    assert table != registration.dataset
    store.delete_model_version_tag("adult", "1", versions.TRAINING_PART)
    # What this release wrote into that tag is no training part.
    assert wrong(registry) == {"tag: training data": "fails"}
    store.set_model_version_tag("adult", "1", versions.DATASET, registration.dataset)
    assert wrong(registry) == {}
    version, checks = verify("models:/adult/1", tracking_uri=registry.uri)
    (training,) = (check for check in checks if check.name == "tag: training data")
    assert training.verdict == "holds"
    assert training.found == version.training_part == registration.dataset


def test_people_speak_by_the_command_line(
    registry: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.registered()
    monkeypatch.delenv("KUBECONFIG", raising=False)
    given = ["models:/adult/1", "--tracking-uri", registry.uri, "--reason", "Looks right."]
    assert main(["approve", *given, "--as", "alice", "--days", "2"]) == 0
    assert "alice (stated) approved models:/adult/1, valid until" in capsys.readouterr().out
    monkeypatch.setenv("KUBEFLOW_USERID", "bob@example.com")
    assert main(["reject", *given]) == 0
    out = capsys.readouterr().out
    assert out == "bob@example.com (platform header) rejected models:/adult/1.\n"
    assert main(["audit", "--model", "adult", "--tracking-uri", registry.uri, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert [(e["event"], e["by"], e["means"]) for e in entries] == [
        ("registered", "trainer", "pipeline parameter"),
        ("approved", "alice", "stated"),
        ("rejected", "bob@example.com", "platform header"),
    ]
    assert main(["approve", "models:/adult/9", *given[1:]]) == 1
    assert "no such version" in capsys.readouterr().err
    assert main(["approve", *given[:3], "--reason", " "]) == 1
    assert "a reason has 1 to 1,000 characters" in capsys.readouterr().err


def test_the_champion_is_put_right_in_the_open(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.registered()
    registry.promote(1)
    registry.store().delete_registered_model_alias("adult", "champion")
    command = ["audit", "--model", "adult", "--tracking-uri", registry.uri]
    assert main(command) == 1
    assert "no version carries the alias champion" in capsys.readouterr().out
    assert main([*command, "--champion", "1"]) == 2
    assert "needs a reason" in capsys.readouterr().err
    assert main([*command, "--champion", "1", "--reason", "Lost.", "--as", "alice"]) == 0
    out = capsys.readouterr().out
    assert "Lost." in out
    assert "Champion: models:/adult/1." in out


def test_the_commands_run_without_a_project_or_a_cluster(shell: Callable[..., Any]) -> None:
    done: subprocess.CompletedProcess[str] = shell("audit")
    assert done.returncode == 1
    assert "the project file cannot be read" in done.stderr
