"""Each component in its image, confined, on the example: what one writes feeds the next."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from image_pipeline import Released, refusal
from image_site import hardened

from penstock.components._image import image
from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.model import Model
from penstock.records.quality import Validation
from penstock.records.release import Registration

if TYPE_CHECKING:
    import docker

COMPONENTS = Path(__file__).parents[2] / "components"
FACES = sorted(path.stem for path in COMPONENTS.glob("[a-z]*.py"))

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]


def imports_of(face: str) -> tuple[str, str]:
    """Return the image of a component, and the imports that its body makes."""
    tree = ast.parse((COMPONENTS / f"{face}.py").read_text())
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    lines = [
        ast.unparse(node)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert lines
    base = next(
        keyword.value for keyword in function.decorator_list[-1].keywords
        if keyword.arg == "base_image"
    )  # fmt: skip
    return base.args[0].value, "\n".join(lines)


@pytest.mark.parametrize("face", FACES)
def test_what_a_component_imports_is_in_its_image(engine: docker.DockerClient, face: str) -> None:
    name, lines = imports_of(face)
    confined = hardened(engine, image(name))
    engine.containers.run(
        image(name), ["python", "-W", "error::ImportWarning", "-c", lines], remove=True, **confined
    )


def test_every_step_wrote_its_record(released: Released) -> None:
    tasks = released.tasks
    dataset = Dataset.of(tasks["ingest"] / "dataset")
    assert dataset.rows == 6000
    assert Validation.read(tasks["validate"] / "results").passed
    split = Split.read(tasks["split"] / "proof")
    assert split.train_rows + split.holdout_rows == 6000
    assert (tasks["engineer-features"] / "features" / "features.json").exists()
    decision = Decision.read(tasks["decide"] / "decision")
    assert decision.approved
    registration = Registration.read(tasks["register"] / "registration")
    assert registration.model == decision.model
    assert registration.export
    for task in ("validate", "engineer-features", "train", "evaluate", "decide"):
        assert "</html>" in (tasks[task] / "report").read_text()


def test_a_model_names_the_image_and_the_code_that_trained_it(
    engine: docker.DockerClient, released: Released
) -> None:
    from mlflow import MlflowClient

    labels = engine.images.get(image("train")).labels
    record = Model.read(released.tasks["train"] / "model" / "penstock.json")
    assert record.commit == labels["org.opencontainers.image.revision"]
    registration = Registration.read(released.tasks["register"] / "registration")
    store = MlflowClient(tracking_uri=released.tracking_uri)
    tags = store.get_model_version(registration.name, str(registration.version)).tags
    assert tags["penstock.image"] == image("train")


def test_the_exit_handler_told_how_it_ended(released: Released) -> None:
    told = (released.folder / "ended.jsonl").read_text().splitlines()
    assert len(told) == 1
    assert json.loads(told[0])["state"] == "SUCCEEDED"


def test_fail_fails_with_its_reason(
    engine: docker.DockerClient, released: Released, capfd: pytest.CaptureFixture[str]
) -> None:
    from kfp import local

    root = released.folder / "refusal"
    root.mkdir()
    root.chmod(0o777)
    runner = local.DockerRunner(**hardened(engine, image("data")))
    local.init(runner=runner, pipeline_root=str(root), raise_on_error=False)
    refusal(reason="The gate refused the candidate.")
    assert "NotApprovedError: The gate refused the candidate." in capfd.readouterr().out
    shutil.rmtree(root)
