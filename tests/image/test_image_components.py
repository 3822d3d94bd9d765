"""Each component in its image, confined, on the example: what one writes feeds the next."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gcs_emulator import offered
from image_pipeline import Released, refusal
from image_site import hardened

from penstock.components._image import image
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
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
    given = {keyword.arg: keyword.value for keyword in function.decorator_list[0].keywords}
    return given["runs_in"].value, "\n".join(lines)


@pytest.mark.parametrize("face", FACES)
def test_what_a_component_imports_is_in_its_image(
    request: pytest.FixtureRequest, engine: docker.DockerClient, face: str
) -> None:
    name, lines = imports_of(face)
    if name == "feast":
        request.getfixturevalue("feast")
    confined = hardened(engine, image(name))
    engine.containers.run(
        image(name), ["python", "-W", "error::ImportWarning", "-c", lines], remove=True, **confined
    )


BUCKET = """
from pathlib import Path
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
print(ingest(SourceSpec(uri="gs://bucket/*.csv"), output=Path("/tmp/dataset")).content)
"""


def test_googles_storage_is_read_in_the_image(
    engine: docker.DockerClient, bridge: str, confined: dict[str, Any], tmp_path: Path
) -> None:
    """Without gRPC, by the JSON interface."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    (folder / "1.csv").write_text("a,b\n1,x\n")
    (folder / "2.csv").write_text("a,b\n2,y\n")
    with offered(folder, host=bridge) as environment:
        # Not what the image itself sets.
        del environment["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"]
        said = engine.containers.run(
            image("data"), ["python", "-c", BUCKET], environment=environment, remove=True,
            **confined,
        )  # fmt: skip
    here = ingest(SourceSpec(uri=str(folder)), output=tmp_path / "here")
    assert said.decode().split()[-1] == here.content


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
    assert json.loads(told[0])["state"] == "released"


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
