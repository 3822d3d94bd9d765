"""An image that a real registry holds is run by the digest that the registry gave it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from image_push import pushed
from image_site import hardened
from needs import program
from running_process import LOOPBACK, RunningProcess, answers, free_port

import penstock
from penstock.components._image import image

if TYPE_CHECKING:
    import docker

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]

WHO = "import os, penstock; print(penstock.__version__, os.environ['PENSTOCK_IMAGE'], os.getuid())"

CONFIGURATION = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{address}"}}
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of an empty registry on this machine, where the engine asks for no TLS."""
    server = program("docker-registry", package="docker-registry")
    address = f"{LOOPBACK}:{free_port()}"
    configured = tmp_path / "registry.yaml"
    configured.write_text(CONFIGURATION.format(folder=tmp_path / "registry", address=address))
    with RunningProcess([server, "serve", configured], log=tmp_path / "log") as running:
        running.wait_until(lambda: answers(f"http://{address}/v2/"), seconds=60)
        yield address
    shutil.rmtree(tmp_path / "registry")


def test_it_is_pulled_and_run_by_its_digest(
    engine: docker.DockerClient,
    registry: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reference = pushed("deploy", registry=registry)
    # So that it is known by nothing but its digest, and that by the registry.
    engine.images.remove(f"{registry}/deploy:{penstock.__version__}")
    assert not engine.images.list(reference)
    digests = tmp_path / "digests.json"
    digests.write_text(
        json.dumps({"version": penstock.__version__, "images": {"deploy": reference}})
    )
    monkeypatch.delenv("PENSTOCK_IMAGE_PREFIX", raising=False)
    monkeypatch.setenv("PENSTOCK_IMAGE_DIGESTS", str(digests))
    assert image("deploy") == reference
    try:
        found = engine.images.pull(reference)
        assert reference in found.attrs["RepoDigests"]
        confined = hardened(engine, reference)
        said = engine.containers.run(reference, ["python", "-c", WHO], remove=True, **confined)
    finally:
        engine.images.remove(reference)
    version, own, user = said.decode().split()
    assert (version, own) == (penstock.__version__, f"penstock/deploy:{version}")
    assert confined["user"] == f"{user}:0"
