"""An existing cluster that tests are run on, and what takes everything of them away again.

`KUBECONFIG=FILE make test-cluster` is enough where the cluster is as manifests/overlays/kind makes
it. What is otherwise on yours is said by the variables PENSTOCK_CLUSTER_... of
docs/existing-cluster.md.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from running_process import RunningProcess, free_port, listens, until

import penstock

ROOT = Path(__file__).parents[2]
ASKED = bool(os.environ.get("PENSTOCK_TEST_CLUSTER") and os.environ.get("KUBECONFIG"))

NEEDS_CLUSTER = pytest.mark.skipif(
    not ASKED, reason="NOT RUN on a cluster: KUBECONFIG=FILE make test-cluster"
)
"""Whoever has a KUBECONFIG may not want to be tested on what it names: `make test-cluster` asks."""


def setting(name: str, default: str = "") -> str:
    return os.environ.get(f"PENSTOCK_CLUSTER_{name}", default)


NAMESPACE = setting("NAMESPACE", "penstock")
PIPELINES = setting("PIPELINES", "kubeflow")
REGISTRY = setting("REGISTRY", "penstock-mlflow")
DEPLOYER = f"system:serviceaccount:{PIPELINES}:penstock-deployer"
MLFLOW_INSIDE = setting("MLFLOW_INSIDE", "http://mlflow.penstock-mlflow:5000")
OVERLAY = ROOT / setting("OVERLAY", "manifests/overlays/kind")
SECRET = "penstock-mlflow"


def image(name: str) -> str:
    return setting(f"{name.upper()}_IMAGE", f"penstock/{name}:{penstock.__version__}")


def new_name() -> str:
    return f"penstock-test-{uuid.uuid4().hex[:8]}"


def kubectl(*arguments: str, stdin: str = "", check: bool = True) -> str:
    """Run kubectl as whoever KUBECONFIG names, and return what it prints."""
    done = asked(*arguments, stdin=stdin)
    if check:
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def asked(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=300
    )


def objects(kinds: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
    found = kubectl("get", kinds, "-n", namespace, "-l", selector, "-o", "json")
    items: list[dict[str, Any]] = json.loads(found)["items"]
    return items


def built(overlay: Path = OVERLAY) -> list[dict[str, Any]]:
    """Return the objects of an overlay."""
    return [found for found in yaml.safe_load_all(kubectl("kustomize", str(overlay))) if found]


@contextlib.contextmanager
def forwarded(target: str, port: int, *, namespace: str, log: Path) -> Iterator[str]:
    """Yield the address of this machine that leads to a port of the cluster.

    kubectl gives up a forward when one connection of it breaks; it is begun again on its port.
    """
    local = free_port()
    command = ["kubectl", "port-forward", "-n", namespace, "--address", "127.0.0.1", target]
    over = threading.Event()

    def keep() -> None:
        while not over.is_set():
            with RunningProcess([*command, f"{local}:{port}"], log=log) as process:
                while process.poll() is None and not over.wait(0.2):
                    pass

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        until(lambda: listens(local), what=" ".join(command), seconds=60, every=0.2)
        yield f"http://127.0.0.1:{local}"
    finally:
        over.set()
        keeper.join()


def account_kubeconfig(path: Path, account: str, *, namespace: str) -> Path:
    """Write a kubeconfig that acts as a service account for two hours, and return it."""
    token = kubectl("create", "token", account, "-n", namespace, "--duration=2h").strip()
    config = yaml.safe_load(kubectl("config", "view", "--minify", "--flatten", "--raw"))
    config["users"] = [{"name": account, "user": {"token": token}}]
    config["contexts"][0]["context"]["user"] = account
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path


def _credentials() -> dict[str, str]:
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    if all(name in os.environ for name in names):
        return {name: os.environ[name] for name in names}
    found = asked("get", "secret", SECRET, "-n", PIPELINES, "-o", "json")
    if found.returncode != 0:
        return {}
    data = json.loads(found.stdout)["data"]
    return {name: base64.b64decode(data[name]).decode() for name in names}


def feedback_token() -> str:
    """Return the token by which model servers take labels; empty: they take none."""
    found = asked("get", "secret", "penstock-feedback", "-n", NAMESPACE, "-o", "json")
    if found.returncode != 0:
        return ""
    return base64.b64decode(json.loads(found.stdout)["data"]["token"]).decode()


@dataclass
class Site:
    """The cluster as this machine reaches it, and one service of the tests' own on it."""

    folder: Path
    address: str
    mlflow: str
    name: str = field(default_factory=new_name)
    credentials: dict[str, str] = field(default_factory=_credentials)

    def __post_init__(self) -> None:
        self.deployer = self._acting("penstock-deployer", PIPELINES)
        self.monitor = self._acting("penstock-monitor", NAMESPACE)

    def _acting(self, account: str, namespace: str) -> Path:
        return account_kubeconfig(self.folder / account, account, namespace=namespace)

    def kserve(self, address: str) -> dict[str, Any]:
        """Return `deployment.kserve` for whoever reaches the gateway at `address`."""
        pairs = setting("ARTIFACTS", "mlflow-artifacts:/=pvc://mlflow-artifacts/").split(",")
        return {
            "namespace": NAMESPACE,
            "gateway": setting("GATEWAY", "penstock"),
            "address": address,
            "artifacts": dict(pair.split("=", 1) for pair in pairs if pair),
        }

    @property
    def inside(self) -> dict[str, Any]:
        return self.kserve(setting("ADDRESS_INSIDE"))

    def left(self) -> list[str]:
        """Return what of the service is on the cluster."""
        own = f"penstock/service={self.name}"
        found = objects("inferenceservices,httproutes,configmaps", NAMESPACE, own)
        for label in ("penstock-test", "penstock/table"):
            found += objects("jobs,configmaps,pods,services", PIPELINES, f"{label}={self.name}")
        leases = objects("leases", NAMESPACE)
        found += [lease for lease in leases if lease["metadata"]["name"] in self._leases]
        for kind in ("deployments", "services"):
            every = objects(kind, NAMESPACE)
            found += [one for one in every if one["metadata"]["name"] == self._proxy]
        return [f"{item['kind']}/{item['metadata']['name']}" for item in found]

    @property
    def _proxy(self) -> str:
        return f"{self.name}-experiment"

    @property
    def _leases(self) -> tuple[str, str]:
        return f"penstock-{self.name}", f"penstock-monitor-{self.name}"

    def clean_up(self) -> None:
        """Take away everything of the service, whatever state it is in."""
        mine = f"penstock/service={self.name}"
        with contextlib.ExitStack() as last_first:  # each is called though another failed
            last_first.callback(self._require_clean)
            last_first.callback(Registry(self.mlflow, self.credentials).forget, self.name)
            last_first.callback(_delete, "lease", NAMESPACE, *self._leases)
            last_first.callback(_delete, "inferenceservices,configmaps", NAMESPACE, "-l", mine)
            last_first.callback(_delete, "deployments,services", NAMESPACE, self._proxy)
            # The route before what it leads to, and who drives it before all.
            last_first.callback(_delete, "httproutes", NAMESPACE, "-l", mine)
            for label in ("penstock/table", "penstock-test"):
                kinds, selector = "jobs,pods,services,configmaps", f"{label}={self.name}"
                last_first.callback(_delete, kinds, PIPELINES, "-l", selector)

    def _require_clean(self) -> None:
        assert self.left() == []


