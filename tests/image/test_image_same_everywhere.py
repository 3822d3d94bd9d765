"""One project file, by `penstock run`, in the images, and as it arrives at Kubeflow: one outcome.

Each way has a store and a cluster of its own, so that each is a first release. What may differ: a
model's folder names its MLflow run, which is each way's own, so digests of the folder and of what
names it (evaluation, decision) differ; the fitted model is compared by its ONNX form. An image has
the C library of its base, whose exponential may differ from this machine's in the last digit: there
figures are equal to 1e-9, not to the bit.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from image_pipeline import Released

from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.evaluation import Evaluation, Scores
from penstock.records.model import Model
from penstock.records.quality import Validation
from penstock.records.release import Deployment
from penstock.records.rollout import Rollout

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]

STEPS = {
    "ingest", "validate", "split", "engineer-features", "train", "evaluate", "decide", "register",
    "deploy", "notify",
}  # fmt: skip


@pytest.fixture(params=["images", "submitted"])
def other(request: pytest.FixtureRequest) -> Released:
    """One of the ways that are compared with `penstock run`."""
    return request.getfixturevalue({"images": "released"}.get(request.param, request.param))


def close(request: pytest.FixtureRequest) -> float:
    """Return by how much a figure may differ."""
    return 1e-9 if request.node.callspec.params["other"] == "images" else 0.0


def test_it_was_the_same_file(run_here: Released, other: Released, project_file: Path) -> None:
    for released in (run_here, other):
        assert (released.folder / "project.yaml").read_bytes() == project_file.read_bytes()


def test_what_arrived_is_what_is_compiled(submitted: Released) -> None:
    arrived, compiled = (
        list(yaml.safe_load_all((submitted.folder / name).read_text()))
        for name in ("arrived.yaml", "release.yaml")
    )
    assert arrived == compiled
    images = {
        part["container"]["image"].partition(":")[0]
        for part in arrived[0]["deploymentSpec"]["executors"].values()
    }
    assert images == {"penstock/data", "penstock/train", "penstock/deploy"}


def test_every_way_ran_the_same_steps_to_the_end(run_here: Released, other: Released) -> None:
    for released in (run_here, other):
        # No `fail`: no gate refused, and none was skipped.
        assert released.tasks.keys() == STEPS
        assert (released.champion, released.answering) == (1, "1")
        record = Rollout.read(released.tasks["deploy"] / "rollout")
        assert (record.router, record.outcome) == ("kserve-gateway", "promoted")
        deployment = Deployment.read(released.tasks["deploy"] / "deployment")
        assert deployment.model == Decision.read(released.tasks["decide"] / "decision").model


def test_the_data_are_the_same(run_here: Released, other: Released) -> None:
    for place in ("ingest/dataset", "split/train", "split/holdout"):
        mine, theirs = (
            Dataset.read(_task(released, place) / "dataset.json") for released in (run_here, other)
        )
        assert mine.content == theirs.content
        assert mine.columns == theirs.columns
    mine, theirs = (Split.read(_task(r, "split/proof")) for r in (run_here, other))
    assert mine == theirs
    mine, theirs = (Validation.read(_task(r, "validate/results")) for r in (run_here, other))
    assert mine == theirs


def test_the_model_is_the_same(run_here: Released, other: Released) -> None:
    mine, theirs = (_model(released) for released in (run_here, other))
    assert mine == theirs
    assert run_here.export.file == other.export.file


def test_the_metrics_are_the_same(
    run_here: Released, other: Released, request: pytest.FixtureRequest
) -> None:
    tolerance = close(request)
    mine, theirs = (Evaluation.read(_task(r, "evaluate/evaluation")) for r in (run_here, other))
    assert [scores.name for scores in mine.scores] == ["candidate", "majority", "linear"]
    for one, two in zip(mine.scores, theirs.scores, strict=True):
        assert one.name == two.name
        assert _figures(one) == pytest.approx(_figures(two), abs=tolerance, rel=0)
    for ours, others in zip(mine.comparisons, theirs.comparisons, strict=True):
        assert (ours.against, ours.metric) == (others.against, others.metric)
        assert ours.advantage.model_dump() == pytest.approx(
            others.advantage.model_dump(), abs=tolerance, rel=0
        )
    assert (mine.dataset, mine.rows) == (theirs.dataset, theirs.rows)


def test_the_decision_is_the_same(
    run_here: Released, other: Released, request: pytest.FixtureRequest
) -> None:
    tolerance = close(request)
    mine, theirs = (Decision.read(_task(r, "decide/decision")) for r in (run_here, other))
    assert mine.approved
    assert (mine.approved, mine.dataset, mine.policy) == (
        theirs.approved, theirs.dataset, theirs.policy,
    )  # fmt: skip
    assert any(rule.verdict == "pass" for rule in mine.rules)
    for one, two in zip(mine.rules, theirs.rules, strict=True):
        assert (one.rule, one.severity, one.verdict, one.bound, one.sentence) == (
            two.rule, two.severity, two.verdict, two.bound, two.sentence,
        )  # fmt: skip
        assert (one.value is None) == (two.value is None)
        if one.value is not None and two.value is not None:
            assert math.isclose(one.value, two.value, rel_tol=0, abs_tol=tolerance)


def _task(released: Released, place: str) -> Path:
    task, _, output = place.partition("/")
    return released.tasks[task] / output


def _model(released: Released) -> dict[str, Any]:
    """Return what is known of the model, but for who trained it: run, commit and Python's patch."""
    record = Model.read(released.tasks["train"] / "model" / "penstock.json").payload()
    libraries = {name: version for name, version in record["libraries"].items() if name != "python"}
    return record | {"mlflow_run": "", "commit": "", "libraries": libraries}


def _figures(scores: Scores) -> dict[str, float]:
    return {
        f"{metric} {name}": value
        for metric, estimate in scores.metrics.items()
        for name, value in estimate.model_dump().items()
    }
