"""Whose word counts, and for which version: by the command line, on a real store."""

from __future__ import annotations

import os
import pty
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.common.people import unnamed
from penstock.errors import InputError, IntegrityError, NotApprovedError
from penstock.gate.approval import ApprovalSpec
from penstock.gate.policy import Policy
from penstock.gate.rules.floors import FloorSpec
from penstock.pipelines.cli import main
from penstock.pipelines.parameters import starter
from penstock.records.approval import Approval, Identity
from penstock.registry import approvals, audit, identity, versions
from penstock.registry.approvals import Seen
from penstock.registry.verify import verify

Registry = Any
"""The fixture's class lives in conftest.py, which cannot be imported by name."""

ANN = Identity(name="ann@example.com", means="platform header")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBEFLOW_USERID", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def asking(registry: Registry) -> Registry:
    registry.policy = registry.policy.model_copy(update={"approval": ApprovalSpec(people=1)})
    return registry


def words(registry: Registry, version: int = 1) -> list[str]:
    tags = registry.store().get_model_version("adult", str(version)).tags
    return [tags[key] for key in tags if key.startswith(versions.APPROVAL)]


def command(registry: Registry, verb: str, target: str, *more: str) -> list[str]:
    return [verb, target, "--tracking-uri", registry.uri, "--reason", "Fine.", *more]