def _delete(kinds: str, namespace: str, *which: str) -> None:
    kubectl(
        "delete", kinds, "-n", namespace, *which,
        "--ignore-not-found", "--wait=true", "--timeout=180s",
    )  # fmt: skip


@dataclass
class Registry:
    """MLflow, asked over its REST API."""

    url: str
    credentials: dict[str, str]

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Return the answer; empty where there is no such thing."""
        import httpx

        signed = tuple(self.credentials.values())
        given: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        transport = httpx.HTTPTransport(retries=5)  # of connections: a forwarded port breaks
        with httpx.Client(transport=transport, trust_env=False, timeout=60) as client:
            response = client.request(
                method,
                f"{self.url}/api/2.0/mlflow/{path}",
                auth=(signed[0], signed[1]) if signed else None,
                **given,
            )
        if response.status_code == 404:
            return {}
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        found: dict[str, Any] = response.json()
        return found

    def alias(self, name: str, alias: str) -> str:
        """Return the version that bears an alias, or nothing."""
        found = self.call("GET", "registered-models/alias", name=name, alias=alias)
        return str(found.get("model_version", {}).get("version", ""))

    def tags(self, name: str, version: int) -> dict[str, str]:
        found = self.call("GET", "model-versions/get", name=name, version=str(version))
        return {tag["key"]: tag["value"] for tag in found["model_version"].get("tags", [])}

    def forget(self, name: str) -> None:
        """Delete a model with its versions, and its experiment with runs and artifacts."""
        for model in self._search("registered-models", name):
            self.call("DELETE", "registered-models/delete", name=model["name"])
        for experiment in self._search("experiments", name):
            number = experiment["experiment_id"]
            runs = self._of(number, "runs")
            models = self._of(number, "logged-models")
            for model in models:
                self.call("DELETE", f"logged-models/{model}")
            self.call("POST", "experiments/delete", experiment_id=number)
            _purge(number, runs=runs, models=models)
        assert not self._search("registered-models", name)
        assert not self._search("experiments", name)

    def _of(self, experiment: str, kind: str) -> list[str]:
        """Return the ids of an experiment's runs or logged models."""
        found = self.call("POST", f"{kind}/search", experiment_ids=[experiment], max_results=50)
        if kind == "runs":
            return [run["info"]["run_id"] for run in found.get("runs", [])]
        return [model["info"]["model_id"] for model in found.get("models", [])]

    def _search(self, kind: str, name: str) -> list[dict[str, Any]]:
        # To ask for one by its name is forbidden, not empty, where MLflow has users.
        found = self.call("GET", f"{kind}/search", filter=f"name = '{name}'", max_results="10")
        items: list[dict[str, Any]] = found.get(kind.replace("-", "_"), [])
        return items


