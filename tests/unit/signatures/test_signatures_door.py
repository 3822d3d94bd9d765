"""The check before a model is loaded: what a trusted key vouches for passes, else it is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from signing_keys import write_keypair

from penstock.common import files
from penstock.errors import InputError, UntrustedError
from penstock.model import digest_of
from penstock.records import signatures
from penstock.records.approval import Approval, Identity
from penstock.records.decision import Decision, RuleResult
from penstock.registry.signing import sign_model
from penstock.signatures.approvals import sign_approvals
from penstock.signatures.bundle import sign_statement
from penstock.signatures.decision import sign_decision
from penstock.signatures.door import require_vouched
from penstock.signatures.keys import read_keys, read_private_key

Change = Callable[[Path], object]

WHAT = "version 3 of loans"
POLICY: dict[str, Any] = {"approval": {"people": 0, "approvers": []}, "floors": []}
FOUR_EYES = POLICY | {"approval": {"people": 2, "approvers": ["ann", "ben", "cem"]}}


def digest_of_policy(policy: dict[str, Any]) -> str:
    return files.digest_of_text(files.canonical_json(policy))


def decided(model: str, *, approved: bool = True, policy: dict[str, Any] = POLICY) -> Decision:
    """A decision by one rule."""
    rule = RuleResult(
        rule="floor roc_auc",
        severity="block",
        verdict="pass" if approved else "fail",
        value=0.9,
        bound=0.8,
        sentence="roc_auc is 0.900.",
    )
    return Decision(
        approved=approved,
        model=model,
        dataset="rows1:bb",
        evaluation="sha256:cc",
        policy=digest_of_policy(policy),
        rules=(rule,),
    )


class Door:
    """A signed folder, and the folder of keys that are trusted."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.trusted = place / "model", place / "trusted"
        self.trusted.mkdir()
        (self.folder / "serving").mkdir(parents=True)
        for name in ("MLmodel", "model.skops", "serving/model.onnx", "notes.txt"):
            (self.folder / name).write_bytes(name.encode())
        self.model = digest_of(self.folder)
        self.private, self.public = write_keypair(place, "ours")
        self.others, self.others_public = write_keypair(place, "theirs")
        self.trust("ours.pub", self.public)
        monkeypatch.setenv("PENSTOCK_SIGNING_KEY", str(self.private))
        self.identity = sign_model(
            self.folder, decision=decided(self.model), policy=POLICY, name="loans"
        )

    def trust(self, name: str, key: Path) -> None:
        shutil.copy(key, self.trusted / name)

    def ask(self) -> Any:
        keys = read_keys(self.trusted)
        return require_vouched(self.folder, keys=keys, model=self.model, what=WHAT)

    def state(
        self, decision: Decision, *, policy: dict[str, Any] = POLICY, sha256: str = ""
    ) -> None:
        """Put another statement in the place of the decision, signed by our key."""
        text = sign_decision(
            decision,
            policy=policy,
            key=self.key(self.private),
            name="loans",
            sha256=sha256 or self.subject(),
        )
        (self.folder / signatures.DECISION).write_text(text)

    def four_eyes(self) -> Decision:
        """Have the decision made on a policy that asks for two people."""
        decision = decided(self.model, policy=FOUR_EYES)
        self.state(decision, policy=FOUR_EYES)
        return decision

    def approve(self, *by: str, key: Path | None = None, sha256: str = "", **changes: Any) -> None:
        """Have people approve what is there, and their approvals signed."""
        fields: dict[str, Any] = {
            "uri": "models:/loans/3",
            "model": self.model,
            "decision": self.four_eyes().digest(),
            "verdict": "approved",
            "reason": "Looked at it.",
            "time": datetime(2026, 11, 30, tzinfo=UTC),
            "expires": datetime(2026, 12, 7, tzinfo=UTC),
        }
        given = [
            Approval(by=Identity(name=name, means="stated"), **(fields | changes)) for name in by
        ]
        private = self.key(key or self.private)
        text = sign_approvals(given, key=private, name="loans", sha256=sha256 or self.subject())
        (self.folder / signatures.APPROVALS).write_text(text)

    @staticmethod
    def key(private: Path) -> Any:
        return read_private_key(private, named_by="the test")

    def subject(self) -> str:
        return str(payload(self.folder / signatures.MODEL)["subject"][0]["digest"]["sha256"])


