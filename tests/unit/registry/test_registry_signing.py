"""A version that is signed as it is registered, served where its key is trusted, signed again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from signing_keys import write_keypair

from penstock.errors import ServiceError
from penstock.gate.approval import ApprovalSpec
from penstock.pipelines.cli import main
from penstock.processes.loopback import LOOPBACK
from penstock.records import signatures
from penstock.records.approval import Identity
from penstock.registry import approvals, audit, versions
from penstock.registry.approval_wait import wait
from penstock.registry.signing_people import sign_people
from penstock.registry.verify import verify
from penstock.rollout import fetching
from penstock.rollout.backends.local.services import stop
from penstock.rollout.router import Release
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import target_of
from penstock.serving import launch
from penstock.serving.temporary_server import temporary_server
from penstock.signatures.bundle import key_of
from penstock.signatures.door import require_vouched
from penstock.signatures.keys import read_keys

Registry = Any
"""The fixture's class lives in conftest.py, which cannot be imported by name."""

Keys = Callable[[str], tuple[Path, Path]]
URI = "models:/adult/1"


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    (tmp_path / "trusted").mkdir()
    return tmp_path / "trusted"


def refusal(folder: Path, version: Any, trusted: Path, capfd: Any) -> str:
    """Start a server in this process, which ends before it opens a port; return what it said."""
    options = {
        "--model": str(folder),
        "--name": "adult",
        "--version": "1",
        "--digest": version.model,
        "--export": version.export,
        "--trust": str(trusted),
        "--port": "0",
    }
    given = launch.parser("serving", "").parse_args([w for pair in options.items() for w in pair])
    capfd.readouterr()
    assert launch.run(given) == 1
    return str(capfd.readouterr().err)


