"""MLflow as the overlays for one node run it: a real process with the manifest's own arguments."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml
from running_process import RunningProcess, answers, free_port

from penstock.registry import versions
from penstock.registry.versions import Version

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "manifests"
ADMIN = {"username": "admin", "password": "the-administrators", "flask-secret-key": "a-key"}
PASSWORD = "the-pipelines-own"

pytestmark = [pytest.mark.slow, pytest.mark.long]


def container(path: str) -> dict[str, Any]:
    deployment = yaml.safe_load((MANIFESTS / path).read_text())
    result: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return result


@dataclass
class Tracking:
    """The server, and where the paths of its pod lie here."""

    address: str
    log: Path
    home: Path
    process: int = 0

    def spent(self) -> float:
        """Return the seconds of processor time that the server's processes have taken."""
        server = psutil.Process(self.process)
        times = [each.cpu_times() for each in (server, *server.children(recursive=True))]
        return sum(each.user + each.system for each in times)

    def status(self, *, user: str = "", host: str = "", path: str = "experiments/search") -> int:
        request = urllib.request.Request(
            f"{self.address}/api/2.0/mlflow/{path}",
            data=json.dumps({"max_results": 1}).encode(),
            headers={"content-type": "application/json"},
        )
        if user:
            request.add_header("authorization", "Basic " + base64.b64encode(user.encode()).decode())
        if host:
            request.add_header("host", host)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    def make_user(self, name: str, password: str) -> subprocess.CompletedProcess[str]:
        """As cluster-up does, by the script that it runs in the pod."""
        environment = {
            "PATH": os.environ["PATH"],
            "MLFLOW_SERVER_URL": self.address,
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN["username"],
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN["password"],
        }
        return subprocess.run(
            [sys.executable, "-c", (ROOT / "scripts/mlflow_user.py").read_text()],
            input=f"{name}\n{password}\n", env=environment, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip

    @contextlib.contextmanager
    def client(self, name: str, password: str = PASSWORD) -> Iterator[MlflowClient]:
        """A client of MLflow that is this user, as every other of this process meanwhile."""
        from mlflow import MlflowClient

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", self.address)
            patch.setenv("MLFLOW_TRACKING_USERNAME", name)
            patch.setenv("MLFLOW_TRACKING_PASSWORD", password)
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
            yield MlflowClient(tracking_uri=self.address, registry_uri=self.address)

    def champion(self) -> Version | None:
        return versions.champion("loans", tracking_uri=self.address)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    home = tmp_path_factory.mktemp("mlflow")
    base, local = container("base/mlflow/deployment.yaml"), container(
        "components/mlflow-local/deployment.yaml"
    )  # fmt: skip
    config = (MANIFESTS / "components/mlflow-local/basic_auth.ini").read_text()
    (home / "config").mkdir()
    (home / "config/basic_auth.ini").write_text(config.replace("/var/lib", str(home)))
    (home / "mlflow").mkdir()

    def here(text: str) -> str:
        return text.replace("/var/lib", str(home)).replace("/etc/mlflow", str(home / "config"))

    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    for variable in (*base["env"], *local["env"]):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        value = ADMIN[reference["key"]] if reference else here(variable["value"])
        environment[variable["name"]] = value
    port = free_port()
    swaps = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=5000": f"--port={port}"}
    arguments = [swaps.pop(argument, argument) for argument in base["args"]]
    assert not swaps
    log = home / "log"
    made = Tracking(f"http://127.0.0.1:{port}", log, home)
    command = [*base["command"], *arguments]
    with RunningProcess(command, log=log, env=environment, cwd="/") as process:
        made.process = process.pid
        process.wait_until(lambda: answers(f"{made.address}/health"), seconds=300, every=0.2)
        yield made


def test_nobody_gets_in_without_a_password(tracking: Tracking) -> None:
    assert tracking.status() == 401
    assert tracking.status(user="admin:wrong") == 401
    assert tracking.status(user="admin:the-administrators") == 200


def test_a_password_is_not_hashed_for_each_request(tracking: Tracking) -> None:
    user = "admin:the-administrators"
    assert tracking.status(user=user) == 200
    begun = time.process_time()
    hashlib.scrypt(b"password", salt=b"salt", n=32_768, r=8, p=1, maxmem=2**26)
    one_hash = time.process_time() - begun
    before = tracking.spent()
    for _ in range(20):
        assert tracking.status(user=user) == 200
    assert tracking.spent() - before < 20 * one_hash


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("mlflow.penstock-mlflow.svc:5000", 200),
        ("mlflow.penstock-mlflow:5000", 200),
        ("mlflow:5000", 200),
        ("mlflow.penstock-mlflow.svc.cluster.local:5000", 200),
        ("mlflow.evil.example:5000", 403),
        ("evil.example", 403),
    ],
)
def test_it_answers_to_its_own_names_alone(tracking: Tracking, host: str, status: int) -> None:
    assert tracking.status(user="admin:the-administrators", host=host) == status


