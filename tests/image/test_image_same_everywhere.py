"""One project file, by `penstock run`, in the images, and as it arrives at Kubeflow: one outcome.

Each way has a store and a cluster of its own, so that each is a first release. Data, figures and
verdicts are equal to the last bit. Only where an image's C library is not this machine's, whose
exponential may round otherwise, figures are compared to 1e-9: the wheels are the same, by hash.

What differs is who trained: a model's folder names its MLflow run, the commit and Python's patch
release, and so do the digests of the folder and of the records that name it. The fitted model
itself is compared by its ONNX form.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from image_pipeline import Released

from penstock.components._image import image
from penstock.gate.evaluation import Evaluation
from penstock.records.baseline import Baseline
from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.model import Model
from penstock.records.quality import Validation
from penstock.records.release import Deployment
from penstock.records.rollout import Rollout

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]

STEPS = {
    "ingest", "validate", "split", "engineer-features", "train", "evaluate", "probe-serving",
    "decide", "explain", "register", "approve", "deploy", "notify",
}  # fmt: skip


@pytest.fixture(params=["images", "submitted"])
def other(request: pytest.FixtureRequest) -> Released:
    """One of the ways that are compared with `penstock run`."""
    return request.getfixturevalue({"images": "released"}.get(request.param, request.param))


@pytest.fixture
def tolerance(request: pytest.FixtureRequest) -> float:
    """By how much a figure may differ from that of `penstock run`."""
    if request.node.callspec.params["other"] == "submitted":
        return 0.0
    engine = request.getfixturevalue("engine")
    look = ["python", "-c", "import platform; print(platform.libc_ver())"]
    said = engine.containers.run(image("train"), look, remove=True).decode().strip()
    return 0.0 if said == str(platform.libc_ver()) else 1e-9


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
        mine, theirs = (Dataset.of(_task(released, place)) for released in (run_here, other))
        assert mine.content == theirs.content
        assert mine.columns == theirs.columns
    mine, theirs = (Split.read(_task(r, "split/proof")) for r in (run_here, other))
    assert mine == theirs
    mine, theirs = (Validation.read(_task(r, "validate/results")) for r in (run_here, other))
    assert mine == theirs


def test_the_model_is_the_same(run_here: Released, other: Released, tolerance: float) -> None:
    agree(_model(run_here), _model(other), tolerance=tolerance)
    if not tolerance:
        assert run_here.export.file == other.export.file


def test_the_metrics_are_the_same(run_here: Released, other: Released, tolerance: float) -> None:
    mine, theirs = (_evaluation(released) for released in (run_here, other))
    assert {scores["name"] for scores in mine["scores"]} == {"candidate", "majority", "linear"}
    assert all(scores["metrics"] for scores in mine["scores"])
    agree(mine, theirs, tolerance=tolerance)


def test_what_the_monitor_is_given_is_the_same(
    run_here: Released, other: Released, tolerance: float
) -> None:
    mine, theirs = (
        Baseline.read(_task(released, "evaluate/baseline")).payload() | {"model": ""}
        for released in (run_here, other)
    )
    agree(mine, theirs, tolerance=tolerance)


def test_the_decision_is_the_same(run_here: Released, other: Released, tolerance: float) -> None:
    mine, theirs = (Decision.read(_task(r, "decide/decision")) for r in (run_here, other))
    assert mine.approved
    assert theirs.approved
    assert any(rule.verdict == "pass" and rule.value is not None for rule in mine.rules)
    assert (mine.dataset, mine.policy) == (theirs.dataset, theirs.policy)
    ours, others = ([rule.model_dump() for rule in made.rules] for made in (mine, theirs))
    agree(ours, others, tolerance=tolerance)


def agree(mine: Any, theirs: Any, *, tolerance: float) -> None:
    """Assert that all leaves are equal, floats to the tolerance."""
    assert dict(_leaves(mine)) == pytest.approx(dict(_leaves(theirs)), abs=tolerance)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list | tuple):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for name, part in parts:
            yield from _leaves(part, f"{path}/{name}")
    else:
        yield path, value


def _task(released: Released, place: str) -> Path:
    task, _, output = place.partition("/")
    return released.tasks[task] / output


def _model(released: Released) -> dict[str, Any]:
    """Return what is known of the model, but for who trained it: run, commit and Python's patch."""
    record = Model.read(released.tasks["train"] / "model" / "penstock.json").payload()
    libraries = {name: version for name, version in record["libraries"].items() if name != "python"}
    return record | {"mlflow_run": "", "commit": "", "libraries": libraries}


def _evaluation(released: Released) -> dict[str, Any]:
    """Return what was measured, but for the digests of models, which the baseline names too."""
    record = Evaluation.read(_task(released, "evaluate/evaluation")).payload()
    scores = [{**each, "model": ""} for each in record["scores"]]
    return record | {"model": "", "commit": "", "baseline": "", "scores": scores}
