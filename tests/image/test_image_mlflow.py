"""The tracking server in its image, started as manifests/ starts it, on volumes that are empty."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from image_site import assert_gets_healthy, hardened, port_of

import penstock

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]

MANIFESTS = Path(__file__).parents[2] / "manifests"
REFERENCE = f"penstock/mlflow:{penstock.__version__}"
PASSWORD = secrets.token_hex(8)

PENSTOCK = 'import importlib.util as u; print(u.find_spec("penstock"), u.find_spec("pip"))'


def part(name: str) -> dict[str, Any]:
    """Return the container of one of the manifests that make the Deployment."""
    manifest = yaml.safe_load((MANIFESTS / name / "deployment.yaml").read_text())
    return manifest["spec"]["template"]["spec"]["containers"][0]


@pytest.fixture(scope="module")
def server(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    base, local = part("base/mlflow"), part("components/mlflow-local")
    folder = tmp_path_factory.mktemp("volumes")
    volumes = {
        str(MANIFESTS / "components" / "mlflow-local"): {"bind": "/etc/mlflow", "mode": "ro"}
    }
    for mount in local["volumeMounts"]:
        place = folder / mount["name"]
        place.mkdir()
        place.chmod(0o777)
        volumes[str(place)] = {"bind": mount["mountPath"], "mode": "rw"}
    environment = {
        one["name"]: one.get("value", PASSWORD) for one in [*base["env"], *local["env"]]
    } | {"MLFLOW_AUTH_ADMIN_USERNAME": "admin"}
    container = engine.containers.run(
        REFERENCE,
        base["command"][1:] + base["args"],
        detach=True,
        environment=environment,
        volumes=volumes,
        ports={"5000/tcp": ("127.0.0.1", None)},
        **hardened(engine, REFERENCE),
    )
    try:
        yield container
    finally:
        container.remove(force=True)


@pytest.fixture(scope="module")
def url(server: Container) -> str:
    """Its address, once the image's own health check has found it ready."""
    assert_gets_healthy(server, seconds=240)
    return f"http://127.0.0.1:{port_of(server, 5000)}"


def test_nobody_gets_in_without_a_password(url: str) -> None:
    search = f"{url}/api/2.0/mlflow/experiments/search"
    body = {"max_results": 1}
    with httpx.Client(trust_env=False, timeout=60) as client:
        assert client.post(search, json=body).status_code == 401
        assert client.post(search, json=body, auth=("admin", "wrong")).status_code == 401
        found = client.post(search, json=body, auth=("admin", PASSWORD))
    assert found.status_code == 200, found.text
    assert json.loads(found.text)["experiments"][0]["name"] == "Default"


def test_an_artifact_goes_to_its_volume_and_comes_back(url: str) -> None:
    place = f"{url}/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/a.txt"
    with httpx.Client(trust_env=False, timeout=60, auth=("admin", PASSWORD)) as client:
        assert client.put(place, content=b"kept").status_code == 200
        assert client.get(place).content == b"kept"


def test_nothing_of_penstock_is_in_it(engine: docker.DockerClient) -> None:
    said = engine.containers.run(
        REFERENCE, ["-c", PENSTOCK], entrypoint="python", remove=True, **hardened(engine, REFERENCE)
    )
    assert said.decode().split() == ["None", "None"]