def test_a_version_is_signed_served_altered_and_refused(
    registry: Registry,
    keypair: Keys,
    trusted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    private, public = keypair("ours")
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", str(private))
    (trusted / "ours.pub").write_bytes(public.read_bytes())
    registry.registered()
    version = versions.registered(URI, tracking_uri=registry.uri)
    folder = versions.fetch(URI, tracking_uri=registry.uri, destination=tmp_path / "fetched")
    assert version.tags[versions.SIGNED_BY] == key_of(folder / signatures.MODEL)
    assert version.export
    arguments = ["--model", str(folder), "--digest", version.model, "--export", version.export]
    (tmp_path / "server").mkdir()
    with temporary_server(
        [*arguments, "--trust", str(trusted)], scratch=tmp_path / "server", timeout=300
    ) as server:
        assert httpx.get(f"http://{LOOPBACK}:{server.port}/v2/health/ready").status_code == 200
        assert "version 0 of candidate is signed by key" in server.log.read_text()
    # Neither digest covers it, so only the signature tells.
    (folder / signatures.FOLDER / "extra.json").write_text("{}")
    said = refusal(folder, version, trusted, capfd)
    assert said.startswith("error: ")
    assert "version 1 of adult is not what key" in said
    assert "added: signatures/extra.json" in said
    # The same by a rollout, which the project file tells where the keys are.
    spec = DeploymentSpec(port=0, trusted_keys="trusted")
    home = tmp_path / ".penstock"
    router = target_of(spec, service="adult", home=home, tracking_uri=registry.uri).router
    release = Release(version=1, uri=URI, model=version.model, folder=folder, export=version.export)
    try:
        with router.exclusive():
            router.open()
            with pytest.raises(ServiceError, match=r"of adult is not what key .*added: signatures"):
                router.deploy(release, timeout=300)
    finally:
        stop(home)


@pytest.mark.long
def test_a_version_is_signed_later_and_again_as_keys_rotate(
    registry: Registry,
    keypair: Keys,
    trusted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    registry.registered()
    command = ["sign", URI, "--tracking-uri", registry.uri, "--as", "ann"]
    (old, old_public), (new, new_public) = keypair("old"), keypair("new")
    version = versions.registered(URI, tracking_uri=registry.uri)

    def fetched() -> Path:
        return fetching.fetch(
            versions.registered(URI, tracking_uri=registry.uri),
            into=tmp_path / "models",
            tracking_uri=registry.uri,
        ).folder

    (trusted / "old.pub").write_bytes(old_public.read_bytes())
    assert "version 1 of adult is not signed" in refusal(fetched(), version, trusted, capfd)
    assert main(command) == 1
    assert "PENSTOCK_SIGNING_KEY: no key to sign with is named" in capfd.readouterr().err
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", str(old))
    assert main(command) == 0
    assert f"{URI} is signed by key" in capfd.readouterr().out
    first = key_of(fetched() / signatures.MODEL)
    assert first
    _, checks = verify(URI, tracking_uri=registry.uri, key=old_public)
    assert all(check.good for check in checks)

    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", str(new))
    assert main(command) == 0
    (trusted / "new.pub").write_bytes(new_public.read_bytes())
    (trusted / "old.pub").rename(trusted / "old.withdrawn")
    assert key_of(fetched() / signatures.MODEL) not in ("", first)
    for key, expected in ((old_public, "fails"), (new_public, "holds")):
        _, checks = verify(URI, tracking_uri=registry.uri, key=key)
        found = {check.name: check.verdict for check in checks}
        assert found["signature"] == found["signed for servers"] == expected
    # Whoever takes the signatures away does not make it a version that was never signed.
    for place in registry.folder.glob(f"artifacts/**/{signatures.FOLDER}"):
        shutil.rmtree(place)
    _, checks = verify(URI, tracking_uri=registry.uri, key=new_public)
    assert {check.name: check.verdict for check in checks}["signed for servers"] == "missing"
    assert main(command) == 0, "what was lost is signed again"
    events = [entry.event for entry in audit.read(registry.model_tags()).entries]
    assert events == ["registered", "signed", "signed", "signed"]


def test_a_version_that_people_must_approve_is_refused_until_their_approvals_are_signed(
    registry: Registry,
    keypair: Keys,
    trusted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (old, old_public), (new, new_public) = keypair("old"), keypair("new")
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", str(old))
    (trusted / "old.pub").write_bytes(old_public.read_bytes())
    spec = ApprovalSpec(people=2)
    registry.policy = registry.policy.model_copy(update={"approval": spec})
    registration, _ = registry.registered()

    def here() -> tuple[Path, Any]:
        version = versions.registered(URI, tracking_uri=registry.uri)
        found = fetching.fetch(version, into=tmp_path / "models", tracking_uri=registry.uri)
        return found.folder, version

    def approve(name: str) -> None:
        by = Identity(name=name, means="stated")
        approvals.give(URI, verdict="approved", by=by, reason="Looked.", tracking_uri=registry.uri)

    folder, version = here()
    said = refusal(folder, version, trusted, capfd)
    assert "version 1 of adult needs the approval of 2 by its policy, and has no signed" in said
    approve("ann")
    assert sign_people(URI, spec=spec, tracking_uri=registry.uri) == "", "one is too few"
    approve("ben")
    outcome = wait(registration, spec=spec, tracking_uri=registry.uri, run="r", pause=0.1)
    assert outcome.approved
    for key, name in ((old_public, "old"), (new_public, "new")):
        folder, version = here()
        by = require_vouched(folder, keys=read_keys(trusted), model=version.model, what=URI)
        assert by.people == ("ann", "ben")
        assert by.files == by.decision == f"{version.tags[versions.SIGNED_BY][:16]} ({name}.pub)"
        _, checks = verify(URI, tracking_uri=registry.uri, key=key)
        assert all(check.good for check in checks)
        # The key rotates.
        monkeypatch.setenv("PENSTOCK_SIGNING_KEY", str(new))
        assert main(["sign", URI, "--tracking-uri", registry.uri, "--as", "ann"]) == 0
        (trusted / "new.pub").write_bytes(new_public.read_bytes())
        (trusted / "old.withdrawn").write_bytes(old_public.read_bytes())
    events = [entry.event for entry in audit.read(registry.model_tags()).entries]
    assert events[:4] == ["registered", "approved", "approved", "approvals signed"]


def test_what_does_not_hold_is_not_signed(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    registration, _ = registry.registered()
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", str(write_keypair(tmp_path, "ours")[0]))
    with (registry.pack(registration) / "evaluation.json").open("a") as stream:
        stream.write(" ")
    assert main(["sign", URI, "--tracking-uri", registry.uri, "--as", "ann"]) == 1
    assert "it is not signed, because 1 checks do not hold: evaluation.json" in (
        capfd.readouterr().err
    )
    assert versions.SIGNED_BY not in versions.registered(URI, tracking_uri=registry.uri).tags