def _purge(experiment: str, *, runs: list[str], models: list[str]) -> None:
    """Remove a deleted experiment for good, where MLflow is the one of our manifests.

    All ids are given: what `mlflow gc` is not told to take it takes of everybody's.
    """
    ours = asked("get", "deployment", "mlflow", "-n", REGISTRY).returncode == 0
    if not (ours and runs and models):
        print(f"MLflow's experiment {experiment} is deleted; its files stay until `mlflow gc`.")
        return
    script = (
        "MLFLOW_TRACKING_USERNAME=$MLFLOW_AUTH_ADMIN_USERNAME "
        "MLFLOW_TRACKING_PASSWORD=$MLFLOW_AUTH_ADMIN_PASSWORD "
        "MLFLOW_TRACKING_URI=http://127.0.0.1:5000 "
        f"mlflow gc --backend-store-uri $MLFLOW_BACKEND_STORE_URI --experiment-ids {experiment} "
        f"--run-ids {','.join(runs)} --logged-model-ids {','.join(models)}"
    )
    kubectl("exec", "-n", REGISTRY, "deployment/mlflow", "--", "sh", "-c", script)


@contextlib.contextmanager
def site_in(folder: Path) -> Iterator[Site]:
    """Yield the cluster that KUBECONFIG names, reached; leave nothing of the tests on it."""
    with contextlib.ExitStack() as stack:
        address, mlflow = setting("ADDRESS"), setting("MLFLOW")
        if not mlflow:
            mlflow = stack.enter_context(
                forwarded("svc/mlflow", 5000, namespace=REGISTRY, log=folder / "mlflow.log")
            )
        if not address:
            service = _proxy()
            place = service["metadata"]
            address = stack.enter_context(
                forwarded(
                    f"svc/{place['name']}",
                    service["spec"]["ports"][0]["port"],
                    namespace=place["namespace"],
                    log=folder / "gateway.log",
                )
            )
        made = Site(folder, address=address.rstrip("/"), mlflow=mlflow.rstrip("/"))
        try:
            yield made
        finally:
            made.clean_up()


def _proxy() -> dict[str, Any]:
    """Return the Service of Envoy Gateway's proxies for the gateway."""
    namespace, _, name = setting("GATEWAY", "penstock").rpartition("/")
    owning = "gateway.envoyproxy.io/owning-gateway"
    selector = f"{owning}-name={name},{owning}-namespace={namespace or NAMESPACE}"
    found = json.loads(kubectl("get", "services", "-A", "-l", selector, "-o", "json"))["items"]
    assert found, "no Envoy Gateway's proxy is there: say PENSTOCK_CLUSTER_ADDRESS"
    service: dict[str, Any] = found[0]
    return service
