"""Every face keeps the contract: thin, documented, prebuilt image, one plain output at most."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml
from kfp import compiler

import penstock

ROOT = Path(__file__).parents[2]
FACES = sorted(path.stem for path in (ROOT / "components").glob("[a-z]*.py"))


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest, tmp_path: Path) -> dict:
    component = getattr(
        importlib.import_module(f"penstock.components.{request.param}"), request.param
    )
    compiler.Compiler().compile(component, str(tmp_path / "c.yaml"))
    text = (tmp_path / "c.yaml").read_text()
    spec = yaml.safe_load(text)
    inner = spec["components"][f"comp-{request.param.replace('_', '-')}"]
    container = next(iter(spec["deploymentSpec"]["executors"].values()))["container"]
    return {
        "name": request.param,
        "text": text,
        "spec": inner,
        "container": container,
        "source": (ROOT / "components" / f"{request.param}.py").read_text(),
        "doc": component.python_func.__doc__,
    }


def test_it_installs_nothing(face: dict) -> None:
    assert "pip install" not in face["text"]
    assert ":latest" not in face["text"]


def test_its_image_is_ours_at_this_version(face: dict) -> None:
    assert face["container"]["image"].startswith("penstock/")
    assert face["container"]["image"].endswith(f":{penstock.__version__}")


def test_it_returns_at_most_one_plain_value(face: dict) -> None:
    parameters = face["spec"].get("outputDefinitions", {}).get("parameters", {})
    assert list(parameters) in ([], ["Output"])


def test_every_argument_is_explained(face: dict) -> None:
    arguments = face["doc"].split("Args:")[1].split("Fails when:")[0]
    inputs = face["spec"].get("inputDefinitions", {})
    outputs = face["spec"].get("outputDefinitions", {})
    names = [
        *inputs.get("parameters", {}),
        *inputs.get("artifacts", {}),
        *outputs.get("artifacts", {}),
    ]
    for name in names:
        assert f"{name}: " in arguments
    assert "Fails when:" in face["doc"]


def test_it_is_thin_and_ascii(face: dict) -> None:
    assert len(face["source"].splitlines()) <= 92
    assert face["source"].isascii()


def test_the_image_can_come_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock.components._image import image

    monkeypatch.setenv("PENSTOCK_IMAGE_PREFIX", "registry.internal/ml/")
    assert image("data") == f"registry.internal/ml/data:{penstock.__version__}"
    monkeypatch.setenv("PENSTOCK_IMAGE_DATA", "elsewhere/data@sha256:0")
    assert image("data") == "elsewhere/data@sha256:0"