def payload(bundle: Path) -> dict[str, Any]:
    envelope = json.loads(bundle.read_text())["dsseEnvelope"]
    found: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return found


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(tmp_path, monkeypatch)


def test_what_a_trusted_key_signed_and_a_decision_approves_passes(door: Door) -> None:
    assert door.model == digest_of(door.folder)
    assert door.identity == hashlib.sha256(door.public.read_bytes()).hexdigest()
    by = door.ask()
    assert by.files == by.decision == f"{door.identity[:16]} (ours.pub)"
    # What model-signing signs we check, and it checks what we keep.
    from google.protobuf import json_format
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message
    from model_signing import verifying

    verifying.Config().use_elliptic_key_verifier(public_key=door.public).verify(
        door.folder, door.folder / signatures.MODEL
    )
    stated = payload(door.folder / signatures.DECISION)
    Statement.copy_from_pb(json_format.ParseDict(stated, Message())).validate()
    assert Decision.parse(stated["predicate"]["decision"], where="").model == door.model


@pytest.mark.parametrize("curve", ["secp256r1", "secp384r1", "secp521r1"])
def test_model_signing_holds_our_signature_for_its_own(
    tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch, curve: str
) -> None:
    from model_signing._signing.sign_ec_key import Verifier
    from model_signing._signing.sign_sigstore_pb import Signature

    private, public = write_keypair(tmp_path, curve, curve=curve)
    door.trust(f"{curve}.pub", public)
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", str(private))
    sign_model(door.folder, decision=decided(door.model), policy=POLICY, name="loans")
    assert door.ask().files.endswith(f"({curve}.pub)")
    # Its own check of the envelope, which stops at the kind of statement: that is not its own.
    bundle = Signature.read(door.folder / signatures.DECISION)
    kind, _ = Verifier(public)._verify_signed_content(bundle)
    assert kind == "application/vnd.in-toto+json"


def _forged_subject(door: Door) -> None:
    """Exchange a file and its digest in the statement, which breaks the signature."""
    path = door.folder / signatures.MODEL
    bundle, stated = json.loads(path.read_text()), payload(path)
    (door.folder / "model.skops").write_bytes(b"other")
    for each in stated["predicate"]["resources"]:
        if each["name"] == "model.skops":
            each["digest"] = hashlib.sha256(b"other").hexdigest()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(stated).encode()).decode()
    path.write_text(json.dumps(bundle))


def _withdrawn(door: Door) -> None:
    # It stays among the trusted ones, as where only half of a change has reached the server.
    door.trust("old.withdrawn", door.public)
    door.trust("new.pub", door.others_public)


def _wrong_key(door: Door) -> None:
    (door.trusted / "ours.pub").unlink()
    door.trust("theirs.pub", door.others_public)


def _claimed_key(door: Door) -> None:
    """Name a trusted key as the one that signed, where another did."""
    other = hashlib.sha256(door.others_public.read_bytes()).hexdigest()
    _wrong_key(door)
    path = door.folder / signatures.MODEL
    path.write_text(path.read_text().replace(door.identity, other))


def _piped(door: Door) -> None:
    (door.folder / signatures.MODEL).unlink()
    os.mkfifo(door.folder / signatures.MODEL)


