"""A passport: made of evidence that holds, the same each time, and any changed byte is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.errors import InputError, IntegrityError
from penstock.passport.documents import check_passport, compare_passport, write_passport
from penstock.pipelines.cli import main
from penstock.records.approval import Identity
from penstock.records.passport import Passport
from penstock.registry import approvals
from penstock.registry.spec import CardSpec

Registry = Any
"""The fixture's class lives in conftest.py, which cannot be imported by name."""

URI = "models:/adult/1"


@pytest.fixture
def passport(registry: Registry, tmp_path: Path) -> Path:
    registry.registered()
    write_passport(URI, tracking_uri=registry.uri, folder=tmp_path / "passport")
    return tmp_path / "passport"


def test_every_document_names_the_same_digests(registry: Registry, passport: Path) -> None:
    found = Passport.read(passport / "passport.json")
    evidence = json.loads(next(registry.folder.glob("artifacts/**/manifest.json")).read_text())
    assert found.model == evidence["model"]
    assert found.named["holdout"] == evidence["holdout"]
    for name in found.files:
        text = (passport / name).read_text()
        assert all(digest in text for digest in found.named.values()), name
    # The store of these tests keeps no record of the training part: nothing is made up of it.
    assert "croissant.json" not in found.files
    assert "of which no record was kept" in (passport / "technical-documentation.md").read_text()


def test_it_is_the_same_each_time_and_any_changed_byte_is_found(
    registry: Registry, passport: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    write_passport(URI, tracking_uri=registry.uri, folder=again)
    for path in passport.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()
    compare_passport(again, uri=URI, tracking_uri=registry.uri)
    for path in sorted(passport.iterdir()):
        whole = path.read_bytes()
        place = len(whole) // 2
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises((IntegrityError, InputError)):
            compare_passport(passport, uri=URI, tracking_uri=registry.uri)
        path.write_bytes(whole)
    (passport / "more.txt").write_text("more")
    with pytest.raises(IntegrityError, match="the passport says none"):
        check_passport(passport)


def test_a_folder_without_a_passport_is_a_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="there is no passport"):
            check_passport(folder)


def test_documents_that_were_forged_with_their_digests_are_found_by_the_evidence(
    registry: Registry, passport: Path
) -> None:
    from penstock.common import files

    page = passport / "README.md"
    page.write_text(page.read_text().replace("value: 0.1", "value: 0.9"))
    record = Passport.read(passport / "passport.json")
    forged = {**record.files, "README.md": files.digest_of_file(page)}
    record.model_copy(update={"files": forged}).write(passport / "passport.json")
    check_passport(passport)
    with pytest.raises(IntegrityError, match=r"the evidence gives another README\.md now"):
        compare_passport(passport, uri=URI, tracking_uri=registry.uri)


def test_the_evidence_is_fetched_once(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was verified is what the passport is made from: of two downloads it might not be."""
    from mlflow import MlflowClient

    registry.registered()
    fetched: list[str] = []
    download = MlflowClient.download_artifacts

    def counting(self: MlflowClient, run_id: str, path: str, dst_path: str | None = None) -> str:
        fetched.append(path)
        return str(download(self, run_id, path, dst_path))

    monkeypatch.setattr(MlflowClient, "download_artifacts", counting)
    write_passport(URI, tracking_uri=registry.uri, folder=tmp_path / "passport")
    (pack,) = fetched
    assert pack.startswith("evidence/")
    compare_passport(tmp_path / "passport", uri=URI, tracking_uri=registry.uri)
    assert fetched == [pack, pack]


def test_none_is_made_of_evidence_that_does_not_hold(registry: Registry, tmp_path: Path) -> None:
    registration, _ = registry.registered()
    with (registry.pack(registration) / "evaluation.json").open("a") as stream:
        stream.write(" ")
    with pytest.raises(
        IntegrityError, match=r"no passport is made of it: evaluation\.json \(fails"
    ):
        write_passport(URI, tracking_uri=registry.uri, folder=tmp_path / "passport")
    assert not (tmp_path / "passport").exists()
    assert not list(tmp_path.glob(".passport*"))


@pytest.mark.long
def test_an_approval_that_came_later_is_said(registry: Registry, passport: Path) -> None:
    approvals.give(
        URI,
        verdict="approved",
        by=Identity(name="ann", means="stated"),
        reason="The slices look right.",
        tracking_uri=registry.uri,
    )
    with pytest.raises(IntegrityError, match="approvals, rollouts or servings came since"):
        compare_passport(passport, uri=URI, tracking_uri=registry.uri)
    shutil.rmtree(passport)
    write_passport(URI, tracking_uri=registry.uri, folder=passport)
    assert "approved by ann" in (passport / "technical-documentation.md").read_text()


def test_what_the_owner_states_is_in_it(registry: Registry, tmp_path: Path) -> None:
    stated = CardSpec(
        intended_use="To rank applications: for clerks.",
        license="Apache-2.0",
        owner="Credit | team",
        ethics="It may cost people a loan.",
        limits=("Not for companies.",),
    )
    registry.register(*registry.decided(), card=stated)
    folder = tmp_path / "passport"
    write_passport(URI, tracking_uri=registry.uri, folder=folder)
    front = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert front["license"] == "apache-2.0"
    bill = json.loads((folder / "bom.cdx.json").read_text())["metadata"]["component"]
    assert bill["supplier"] == {"name": "Credit | team"}
    assert bill["modelCard"]["considerations"]["useCases"] == [stated.intended_use]
    text = (folder / "technical-documentation.md").read_text()
    assert r"Provider: Credit \| team" in text
    assert "It may cost people a loan." in text


def test_the_command_writes_signs_and_checks(
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    keypair: Any,
) -> None:
    private, public = keypair("ours")
    _, others = keypair("theirs")
    registry.registered()
    folder, store = str(tmp_path / "passport"), ["--tracking-uri", registry.uri]
    monkeypatch.setenv("PENSTOCK_SIGNING_KEY", str(private))
    assert main(["passport", URI, *store, "-o", folder]) == 0
    assert main(["passport", URI, *store, "-o", folder]) == 1
    assert "it is there already" in capsys.readouterr().err
    assert main(["passport", URI, *store, "--check", folder, "--key", str(public)]) == 0
    assert f"signed by the holder of {public}" in capsys.readouterr().out
    assert main(["passport", "--check", folder, "--alone", "--key", str(others)]) == 1
    (tmp_path / "passport" / "passport.sig").unlink()
    assert main(["passport", "--check", folder, "--alone"]) == 0
    assert main(["passport", "--check", folder, "--alone", "--key", str(public)]) == 1
    assert "it is not signed" in capsys.readouterr().err
    assert main(["passport", URI, "-o", folder, "--alone"]) == 2
