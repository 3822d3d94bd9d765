"""The cluster that a step's pod makes: of pods like itself, and no more of it than they need."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import distributed
import httpx
import pytest
from dask_operator import step_pod
from running_process import LOOPBACK, RunningProcess, answers, free_port

from penstock.data.engine import EngineSpec
from penstock.data.engine.dask_cluster import dask_cluster
from penstock.data.engine.on_kubernetes import tls_of
from penstock.errors import InputError

SPEC = EngineSpec(name="dask", on="kubernetes", workers=3, cpu="500m", memory="4Gi")


def made(tls: dict[str, str] | None = None) -> dict[str, Any]:
    pod = step_pod("validate-1", environment={"AWS_ENDPOINT_URL": "http://store"})
    pod["metadata"] |= {"namespace": "kubeflow", "uid": "0b1c-22"}
    pod["spec"]["securityContext"] = {"runAsUser": 1234, "fsGroup": 5}
    return dask_cluster(pod, spec=SPEC, tls=tls or {"ca-file": "c"})


def test_its_pods_are_like_the_step() -> None:
    found = made()
    assert found["metadata"]["name"] == "penstock-0b1c22"
    assert found["spec"]["worker"]["replicas"] == 3
    for part in ("scheduler", "worker"):
        pod = found["spec"][part]["spec"]
        (container,) = pod["containers"]
        assert container["image"] == "penstock/data@sha256:0"
        assert pod["serviceAccountName"] == "penstock-pipeline"
        assert pod["automountServiceAccountToken"] is False
        assert pod["nodeSelector"] == {"pool": "batch"}
        assert pod["securityContext"] == {
            "runAsUser": 1234,
            "fsGroup": 5,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_workers_read_what_it_reads_and_the_scheduler_does_not() -> None:
    found = made()
    (worker,) = found["spec"]["worker"]["spec"]["containers"]
    (scheduler,) = found["spec"]["scheduler"]["spec"]["containers"]
    of_worker = {one["name"]: one for one in worker["env"]}
    assert of_worker["AWS_ENDPOINT_URL"]["value"] == "http://store"
    assert of_worker["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]["name"] == "store"
    assert not any(name.startswith(("KFP_", "METADATA_")) for name in of_worker)
    assert not any(one["name"].startswith("AWS_") for one in scheduler["env"])
    assert [(one["name"], one.get("readOnly")) for one in worker["volumeMounts"]] == [
        ("tables", True),
        ("scratch", None),
    ]
    assert [one["name"] for one in found["spec"]["worker"]["spec"]["volumes"]] == [
        "tables",
        "scratch",
    ]
    assert [one["name"] for one in found["spec"]["scheduler"]["spec"]["volumes"]] == ["scratch"]
    assert worker["resources"]["limits"] == {"cpu": "500m", "memory": "4Gi"}
    assert worker["args"][worker["args"].index("--memory-limit") + 1] == "4GiB"


@pytest.mark.parametrize(
    "given",
    [
        {"on": "kubernetes"},
        {"name": "dask", "on": "kubernetes", "memory": "4GB"},
        {"name": "dask", "on": "kubernetes", "cpu": "one"},
        {"name": "dask", "on": "moon"},
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InputError, match="engine"):
        EngineSpec.parse(given, where="engine")


def client(address: str, security: Any = None) -> Any:
    return distributed.Client(address, timeout=5, security=security, set_as_default=False)


def test_a_scheduler_lets_in_who_has_its_key_alone_and_says_how_long_it_was_idle(
    tmp_path: Path,
) -> None:
    mine, other = distributed.Security.temporary(), distributed.Security.temporary()
    (container,) = made(tls_of(mine))["spec"]["scheduler"]["spec"]["containers"]
    port, http = free_port(), free_port()
    told = {"8786": str(port), ":8787": f"{LOOPBACK}:{http}"}
    words = [told.get(word, word) for word in (*container["command"][1:], *container["args"])]
    environment = {one["name"]: one["value"] for one in container["env"]}
    with RunningProcess(
        [sys.executable, *words, "--host", LOOPBACK],
        log=tmp_path / "log",
        env={"PATH": os.environ["PATH"], **environment},
    ) as scheduler:
        url = f"http://{LOOPBACK}:{http}"
        probed = container["readinessProbe"]["httpGet"]["path"]
        scheduler.wait_until(lambda: answers(f"{url}{probed}"))
        for address, security in (
            (f"tls://{LOOPBACK}:{port}", other),
            (f"tcp://{LOOPBACK}:{port}", None),
        ):
            with pytest.raises(OSError, match="TLS certificate does not match|closed"):
                client(address, security)
        with client(f"tls://{LOOPBACK}:{port}", mine):
            pass
        idle = httpx.get(f"{url}/api/v1/check_idle", trust_env=False).json()
        assert idle["idle_since"] > 0
        for path in ("/status", "/json/identity.json", "/info/main/workers.html"):
            assert not answers(f"{url}{path}")
