"""The server in its image, on the model that the images registered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from image_pipeline import Released
from image_site import assert_gets_healthy, hardened, port_of

from penstock.components._image import image
from penstock.records.release import Registration
from penstock.registry import versions
from penstock.serving import parity_check

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]


@pytest.fixture(scope="module")
def registration(released: Released) -> Registration:
    """The version that `register` made in its image."""
    return Registration.read(released.tasks["register"] / "registration")


@pytest.fixture(scope="module")
def server(
    engine: docker.DockerClient,
    released: Released,
    registration: Registration,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Container]:
    """The model server as a cluster starts it: the registered folder mounted, nothing writable."""
    # Below a folder that only its owner may open, no other user could read what is mounted.
    folder = tmp_path_factory.mktemp("serving") / "model"
    versions.fetch(registration.uri, tracking_uri=released.tracking_uri, destination=folder)
    container = engine.containers.run(
        image("serving"),
        [
            "--model=/mnt/models",
            f"--name={registration.name}",
            f"--version={registration.version}",
            f"--digest={registration.model}",
            f"--export={registration.export}",
        ],
        detach=True,
        volumes={str(folder): {"bind": "/mnt/models", "mode": "ro"}},
        ports={"8080/tcp": ("127.0.0.1", None)},
        **hardened(engine, image("serving")),
    )
    try:
        yield container
    finally:
        container.remove(force=True)


@pytest.fixture(scope="module")
def healthy(server: Container) -> Container:
    """The same, once the image's own health check has found it ready."""
    assert_gets_healthy(server, seconds=120)
    return server


def ask(server: Container, path: str, **body: Any) -> httpx.Response:
    url = f"http://127.0.0.1:{port_of(server, 8080)}{path}"
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.request("POST" if body else "GET", url, **body)


def test_it_answers_rows_of_the_holdout(
    healthy: Container, registration: Registration, released: Released
) -> None:
    assert ask(healthy, "/v2/health/ready").json() == {"ready": True}
    described = ask(healthy, f"/v2/models/{registration.name}").json()
    assert described["versions"] == [str(registration.version)]
    names = [tensor["name"] for tensor in described["inputs"]]
    sample = parity_check.sample_rows(released.tasks["split"] / "holdout", rows=3)
    path = f"/v1/models/{registration.name}:predict"
    answer = ask(healthy, path, json={"instances": parity_check.as_instances(sample, names)})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 3
    assert ask(healthy, "/metrics").status_code == 200


def test_it_refuses_a_model_that_is_not_the_registered_one(
    engine: docker.DockerClient, released: Released, registration: Registration
) -> None:
    import docker

    folder = released.tasks["train"] / "model"
    arguments = ["--model=/mnt/models", "--name=m", "--version=1", f"--digest=sha256:{'0' * 64}"]
    with pytest.raises(docker.errors.ContainerError) as refused:
        engine.containers.run(
            image("serving"),
            arguments,
            remove=True,
            volumes={str(folder): {"bind": "/mnt/models", "mode": "ro"}},
            **hardened(engine, image("serving")),
        )
    assert refused.value.exit_status == 1
    assert "error: " in refused.value.stderr.decode()


def test_a_registered_name_is_answered_with_what_to_do(engine: docker.DockerClient) -> None:
    import docker

    with pytest.raises(docker.errors.ContainerError) as refused:
        engine.containers.run(
            image("serving"),
            ["--model=models:/fraud@champion"],
            remove=True,
            **hardened(engine, image("serving")),
        )
    assert refused.value.exit_status == 1
    said = refused.value.stderr.decode()
    assert said.startswith("error: --model models:/fraud@champion: the MLflow client")
    assert "Traceback" not in said


def test_it_ends_when_it_is_told_to(healthy: Container) -> None:
    healthy.stop(timeout=20)
    healthy.reload()
    assert healthy.attrs["State"]["ExitCode"] == 0, healthy.logs().decode()
