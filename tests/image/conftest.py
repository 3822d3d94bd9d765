"""A container engine, the images, and a release in them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from image_pipeline import Released, by_images, by_run, by_submission, write_project
from image_site import Site, hardened, offered, site_at

from penstock.components._image import Image, image

if TYPE_CHECKING:
    import docker

ROOT = Path(__file__).parents[2]
IMAGES: tuple[Image, ...] = ("data", "train", "deploy", "serving", "monitor", "score")


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


def _require(client: docker.DockerClient, name: str, *, made_by: str) -> None:
    """Skip unless an image is there and holds this checkout's code."""
    import docker

    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        pytest.skip(f"{name} is not built: run `{made_by}`")
    held = client.containers.run(name, ["-c", LIBRARY], entrypoint="python", remove=True)
    if held.decode().strip() != _library():
        pytest.skip(f"{name} holds other code than this checkout: run `{made_by}`")


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A container engine that answers and holds the images; else a skip that the summary shouts."""
    import docker

    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"no container engine answers, start one: {error}")
    for name in IMAGES:
        _require(client, image(name), made_by="make images")
    mlflow = image("data").replace("/data:", "/mlflow:")
    if not client.images.list(mlflow):
        pytest.skip(f"{mlflow} is not built: run `make images`")
    yield client
    client.close()


@pytest.fixture(scope="session")
def boosting(engine: docker.DockerClient) -> str:
    """The image of `train` that has XGBoost and LightGBM; `make images` does not build it."""
    name = image("train").replace("/train:", "/train-boosting:")
    _require(engine, name, made_by="make image-train-boosting")
    return name


@pytest.fixture(scope="session")
def feast(engine: docker.DockerClient) -> str:
    """The image that has Feast; `make images` does not build it."""
    name = image("feast")
    _require(engine, name, made_by="make image-feast")
    return name


@pytest.fixture(scope="session")
def bridge(engine: docker.DockerClient) -> str:
    """This machine's address as containers see it."""
    if not sys.platform.startswith("linux"):
        pytest.skip("run it on Linux: containers reach this machine by the bridge's address")
    return str(engine.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"])


@pytest.fixture(scope="session")
def project_file(bridge: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The one project, whose table is read over HTTP by whoever runs it."""
    folder = tmp_path_factory.mktemp("project")
    with offered(folder, host=bridge) as address:
        yield write_project(folder, address=address)


@pytest.fixture(scope="session")
def site(
    engine: docker.DockerClient, bridge: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The store and the cluster of what runs in the images."""
    with site_at(tmp_path_factory.mktemp("in-images"), engine=engine, host=bridge) as made:
        yield made


@pytest.fixture(scope="session")
def confined(engine: docker.DockerClient) -> dict[str, Any]:
    """How the containers of steps are confined."""
    return hardened(engine, image("train"))


@pytest.fixture(scope="session")
def released(project_file: Path, site: Site, confined: dict[str, Any]) -> Released:
    """The project, from its table to the version that serves, each step in its own image."""
    return by_images(project_file, site=site, confined=confined)


@pytest.fixture(scope="session")
def run_here(
    engine: docker.DockerClient,
    bridge: str,
    project_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Released:
    """The same by `penstock run`."""
    with site_at(tmp_path_factory.mktemp("here"), engine=engine, host=bridge) as own:
        return by_run(project_file, site=own)


@pytest.fixture(scope="session")
def submitted(
    engine: docker.DockerClient,
    bridge: str,
    project_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Released:
    """The same by what arrives at Kubeflow."""
    with site_at(tmp_path_factory.mktemp("submitted"), engine=engine, host=bridge) as own:
        return by_submission(project_file, site=own)


@pytest.fixture(scope="session")
def locks() -> Path:
    """Where the images' locks are."""
    return ROOT / "images" / "locks"
