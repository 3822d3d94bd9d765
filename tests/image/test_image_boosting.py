"""A release whose steps of `train` run in the image that has XGBoost and LightGBM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from image_pipeline import by_compiled
from image_site import hardened, site_at

from penstock.model import load
from penstock.records.decision import Decision

if TYPE_CHECKING:
    from pathlib import Path

    import docker

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]

TRAINING = {
    "trials": 3,
    "folds": 2,
    "candidates": ["xgboost", "lightgbm"],
    "early_stopping": {"most_trees": 60, "patience": 10},
    # So the linear model, which the simulated rows suit best, cannot win.
    "monotonic": {"amount": "increasing"},
    # A mean of F1 scores asks for so sure a score that the gate refuses the model of so few frauds:
    # it finds 2 of the 24 held out, and with this one more than half.
    "threshold": 0.05,
}


def test_a_boosted_version_is_released_by_its_image(
    engine: docker.DockerClient,
    bridge: str,
    project_file: Path,
    boosting: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with site_at(tmp_path_factory.mktemp("boosting"), engine=engine, host=bridge) as site:
        confined = hardened(engine, boosting)
        done = by_compiled(
            project_file, site=site, confined=confined, train=boosting, training=TRAINING
        )
    trained = load(done.tasks["train"] / "model").record
    assert trained.name in ("xgboost", "lightgbm")
    assert any(library.startswith(trained.name) for library in trained.libraries)
    report = (done.tasks["train"] / "report").read_text()
    assert "XGBoost" in report
    assert "LightGBM" in report
    decided = Decision.read(done.tasks["decide"] / "decision")
    assert {rule.rule: rule.verdict for rule in decided.rules}["classes: recall"] == "pass"
    # Evaluated, registered and served by images of which none but this has the libraries.
    assert (done.champion, done.answering) == (1, "1")
    assert done.export.file
    assert done.export.max_difference == 0