def test_probes_need_neither_name_nor_password(tracking: Tracking) -> None:
    request = urllib.request.Request(
        f"{tracking.address}/health", headers={"host": "10.1.2.3:5000"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200


def test_the_pipelines_user_works_and_others_see_nothing_of_it(tracking: Tracking) -> None:
    from mlflow.exceptions import MlflowException

    made = tracking.make_user("penstock", "another-password")
    assert made.returncode == 0, made.stdout + made.stderr
    # Again, with another password: it takes that.
    assert tracking.make_user("penstock", PASSWORD).returncode == 0
    assert tracking.status(user="penstock:another-password") == 401
    with tracking.client("penstock") as client:
        run = client.create_run(client.create_experiment("fraud")).info
        client.log_metric(run.run_id, "auc", 0.9)
        client.log_text(run.run_id, "hello", "model/MLmodel")
        client.create_registered_model("fraud")
        made = client.create_model_version("fraud", f"runs:/{run.run_id}/model", run.run_id)
        client.set_registered_model_alias("fraud", "champion", made.version)
        assert int(client.get_model_version_by_alias("fraud", "champion").version) == 1
    location = run.artifact_uri
    # As docs/cluster.md says: what is mlflow-artifacts:/X lies at X of the volume.
    assert location.startswith("mlflow-artifacts:/")
    path = tracking.home / "artifacts" / location.removeprefix("mlflow-artifacts:/")
    stored = path / "model/MLmodel"
    assert stored.read_text() == "hello"
    # A model server has another user id and no common group: it must be able to read.
    assert stored.stat().st_mode & 0o004
    assert tracking.make_user("stranger", "the-strangers-own").returncode == 0
    with (
        tracking.client("stranger", "the-strangers-own") as client,
        pytest.raises(MlflowException, match="ermission"),
    ):
        client.get_registered_model("fraud")


def register(client: MlflowClient, *, experiment: str) -> None:
    """Add a version to the name `loans`, which the first user makes, and let it be the champion."""
    run = client.create_run(client.create_experiment(experiment)).info
    client.log_text(run.run_id, "hello", "model/MLmodel")
    source, digest = f"runs:/{run.run_id}/model", {"penstock.model_digest": "d"}
    client.create_model_version("loans", source, run.run_id, tags=digest)
    client.set_registered_model_alias("loans", "champion", "1")


def test_a_name_that_is_not_there_has_no_champion_and_one_of_others_takes_no_version(
    tracking: Tracking,
) -> None:
    from mlflow.exceptions import MlflowException

    for user in ("first", "other"):
        assert tracking.make_user(user, PASSWORD).returncode == 0
    # MLflow forbids, to a user, what it would not find for its administrator.
    with tracking.client("admin", ADMIN["password"]):
        assert tracking.champion() is None
    with tracking.client("first") as client:
        assert tracking.champion() is None
        client.create_registered_model("loans")
        register(client, experiment="first")
        champion = tracking.champion()
    assert champion is not None
    assert (champion.name, champion.version) == ("loans", 1)
    with tracking.client("other") as client:
        assert tracking.champion() is None
        with pytest.raises(MlflowException, match="RESOURCE_ALREADY_EXISTS"):
            client.create_registered_model("loans")
        with pytest.raises(MlflowException, match="Permission denied"):
            register(client, experiment="other")


def test_a_wrong_administrator_is_told_apart(tracking: Tracking) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "MLFLOW_SERVER_URL": tracking.address,
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "wrong",
    }
    done = subprocess.run(
        [sys.executable, "-c", (ROOT / "scripts/mlflow_user.py").read_text()],
        input="a\nb\n", env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "MLflow answered 401" in done.stdout
