"""What a release in containers needs around it: a table, a store and a cluster that they reach."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml
from cluster_emulator import Cluster, RealServer, Server, kubeconfig_of, running
from running_process import answers, mlflow_server, served, until

from penstock.components._image import image

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

USER = os.getuid() or 12345
"""Whoever runs the tests, or a user that no image knows."""

CLAIM = "pvc://models"
"""Where the emulated cluster has MLflow's artifacts."""

RUNTIME = Path(__file__).parents[2] / "manifests" / "base" / "serving-runtime.yaml"


def hardened(client: docker.DockerClient, reference: str) -> dict[str, Any]:
    """Return how a container is confined: it writes to what the image declares, and nowhere else.

    Group 0 with any user id is what OpenShift gives.
    """
    writable = client.images.get(reference).labels["penstock.writable"].split()
    return {
        "read_only": True,
        "user": f"{USER}:0",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "tmpfs": dict.fromkeys(writable, ""),
    }


def port_of(container: Container, port: int) -> int:
    """Return where this machine reaches a port of a container whose state has been read."""
    return int(container.attrs["NetworkSettings"]["Ports"][f"{port}/tcp"][0]["HostPort"])


def assert_gets_healthy(container: Container, *, seconds: float) -> None:
    """Wait until the image's own health check has found it ready."""

    def healthy() -> bool:
        container.reload()
        state = container.attrs["State"]
        assert state["Status"] == "running", container.logs().decode()
        return bool(state["Health"]["Status"] == "healthy")

    until(healthy, seconds=seconds, every=0.5, what="its health check does not find it ready")


@dataclass(kw_only=True)
class Pod(RealServer):
    """A pod of the emulated cluster: the model server in its image. One that died stays dead."""

    container: Container

    @property
    def ready(self) -> bool:
        if not self._up:
            self._up = answers(f"http://127.0.0.1:{self.port}/v2/health/ready")
        return self._up

    def stop(self) -> None:
        self.container.remove(force=True)


def _starter(
    engine: docker.DockerClient, artifacts: Path
) -> Callable[[str, dict[str, Any]], Server]:
    """Return what starts a predictor as KServe does: the runtime's container, the model mounted."""
    runtime = yaml.safe_load(RUNTIME.read_text())["spec"]["containers"][0]
    reference = image("serving")

    def start(name: str, predictor: dict[str, Any]) -> Server:
        model = predictor["model"]
        folder = model["storageUri"].replace(CLAIM, str(artifacts))
        container = engine.containers.run(
            reference,
            [*runtime["args"], *model["args"]],
            entrypoint=model.get("command"),
            detach=True,
            volumes={folder: {"bind": "/mnt/models", "mode": "ro"}},
            ports={"8080/tcp": ("127.0.0.1", None)},
            **hardened(engine, reference),
        )
        container.reload()
        return Pod(container=container, port=port_of(container, 8080))

    return start


@dataclass(frozen=True)
class Site:
    """A folder, a store and a cluster that nobody else uses. Containers see the folder."""

    folder: Path
    tracking_uri: str
    cluster: Cluster

    @property
    def environment(self) -> dict[str, str]:
        """Where the store and the cluster are, for whoever works here."""
        return {
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "KUBECONFIG": str(self.folder / "kubeconfig"),
        }

    def take(self, project: Path) -> Path:
        """Return a copy of the project file that lies here."""
        return Path(shutil.copy(project, self.folder))

    def answering(self, service: str) -> str:
        """Return the version that answers users at the gateway."""
        url = f"{self.cluster.gateway_url}/v2/models/{service}"
        return httpx.get(url, trust_env=False).headers["x-penstock-version"]


@contextlib.contextmanager
def site_at(folder: Path, *, engine: docker.DockerClient, host: str) -> Iterator[Site]:
    """Yield a site whose servers listen on `host`; the models are served from their image."""
    folder.chmod(0o777)
    artifacts = folder / "artifacts"
    with (
        mlflow_server(
            folder,
            store=f"sqlite:///{folder}/mlflow.db",
            host=host,
            options=["--artifacts-destination", artifacts],
        ) as uri,
        running(_starter(engine, artifacts), host=host) as cluster,
    ):
        (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig_of(cluster.url)))
        yield Site(folder, uri, cluster)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def offered(folder: Path, *, host: str) -> Iterator[str]:
    """Yield the address at which the files of a folder are read over HTTP."""
    handler = functools.partial(_Quiet, directory=folder)
    with served(http.server.ThreadingHTTPServer((host, 0), handler)) as server:
        yield f"http://{host}:{server.server_port}"
