"""Where a component's image is said to be: environment, digest file, version, in that order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import penstock
from penstock.components._image import image
from penstock.errors import InputError

ROOT = Path(__file__).parents[2]
DIGEST = "registry.internal/ml/data@sha256:" + "a" * 64


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFIX", "DIGESTS", "DATA"):
        monkeypatch.delenv(f"PENSTOCK_IMAGE_{name}", raising=False)


@pytest.fixture
def digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`digests(content)` writes a digest file and names it."""

    def write(content: object) -> Path:
        path = tmp_path / "digests.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        monkeypatch.setenv("PENSTOCK_IMAGE_DIGESTS", str(path))
        return path

    return write


def test_the_nearest_word_wins(
    digests: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    digests({"version": penstock.__version__, "images": {"data": DIGEST}})
    assert image("data") == DIGEST
    monkeypatch.setenv("PENSTOCK_IMAGE_PREFIX", "elsewhere/ml/")
    assert image("data") == f"elsewhere/ml/data:{penstock.__version__}"
    monkeypatch.setenv("PENSTOCK_IMAGE_DATA", "one/data@sha256:0")
    assert image("data") == "one/data@sha256:0"


def test_a_task_knows_the_digest_of_its_image(tmp_path: Path) -> None:
    project = tmp_path / "project.yaml"
    project.write_text("name: m\ntarget: y\nsource: {uri: s3://bucket/table.parquet}\n")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "penstock"), "compile", str(project), "-o", "out.yaml"],
        cwd=tmp_path,
        env=os.environ | {"PENSTOCK_IMAGE_TRAIN": DIGEST, "PENSTOCK_IMAGE_PREFIX": "penstock"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    spec = next(yaml.safe_load_all((tmp_path / "out.yaml").read_text()))
    told = {
        name: {e["name"]: e["value"] for e in each["container"].get("env", [])}
        for name, each in spec["deploymentSpec"]["executors"].items()
    }
    assert told["exec-decide"] == {"PENSTOCK_IMAGE": DIGEST}
    # A tag is what the image says of itself anyway.
    assert "PENSTOCK_IMAGE" not in told["exec-ingest"]


def test_digests_of_another_version_are_refused(digests: Callable[..., Path]) -> None:
    path = digests({"version": "0.0.9", "images": {"data": DIGEST}})
    with pytest.raises(InputError, match=r"is of Penstock 0.0.9, this is") as refused:
        image("data")
    assert refused.value.where == str(path)


@pytest.mark.parametrize(
    "content", ["not json", [], {"version": penstock.__version__}, {"images": {"data": DIGEST}}]
)
def test_a_digest_file_that_cannot_be_read_is_named(
    digests: Callable[..., Path], content: object
) -> None:
    path = digests(content)
    with pytest.raises(InputError, match="cannot be read") as refused:
        image("data")
    assert refused.value.where == str(path)


def test_a_digest_file_that_is_named_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_IMAGE_DIGESTS", str(tmp_path / "none.json"))
    with pytest.raises(InputError, match="cannot be read"):
        image("data")


def faces_of(name: str) -> set[str]:
    faces = (ROOT / "components").glob("[a-z]*.py")
    return {face.stem for face in faces if f'runs_in="{name}"' in face.read_text()}


@pytest.mark.parametrize("name", ["data", "train", "deploy", "monitor", "score", "feast"])
def test_an_image_is_described_by_the_components_that_run_in_it(name: str) -> None:
    every = {face.stem for face in (ROOT / "components").glob("[a-z]*.py")}
    stage = (ROOT / "images" / "Dockerfile").read_text().split(f"AS {name}\n")[1]
    label = re.search(r'image.description="(.*)"', stage)
    row = re.search(rf"^\| `{name}`.*? \| (.*?) \|", (ROOT / "docs/images.md").read_text(), re.M)
    assert label
    assert row
    for said in (label[1], row[1]):
        assert set(re.findall(r"\w+", said)) & every == faces_of(name)
