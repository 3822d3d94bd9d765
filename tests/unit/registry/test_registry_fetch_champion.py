"""The champion as a real registry has it, through the component's face: each state, no crash."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kfp import dsl
from running_process import silent_port

from penstock import model as models
from penstock import tracking
from penstock.components.evaluate import evaluate
from penstock.errors import ServiceError
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.registry.champion import fetch_champion, set_champion
from penstock.registry.versions import MODEL_DIGEST


def crown(uri: str, folder: Path, *, store: Path, digest: str | None = None) -> None:
    """Register a model folder as version 1 of `m` and make it the champion."""
    client = tracking.client(uri)
    experiment = client.create_experiment("e", artifact_location=str(store))
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, str(folder), "model")
    client.create_registered_model("m")
    tags = {MODEL_DIGEST: digest or models.digest_of(folder)} if digest != "" else {}
    client.create_model_version("m", f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)
    client.set_registered_model_alias("m", "champion", "1")


def measured(world, uri: str, out: Path) -> Evaluation:
    """Run the component as Kubeflow does."""
    out.mkdir()
    evaluate.python_func(
        holdout=dsl.Dataset(uri=str(world.holdout)),
        model=dsl.Model(uri=str(world.model)),
        baselines=dsl.Model(uri=str(world.baselines)),
        evaluation=dsl.Artifact(uri=str(out / "evaluation.json")),
        baseline=dsl.Artifact(uri=str(out / "baseline.json")),
        metrics=dsl.Metrics(uri=str(out / "metrics")),
        curves=dsl.ClassificationMetrics(uri=str(out / "curves")),
        report=dsl.HTML(uri=str(out / "report.html")),
        name="m",
        tracking_uri=uri,
    )
    return Evaluation.read(out / "evaluation.json")


def verdict(found: Evaluation) -> str:
    rules = decide(found, policy=Policy()).rules
    return next(rule.verdict for rule in rules if rule.rule == "champion")


def test_a_model_that_was_never_released_has_no_champion(worlds, uri, tmp_path) -> None:
    found = measured(worlds("binary"), uri, tmp_path / "out")
    assert found.champion_state == "none"
    assert verdict(found) == "not applicable"


def test_a_champion_of_the_registry_is_compared(worlds, uri, tmp_path) -> None:
    world = worlds("binary")
    crown(uri, world.champion, store=tmp_path / "store")
    found = measured(world, uri, tmp_path / "out")
    assert (found.champion_state, found.champion) == ("compared", "models:/m/1")
    assert verdict(found) == "pass"


def test_a_champion_of_another_task_is_different(worlds, uri, tmp_path) -> None:
    crown(uri, worlds("regression").champion, store=tmp_path / "store")
    found = measured(worlds("binary"), uri, tmp_path / "out")
    assert (found.champion_state, found.champion) == ("different", "models:/m/1")
    assert verdict(found) == "fail"


@pytest.mark.parametrize(
    ("digest", "lost", "said"),
    [
        (None, True, "is not a model"),
        ("sha256:1", False, "was registered. The artifact was changed"),
        pytest.param("", False, f"has no tag {MODEL_DIGEST}", marks=pytest.mark.long),
    ],
    ids=["lost", "altered", "foreign"],
)
def test_a_champion_whose_files_cannot_be_had_is_unloadable(
    worlds, uri, tmp_path, digest, lost, said
) -> None:
    world = worlds("binary")
    crown(uri, world.champion, store=tmp_path / "store", digest=digest)
    if lost:
        shutil.rmtree(tmp_path / "store")
    found = measured(world, uri, tmp_path / "out")
    assert (found.champion_state, found.champion) == ("unloadable", "models:/m/1")
    assert said in found.champion_note
    assert verdict(found) == "fail"


def test_a_champion_whose_alias_was_taken_away_by_hand_is_gone(worlds, uri, tmp_path) -> None:
    world = worlds("binary")
    crown(uri, world.champion, store=tmp_path / "store")
    client = tracking.client(uri)
    client.delete_registered_model_alias("m", "champion")
    set_champion("m", 1, tracking_uri=uri)
    client.delete_registered_model_alias("m", "champion")
    found = measured(world, uri, tmp_path / "out")
    assert (found.champion_state, found.champion) == ("gone", "models:/m@champion")
    assert "it was removed by hand" in found.champion_note
    assert verdict(found) == "fail"


def test_a_registry_that_does_not_answer_says_nothing_about_the_champion(tmp_path) -> None:
    with silent_port() as port, pytest.raises(ServiceError):
        fetch_champion(
            "m", tracking_uri=f"http://127.0.0.1:{port}", destination=tmp_path / "champion"
        )
    assert not (tmp_path / "champion").exists()
