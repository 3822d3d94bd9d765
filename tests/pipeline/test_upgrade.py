"""What a commit of 22 November 2026 wrote is read by the Penstock of today.

`tests/recorded/upgrade/release-2026-11-22.zip` is a project after a release by commit da7b6dea,
made in its own environment: `penstock init loans.csv --target defaulted` on `documented.table`,
then `penstock run`. Of MLflow it has the files of the version, and the tags.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from documented import ROOT, table
from fresh_store import fresh_store
from mlflow.entities import LoggedModelStatus

from penstock import project, tracking
from penstock.errors import FormerNameWarning
from penstock.gate.policy import Policy
from penstock.model import digest_of
from penstock.pipelines.cli import main
from penstock.records.decision import Decision
from penstock.records.rollout import Rollout
from penstock.registry import versions
from penstock.registry.admission import require_return
from penstock.registry.champion import checked_champion

# Settings that have another name now are read, and named.
pytestmark = pytest.mark.filterwarnings("ignore::penstock.errors.FormerNameWarning")

RECORDED = ROOT / "tests/recorded/upgrade/release-2026-11-22.zip"
THERE = "/tmp/st22"
"""Where the project was when it was recorded; its state names folders of it."""
URI = "models:/loans/1"


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project's folder, with the registry and the state that the release left."""
    folder = tmp_path_factory.mktemp("upgraded")
    with zipfile.ZipFile(RECORDED) as recorded:
        recorded.extractall(folder)
    home = folder / ".penstock"
    home.mkdir()
    shutil.move(folder / "serving", home / "serving")
    for path in (home / "serving").rglob("*.json*"):
        path.write_text(path.read_text().replace(THERE, str(folder)))
    known = json.loads((folder / "registry.json").read_text())
    served = known["version"][versions.MODEL_DIGEST].removeprefix("sha256:")[:12]
    shutil.copytree(folder / "model", home / f"serving/loans/models/1-{served}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MLFLOW_TRACKING_URI", "PENSTOCK_HOME"):
            patch.delenv(name, raising=False)
        register(known, store=fresh_store(home), folder=folder)
        yield folder


def register(known: dict, *, store: str, folder: Path) -> None:
    """Put the version into a store, with the tags and the alias that it had."""
    client = tracking.client(store)
    artifacts = (folder / ".penstock/artifacts").as_uri()
    experiment = client.create_experiment("loans", artifact_location=artifacts)
    run = client.create_run(experiment, tags=known["run"]).info.run_id
    client.log_artifacts(run, str(folder / "run"))
    logged = client.create_logged_model(experiment, name="loans", source_run_id=run)
    client.log_model_artifacts(logged.model_id, str(folder / "model"))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    client.create_registered_model("loans", tags=known["tags"])
    client.create_model_version(
        "loans", source=f"models:/{logged.model_id}", run_id=run, tags=known["version"]
    )
    client.set_registered_model_alias("loans", "champion", "1")


def test_its_version_is_verified(upgraded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["verify", URI, "--project", "project.yaml"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert f"{URI}: all " in said


def test_its_audit_log_is_read(upgraded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "project.yaml"]) == 0
    said = capsys.readouterr().out
    assert [
        word for word in ("registered", "promoted", "rollout recorded") if word not in said
    ] == []
    assert f"Champion: {URI}" in said


def test_its_state_and_its_journal_are_read(
    upgraded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "project.yaml"]) in (0, 1)
    said = capsys.readouterr().out
    assert "loans" in said
    assert "Version 1 of loans was promoted" in said


def test_its_records_and_its_policy_are_what_they_were(upgraded: Path) -> None:
    known = json.loads((upgraded / "registry.json").read_text())["version"]
    (pack,) = (upgraded / "run/evidence").glob("*/decision.json")
    decision = Decision.read(pack)
    assert decision.digest() == known[versions.DECISION_DIGEST]
    assert digest_of(upgraded / "model") == decision.model
    recorded = json.loads((pack.parent / "policy.json").read_text())
    policy = Policy.model_validate(recorded)
    assert policy.champion is not None
    assert policy.champion.margin == recorded["champion"]["margin"]
    (ended,) = (upgraded / "run/evidence").glob("*.rollouts/*/rollout.json")
    assert Rollout.read(ended).outcome == "promoted"


def test_its_version_is_the_champion_and_may_serve_again(upgraded: Path) -> None:
    store = f"sqlite:///{upgraded}/.penstock/mlflow.db"
    found = checked_champion("loans", tracking_uri=store)
    assert found.version
    assert (found.version.uri, found.note) == (URI, "")
    assert require_return("loans", 1, tracking_uri=store) == found.version


def test_its_project_file_is_taken(upgraded: Path) -> None:
    with pytest.warns(FormerNameWarning, match="poisoned_at_most is called flipped_labels_at_most"):
        found = project.load(upgraded / "project.yaml")
    assert found.name == "loans"


@pytest.mark.slow
@pytest.mark.long
def test_a_release_of_today_says_that_it_cannot_load_that_model(upgraded: Path, shell) -> None:
    """Its steps had other names: the changelog says so, and nothing is replaced unseen."""
    (upgraded / "loans.csv").write_text(table(2_200))
    done = shell("run", str(upgraded / "project.yaml"), "--set", "training.seed=5", timeout=900)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "It was not possible to load the champion models:/loans/1" in done.stdout
    assert "If an older release made it, train it again." in done.stdout
    # What it says to do leads to a version and its canary.
    seen = [f"gate.{rule}.severity=warn" for rule in ("champion", "classes")]
    assert all(setting.partition(".severity")[0] in done.stdout for setting in seen)
    given = [word for setting in seen for word in ("--set", setting)]
    path = str(upgraded / "project.yaml")
    try:
        done = shell("run", path, "--set", "training.seed=5", *given, timeout=900)
        assert "Registered    models:/loans/2" in done.stdout, done.stdout + done.stderr
    finally:
        shell("stop", path)