CASES: dict[str, tuple[Callable[[Door], object], str]] = {
    "unsigned": (
        lambda door: (door.folder / signatures.MODEL).unlink(),
        r"version 3 of loans is not signed, and only what is signed by key \w{16} \(ours\.pub\) .*"
        r"penstock sign",
    ),
    "altered": (
        lambda door: (door.folder / "model.skops").write_bytes(b"other"),
        r"version 3 of loans is not what key \w{16} \(ours\.pub\) signed; altered: model\.skops\.",
    ),
    "altered ONNX form": (
        lambda door: (door.folder / "serving/model.onnx").write_bytes(b"other"),
        "altered: serving/model.onnx",
    ),
    "added": (
        lambda door: (door.folder / "extra.py").write_text("import os"),
        r"signed; added: extra\.py\. Its files were changed after they were signed: release it",
    ),
    "added beside the signatures": (
        lambda door: (door.folder / "signatures/extra.py").write_text("import os"),
        r"added: signatures/extra\.py",
    ),
    "added for Git": (
        lambda door: (door.folder / ".gitattributes").write_text("x"),
        r"added: \.gitattributes",
    ),
    "removed": (lambda door: (door.folder / "notes.txt").unlink(), r"missing: notes\.txt"),
    "linked": (
        lambda door: (door.folder / "link").symlink_to(door.folder / "MLmodel"),
        "a symbolic link",
    ),
    "wrong key": (
        _wrong_key,
        r"version 3 of loans is signed by key \w{16}, which is not trusted here; trusted: \w{16} "
        r"\(theirs\.pub\)",
    ),
    "another key claimed": (_claimed_key, r"by key \w{16} \(theirs\.pub\) does not hold"),
    "withdrawn key": (
        _withdrawn,
        r"version 3 of loans is signed by key \w{16} \(old\.withdrawn\), which is withdrawn\. Sign "
        "it with a key that is trusted",
    ),
    "forged manifest": (_forged_subject, r"by key \w{16} \(ours\.pub\) does not hold"),
    "a pipe that nobody writes to": (_piped, "version 3 of loans is not signed"),
    "a key's id that is none": (
        lambda door: (door.folder / signatures.MODEL).write_text(
            (door.folder / signatures.MODEL).read_text().replace(door.identity, "\\u001b[2Jok")
        ),
        r"is no Sigstore bundle of a key: .*hint.*\\x1b\[2Jok",
    ),
    "added under a name of two lines": (
        lambda door: (door.folder / "a\nb").touch(),
        r"added: 'a\\nb'",
    ),
    "no bundle": (
        lambda door: (door.folder / signatures.MODEL).write_text("{}"),
        "is no Sigstore bundle of a key",
    ),
    "no decision": (
        lambda door: (door.folder / signatures.DECISION).unlink(),
        "version 3 of loans has no signed decision",
    ),
    "refused": (
        lambda door: door.state(decided(door.model, approved=False)),
        r"the decision that key \w{16} \(ours\.pub\) signed does not let version 3 of loans be "
        "served: the decision refuses this model",
    ),
    "refused, called approved": (
        lambda door: door.state(
            decided(door.model, approved=False).model_copy(update={"approved": True})
        ),
        "says approved but its own rules do not",
    ),
    "of another model": (
        lambda door: door.state(decided("sha256:other")),
        "the decision approves model sha256:other, not this one",
    ),
    "about another digest": (
        lambda door: door.state(decided(door.model), sha256="ab" * 32),
        r"it is about abab\w+, the signed files are",
    ),
    "signature of the files as decision": (
        lambda door: shutil.copy(door.folder / signatures.MODEL, door.folder / signatures.DECISION),
        r"it states https://model_signing/signature/v1\.0, not urn:penstock:decision:2",
    ),
    "decision as signature of the files": (
        lambda door: shutil.copy(door.folder / signatures.DECISION, door.folder / signatures.MODEL),
        "is no manifest of a model's files: it states urn:penstock:decision:2",
    ),
    "no folder of keys": (
        lambda door: shutil.rmtree(door.trusted),
        "trusted: the folder of trusted keys cannot be read: No such file or directory",
    ),
    "no key": (
        lambda door: (door.trusted / "ours.pub").unlink(),
        "no key there is trusted, so no model can be served",
    ),
    "a key that is none": (
        lambda door: (door.trusted / "ours.pub").write_text("-----BEGIN PUBLIC KEY-----"),
        r"trusted/ours\.pub: no public key that a signature can be checked with",
    ),
    "two keys in a file": (
        lambda door: (door.trusted / "old.withdrawn").write_bytes(
            door.others_public.read_bytes() + door.public.read_bytes()
        ),
        r"old\.withdrawn: .*it holds more than one key; each has a file of its own",
    ),
    "a private key": (
        lambda door: door.trust("ours.pub", door.private),
        r"ours\.pub: no public key that a signature can be checked with",
    ),
    "a name that says both": (
        lambda door: door.trust("old.withdrawn.pub", door.others_public),
        r"old\.withdrawn\.pub is neither NAME\.pub nor NAME\.withdrawn",
    ),
    "a slip in a name": (
        lambda door: door.trust("old.withdrawm", door.others_public),
        r"old\.withdrawm is neither NAME\.pub nor NAME\.withdrawn",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_all_else_is_refused_with_version_key_and_what_to_do(door: Door, case: str) -> None:
    change, message = CASES[case]
    change(door)
    with pytest.raises(UntrustedError, match=message):
        door.ask()


def _first_form(door: Door) -> None:
    """Sign the decision as it was before its policy was signed with it."""
    text = sign_statement(
        door.key(door.private),
        name="loans",
        sha256=door.subject(),
        predicate_type="urn:penstock:decision:1",
        predicate={"decision": decided(door.model, policy=FOUR_EYES).payload()},
    )
    (door.folder / signatures.DECISION).write_text(text)


def _laxer_policy(door: Door) -> None:
    """State another policy than the one that was decided on, which asks for nobody."""
    text = sign_statement(
        door.key(door.private),
        name="loans",
        sha256=door.subject(),
        predicate_type="urn:penstock:decision:2",
        predicate={
            "decision": decided(door.model, policy=FOUR_EYES).payload(),
            "policy": POLICY,
        },
    )
    (door.folder / signatures.DECISION).write_text(text)


PEOPLE: dict[str, tuple[Callable[[Door], object], str]] = {
    "nobody approved": (
        lambda door: door.four_eyes(),
        "version 3 of loans needs the approval of 2 by its policy, and has no signed approvals, .*"
        "penstock sign",
    ),
    "a decision without its policy": (
        _first_form,
        r"states urn:penstock:decision:1.*sign it again",
    ),
    "a laxer policy": (_laxer_policy, "it was made on policy sha256:.*, another is stated"),
    "one of two": (
        lambda door: door.approve("ann"),
        r"the approvals that key \w{16} \(ours\.pub\) signed do not let version 3 of loans be "
        "served: the policy asks for 2, and 1 are of this model",
    ),
    "one person twice": (lambda door: door.approve("ann", "Ann"), "asks for 2, and 1 are"),
    "who may not": (lambda door: door.approve("ann", "eve"), "asks for 2, and 1 are"),
    "of another model": (
        lambda door: door.approve("ann", "ben", model="sha256:other"),
        "asks for 2, and 0 are",
    ),
    "on another decision": (
        lambda door: door.approve("ann", "ben", decision="sha256:other"),
        "asks for 2, and 0 are",
    ),
    "rejected": (
        lambda door: door.approve("ann", "ben", verdict="rejected"),
        "asks for 2, and 0 are",
    ),
    "about other files": (
        lambda door: door.approve("ann", "ben", sha256="ab" * 32),
        r"they are about abab\w+, the signed files are",
    ),
    "signed by whoever": (
        lambda door: door.approve("ann", "ben", key=door.others),
        r"is signed by key \w{16}, which is not trusted here",
    ),
    "the decision in their place": (
        lambda door: (
            door.four_eyes(),
            shutil.copy(door.folder / signatures.DECISION, door.folder / signatures.APPROVALS),
        ),
        "it states urn:penstock:decision:2, not urn:penstock:approvals:1",
    ),
}


@pytest.mark.parametrize("case", PEOPLE)
def test_where_the_policy_asks_for_people_their_approvals_are_signed_too(
    door: Door, case: str
) -> None:
    change, message = PEOPLE[case]
    change(door)
    with pytest.raises(UntrustedError, match=message):
        door.ask()
    door.approve("ann", "ben")
    assert door.ask().people == ("ann", "ben")


def test_a_policy_that_is_not_the_decision_s_is_not_signed(door: Door) -> None:
    for policy in (None, FOUR_EYES):
        with pytest.raises(InputError, match=r"the decision was made on policy .* is to be signed"):
            sign_model(door.folder, decision=decided(door.model), policy=policy, name="loans")


def test_while_keys_rotate_both_are_accepted(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door.trust("next.pub", door.others_public)
    assert door.ask().files.endswith("(ours.pub)")
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", str(door.others))
    sign_model(door.folder, decision=decided(door.model), policy=POLICY, name="loans")
    assert door.ask().files.endswith("(next.pub)")
    door.trust("ours.withdrawn", door.public)
    assert door.ask().files.endswith("(next.pub)")


def test_a_mounted_config_map_is_such_a_folder(door: Door) -> None:
    # The kubelet lays the files into a folder whose name begins with dots, and links to them.
    data = door.trusted / "..2026_11_30"
    data.mkdir()
    (door.trusted / "ours.pub").rename(data / "ours.pub")
    (door.trusted / "..data").symlink_to(data)
    (door.trusted / "ours.pub").symlink_to("..data/ours.pub")
    assert door.ask().files.endswith("(ours.pub)")
