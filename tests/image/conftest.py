"""A container engine, the images, an MLflow server that containers reach, and a release in them."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from image_pipeline import Released, hardened, release

from penstock.components._image import Image, image

if TYPE_CHECKING:
    import docker

ROOT = Path(__file__).parents[2]
IMAGES: tuple[Image, ...] = ("data", "train", "deploy", "serving")


LIBRARY = """
import hashlib, pathlib, penstock
root = pathlib.Path(penstock.__file__).parent
found = sorted((p.relative_to(root).as_posix(), p.read_bytes()) for p in root.rglob("*.py"))
print(hashlib.sha256(repr(found).encode()).hexdigest())
"""


def _library() -> str:
    """Return what `LIBRARY` prints where this checkout is installed."""
    folders = {"": ROOT / "penstock", "components/": ROOT / "components"}
    folders["pipelines/"] = ROOT / "pipelines"
    found = sorted(
        (prefix + path.relative_to(folder).as_posix(), path.read_bytes())
        for prefix, folder in folders.items()
        for path in folder.rglob("*.py")
    )
    return hashlib.sha256(repr(found).encode()).hexdigest()


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A container engine that answers and holds the images; else a skip that the summary shouts."""
    import docker

    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"no container engine answers: {error}")
    for name in IMAGES:
        try:
            client.images.get(image(name))
        except docker.errors.ImageNotFound:
            pytest.skip(f"{image(name)} is not built: run `make images`")
        held = client.containers.run(image(name), ["-c", LIBRARY], entrypoint="python", remove=True)
        if held.decode().strip() != _library():
            pytest.skip(f"{image(name)} holds other code than this checkout: run `make images`")
    yield client
    client.close()


@pytest.fixture(scope="session")
def bridge(engine: docker.DockerClient) -> str:
    """This machine's address as containers see it."""
    if not sys.platform.startswith("linux"):
        pytest.skip("containers reach this machine by the bridge's address, which Linux alone has")
    return str(engine.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"])


@pytest.fixture(scope="session")
def mlflow_uri(bridge: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server, on the bridge's address alone."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as listener:
        listener.bind((bridge, 0))
        port = listener.getsockname()[1]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [
                Path(sys.executable).with_name("mlflow"), "server", "--workers", "1",
                "--host", bridge, "--port", str(port),
                "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
                "--artifacts-destination", str(folder / "artifacts"),
            ],
            # Six processes that nothing here has work for.
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            cwd=folder, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _wait_for(f"http://{bridge}:{port}/health", server, folder / "log")
        yield f"http://{bridge}:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    import httpx

    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"MLflow does not answer at {url}: {log.read_text()}")


@pytest.fixture(scope="session")
def released(
    engine: docker.DockerClient, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Released:
    """The example, from its table to a registered version, each step in its own image."""
    from kfp import local

    # Containers see this folder alone, at the same path.
    root = tmp_path_factory.mktemp("in-images")
    runner = local.DockerRunner(**hardened(engine, image("train")))
    return release(root, runner=runner, tracking_uri=mlflow_uri)


@pytest.fixture(scope="session")
def locks() -> Path:
    """Where the images' locks are."""
    return ROOT / "images" / "locks"