@pytest.mark.parametrize("verb", ["approve", pytest.param("reject", marks=pytest.mark.long)])
def test_a_word_is_for_a_version_that_is_named(
    asking: Registry, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, decision = asking.registered()
    alias = "models:/adult@challenger"
    assert main(command(asking, verb, alias)) == 2
    told = capsys.readouterr().err
    assert "@challenger names no version: it is models:/adult/1 now" in told
    assert f"penstock {verb} models:/adult/1 --decision {decision.digest()} --reason" in told
    assert words(asking) == []
    assert main(command(asking, verb, alias, "--decision", decision.digest())) == 0
    asking.registered(depth=3)
    # The alias has moved on from what was looked at.
    assert main(command(asking, verb, alias, "--decision", decision.digest())) == 1
    assert "the decision that you looked at is sha256:" in capsys.readouterr().err
    assert (len(words(asking)), words(asking, 2)) == (1, [])
    with pytest.raises(InputError, match="not the one that you looked at"):
        approvals.give(alias, verdict="approved", by=ANN, reason="Fine.", tracking_uri=asking.uri)


@pytest.mark.parametrize("answer", ["1", "yes"])
def test_somebody_at_a_terminal_is_shown_the_version_and_asked(
    asking: Registry, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    registration, _ = asking.registered()
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode() + b"\n")
    with (
        os.fdopen(theirs) as typed,
        os.fdopen(os.dup(theirs), "w") as shown,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stdin", typed)
        patch.setattr(sys, "stdout", shown)
        code = main(command(asking, "approve", "models:/adult@challenger", "--as", "bob"))
        seen = b""
        while b"type its number: " not in seen:
            seen += os.read(ours, 10_000)
    os.close(ours)
    assert registration.model.encode() in seen
    assert registration.decision.encode() in seen
    assert code == (0 if answer == "1" else 2)
    assert len(words(asking)) == (1 if answer == "1" else 0)


def test_a_version_that_is_not_what_was_shown_gets_no_word(asking: Registry) -> None:
    registration, _ = asking.registered()
    for seen in (Seen(model="sha256:0"), Seen(decision="sha256:0")):
        with pytest.raises(IntegrityError, match="that you looked at is sha256:0"):
            approvals.give(
                registration.uri,
                verdict="approved",
                by=ANN,
                reason="Fine.",
                tracking_uri=asking.uri,
                seen=seen,
            )
    assert words(asking) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ann\u200b@example.com", "that nobody sees: U+200B"),
        pytest.param("ann\x00", "that nobody sees: U+0000", marks=pytest.mark.long),
        pytest.param("a\u3164nn", "that nobody sees: U+3164", marks=pytest.mark.long),
        ("a" * 201, "a name has 1 to 200 characters"),
    ],
)
def test_a_name_that_cannot_be_read_is_refused_at_the_entry(
    asking: Registry, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asking.registered()
    assert main(command(asking, "approve", "models:/adult/1", "--as", name)) == 1
    assert message in capsys.readouterr().err
    assert words(asking) == []


def test_days_are_within_the_policy(
    asking: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asking.registered()
    project = tmp_path / "project.yaml"
    project.write_text(
        "name: adult\ntarget: income\nsource: {uri: table.csv}\n"
        "gate: {approval: {people: 1, valid_days: 3}}\n"
    )
    asked = command(asking, "approve", str(project), "--version", "1", "--as", "ann")
    for days in ("4", "0", "nan", "inf"):
        assert main([*asked, "--days", days]) == 2
        assert "above 0 and at most 3 (gate.approval.valid_days)" in capsys.readouterr().err
    assert main(asked) == 0
    (said,) = (Approval.loads(text, where="tag") for text in words(asking))
    assert said.expires - said.time == timedelta(days=3)


@pytest.mark.long
def test_an_approval_that_gives_itself_a_century_ends_with_the_policy_s_days(
    asking: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registration, decision = asking.registered()
    long_ago = approvals.datetime.now(approvals.UTC) - timedelta(days=8)

    class Then(approvals.datetime):
        """The clock of eight days ago: nobody waits that long."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return long_ago.astimezone(tz)

    with monkeypatch.context() as patched:
        patched.setattr(approvals, "datetime", Then)
        approvals.give(
            registration.uri,
            verdict="approved",
            by=ANN,
            reason="Fine.",
            tracking_uri=asking.uri,
            valid_days=1e9,
        )
    with pytest.raises(NotApprovedError, match=r"the approval of ann@example\.com expired on"):
        asking.deploy(registration, decision)


def test_what_was_said_last_is_known_by_the_trail_and_not_by_clocks(asking: Registry) -> None:
    registration, _ = asking.registered()
    fields = {"by": ANN, "reason": "Fine.", "tracking_uri": asking.uri}
    first = approvals.give(registration.uri, verdict="approved", **fields)
    approvals.give(registration.uri, verdict="rejected", **fields)
    tags = dict(asking.store().get_model_version("adult", "1").tags)
    log = audit.read(asking.model_tags())
    # As the tag's name is made of the clock of who spoke.
    (key,) = [key for key, text in tags.items() if text == audit.compact(first)]
    tags["penstock.approval.20990101T000000000000.0"] = tags.pop(key)
    assert [word.verdict for word in approvals.read(tags, log=log)] == ["approved", "rejected"]


def test_a_rejection_after_the_release_says_nothing_of_the_release(asking: Registry) -> None:
    registration, _ = asking.registered()
    fields = {"by": ANN, "reason": "Fine.", "tracking_uri": asking.uri}
    approvals.give(registration.uri, verdict="approved", **fields)
    asking.promote(1)
    approvals.give(registration.uri, verdict="rejected", **fields)
    _, checks = verify(registration.uri, tracking_uri=asking.uri)
    (check,) = [check for check in checks if check.name == "served: promoted"]
    words = "Approved by ann@example.com. Rejected later by ann@example.com."
    assert (check.verdict, check.found) == ("holds", words)


def test_on_a_platform_a_stated_name_does_not_count(
    asking: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registration, decision = asking.registered()
    approvals.give(
        registration.uri,
        verdict="approved",
        by=Identity(name="bob", means="stated"),
        reason="Fine.",
        tracking_uri=asking.uri,
    )
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(NotApprovedError, match=r"the identity of bob was stated \(stated\)"):
        asking.deploy(registration, decision)


def test_a_user_without_a_name_acts_and_counts_for_nobody(
    asking: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # No process of a test may take another user's number, as one in a container has it.
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)
    nobody = Identity(name=unnamed(987_654_321), means="operating system user")
    assert identity.whoami() == identity.current_identity() == nobody
    assert starter() == ""
    asking.registered()
    assert main(command(asking, "approve", "models:/adult/1")) == 1
    assert "uid 987654321 names nobody" in capsys.readouterr().err
    assert main(command(asking, "approve", "models:/adult/1", "--as", "ann")) == 0


def test_a_cluster_that_does_not_answer_names_the_system_s_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.setenv("LOGNAME", "ann")
    assert identity.current_identity() == Identity(name="ann", means="operating system user")


def test_a_kept_policy_that_this_release_would_refuse_is_still_read(asking: Registry) -> None:
    met = FloorSpec.model_construct(
        metric="accuracy", at_least=0.0, at_most=None, on="estimate", severity="warn", because=""
    )
    asking.policy = asking.policy.model_copy(update={"floors": (met,)})
    with pytest.raises(InputError, match="always met"):
        Policy.parse(asking.policy.model_dump(mode="json"), where="gate")
    registration, decision = asking.registered()
    with pytest.raises(NotApprovedError, match="0 of 1 person approved"):
        asking.deploy(registration, decision, policy={})
