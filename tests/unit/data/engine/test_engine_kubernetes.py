"""The engine on pods: a DaskCluster on an emulated cluster, its processes and the S3 store real."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask_operator
import psutil
import pyarrow as pa
import pytest
import yaml
from cluster_emulator import NAMESPACE, Cluster, Fault, kubeconfig_of, running
from dask_operator import Operator, operating, placed, step_pod
from engine_work import Killed, squares
from role_rights import allowed, used
from running_process import LOOPBACK, RunningProcess, free_port, listens, until

from penstock.data.engine import Each, EngineSpec, opened
from penstock.data.table import parts_of, write_dataset
from penstock.errors import InputError, IntegrityError, PenstockError, ServiceError
from penstock.quality.check import validate
from penstock.quality.spec import Contract, Expectation

MANIFESTS = Path(__file__).parents[4] / "manifests"
SPEC = EngineSpec(name="dask", on="kubernetes", workers=2, memory="1Gi")
ONE = SPEC.model_copy(update={"workers": 1})
SUITE = [
    Expectation(type=f"expect_column_values_to_{what}", kwargs={"column": name, **kwargs})
    for what, name, kwargs in [
        ("be_between", "age", {"min_value": 0, "max_value": 120}),
        ("be_unique", "age", {}),
        ("match_regex", "job", {"regex": "^job-[1-9]"}),
    ]
]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 store with the bucket `mlpipeline`, as the step's variables name it."""
    import fsspec

    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", port]
    with RunningProcess(command, log=tmp_path / "moto.log") as server:
        server.wait_until(lambda: listens(port))
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("mlpipeline")
        yield url


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster in which this process is the step's pod."""
    with running() as cluster:
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig_of(cluster.url)))
        monkeypatch.setenv("KUBECONFIG", str(path))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", LOOPBACK)
        monkeypatch.setenv("NAMESPACE", NAMESPACE)
        monkeypatch.setenv("KFP_POD_NAME", "validate-1")
        environment = {
            name: os.environ[name]
            for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
            if name in os.environ
        }
        placed(cluster, step_pod("validate-1", environment=environment))
        yield cluster


Operate = Callable[..., Any]


@pytest.fixture
def operate(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operate:
    """Return what has an operator work; the pods' image has the tests' work in it."""

    def begin(*paths: Path, **options: Any) -> Any:
        # Only the cluster's DNS knows the scheduler's name.
        found = ":".join(map(str, (*paths, Path(dask_operator.__file__).parent)))
        made = operating(cluster, tmp_path / "pods", environment={"PYTHONPATH": found}, **options)

        class Begun:
            def __enter__(self) -> Operator:
                operator: Operator = made.__enter__()
                monkeypatch.setattr(
                    "penstock.data.engine.on_kubernetes.address_of", operator.address
                )
                return operator

            def __exit__(self, *of: Any) -> None:
                made.__exit__(*of)

        return Begun()

    return begin


def dataset(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a dataset of several files and row groups."""
    rows = pa.table({"age": [*range(-3, 600), 5], "job": [f"job-{n % 11}" for n in range(604)]})
    with monkeypatch.context() as patch:
        patch.setattr("penstock.data.table.writer.GROUP_ROWS", 60)
        patch.setattr("penstock.data.table.writer.PART_ROWS", 200)
        write_dataset(
            [rows.slice(at, 60) for at in range(0, 604, 60)], output=folder, source="random"
        )
    assert len(parts_of(folder)) > 8
    return folder


def said(folder: Path, out: Path, each: Each) -> bytes:
    """Return the record of a validation."""
    validate(
        folder, contract=Contract(), expectations=SUITE, results=out / "v.json",
        report=out / "v.html", each=each,
    )  # fmt: skip
    return (out / "v.json").read_bytes()


def upload(folder: Path, address: str) -> None:
    import fsspec

    system = fsspec.filesystem("s3", skip_instance_cache=True)
    for path in sorted(folder.iterdir()):
        system.pipe_file(f"{address}/{path.name}", path.read_bytes())


@pytest.mark.long
@pytest.mark.slow
def test_pods_read_the_dataset_where_it_lies_and_change_no_byte(
    store: str, cluster: Cluster, operate: Operate, tmp_path: Path, monkeypatch
) -> None:
    folder = dataset(tmp_path / "data", monkeypatch)
    own = dataset(tmp_path / "own", monkeypatch)
    torn = dataset(tmp_path / "torn", monkeypatch)
    upload(folder, "mlpipeline/run/data")
    upload(torn, "mlpipeline/run/torn")
    upload_again = (torn / "part-00001.parquet").read_bytes() + b"x"
    import fsspec

    fsspec.filesystem("s3", skip_instance_cache=True).pipe_file(
        "mlpipeline/run/torn/part-00001.parquet", upload_again
    )
    with opened(EngineSpec()) as here:
        whole = said(folder, tmp_path / "here", here)
    addresses = {
        folder: "minio://mlpipeline/run/data",
        torn: "minio://mlpipeline/run/torn",
        tmp_path / "absent": "minio://mlpipeline/run/absent",
    }
    cluster.calls.clear()
    with operate() as operator, opened(SPEC, addresses=addresses) as each:
        assert said(folder, tmp_path / "pods-whole", each) == whole
        # A worker that is killed in the middle is started again, and changes nothing.
        marker = tmp_path / "killed"
        assert (
            said(folder, tmp_path / "killed-once", lambda w, p: each(Killed(w, marker), p)) == whole
        )
        assert marker.exists()
        # What this step wrote itself is nowhere else: it is read here.
        assert said(own, tmp_path / "own-read", each) == whole
        # The store's bytes are read, not the step's copy.
        with pytest.raises(
            IntegrityError, match=r"s3://mlpipeline/run/torn/part-00001.parquet: a worker cannot "
            r"read the dataset: the file has [\d,]+ bytes, its record says",
        ):  # fmt: skip
            said(torn, tmp_path / "torn-read", each)
        assert not (tmp_path / "torn-read" / "v.json").exists()
        # Out of memory again and again.
        told = {"lastState": {"terminated": {"reason": "OOMKilled"}}}
        cluster.put("pods", dask_pod(operator.made[0], told))
        with pytest.raises(
            ServiceError, match=r"a worker died 3 times at the same part of the table. Its pods "
            r"say worker: OOMKilled. .* set a larger `engine.memory`",
        ):  # fmt: skip
            list(each(Killed(squares, None), parts_of(folder)[:1]))
        processes = psutil.Process().children(recursive=True)
    assert cluster.get("daskclusters", operator.made[0]["metadata"]["name"]) is None
    assert len(processes) > 4
    # What the account may do is what was needed.
    assert used(cluster.calls) <= allowed(
        MANIFESTS / "components/engine/access.yaml"
    ) | {("get", "pods")}  # fmt: skip


def dask_pod(made: dict[str, Any], container: dict[str, Any], **status: Any) -> dict[str, Any]:
    """Return a pod of a cluster of Dask, as a kubelet tells of it."""
    labels = {"dask.org/cluster-name": made["metadata"]["name"], "dask.org/component": "worker"}
    return {
        "metadata": {"name": "worker-1", "labels": labels},
        "spec": {},
        "status": {"containerStatuses": [container], **status},
    }


def refusal(spec: EngineSpec, addresses: dict[Path, str] = {}) -> str:  # noqa: B006
    with pytest.raises(PenstockError) as refused, opened(spec, addresses=addresses):
        pass
    assert isinstance(refused.value, (ServiceError, InputError))
    return str(refused.value)


def test_what_keeps_a_cluster_from_being_made_is_a_sentence(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Dask's operator is not installed: the cluster knows no resource" in refusal(SPEC)
    cluster.discovery[dask_operator.API] = ["daskclusters"]
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    places = {Path("/tmp/x"): "minio://mlpipeline/x"}
    assert "the step does not know where that is. Set AWS_ENDPOINT_URL" in refusal(SPEC, places)
    for message, remedy in [
        ('daskclusters is forbidden: User "x" cannot create', "Apply manifests/components/engine"),
        ('"p" is forbidden: exceeded quota: q, requested: count/daskclusters=1', "a larger quota"),
    ]:
        cluster.faults.append(Fault("POST", "/daskclusters", 403, message))
        told = refusal(SPEC)
        assert f"no Dask cluster may be made in the namespace {NAMESPACE}" in told
        assert message in told
        assert remedy in told
    monkeypatch.setenv("KFP_POD_NAME", "another")
    assert "this pod is not known to the API server as 'another'" in refusal(SPEC)
    assert not [key for key in cluster.objects if key[0] == "daskclusters"]


def test_a_cluster_that_does_not_come_up_says_why(cluster: Cluster, operate: Operate) -> None:
    hasty = SPEC.model_copy(update={"starts_within": 1})
    cluster.discovery[dask_operator.API] = ["daskclusters"]
    assert "within 1 seconds: no operator has taken it up" in refusal(hasty)
    with operate(starts=False) as operator:
        assert "within 1 seconds: its phase is Pending" in refusal(hasty)
        waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}
        unplaced = {
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available",
        }  # fmt: skip
        cluster.put("pods", dask_pod(operator.made[0], waiting, conditions=[unplaced]))
        denied = {
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "exceeded quota: memory",
        }  # fmt: skip
        labels = {"dask.org/cluster-name": operator.made[0]["metadata"]["name"]}
        cluster.objects["deployments", NAMESPACE, "w"] = {
            "metadata": {"name": "w", "labels": labels}, "status": {"conditions": [denied]},
        }  # fmt: skip
        told = refusal(hasty)
    assert "worker: Unschedulable (0/3 nodes are available)" in told
    assert "worker: ImagePullBackOff (no such tag)" in told
    assert "FailedCreate (exceeded quota: memory)" in told
    assert not [key for key in cluster.objects if key[0] == "daskclusters"]


def test_workers_of_another_dask_are_refused(
    cluster: Cluster, operate: Operate, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text(
        "import importlib.metadata as of\n"
        "found = of.version\n"
        "of.version = lambda name: '2020.1' if name == 'dask' else found(name)\n"
    )
    with operate(other):
        assert "dask is 20" in (told := refusal(ONE))
    assert "in this step and 2020.1 in the scheduler" in told
    assert "name the image by its digest" in told


STEP = """
import pathlib, sys, time
import penstock.data.engine.on_kubernetes as engine
from penstock.data.engine import EngineSpec, opened
engine.address_of = lambda pod: sys.argv[1]
with opened(EngineSpec(name="dask", on="kubernetes", memory="1Gi", starts_within=300)):
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(600)
"""


@pytest.mark.long
@pytest.mark.slow
def test_a_step_that_is_killed_leaves_nothing(
    cluster: Cluster, operate: Operate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cluster belongs to its pod, and the next step of the run removes it where that stays."""
    port, up = free_port(), tmp_path / "up"
    with operate(port=port) as operator:
        for ended in ("pod removed", "next step"):
            up.unlink(missing_ok=True)
            address = f"tls://{LOOPBACK}:{port}"
            step = RunningProcess([sys.executable, "-c", STEP, address, up], log=tmp_path / ended)
            step.wait_until(up.exists)
            step.stop(signal.SIGKILL)
            made = operator.made[-1]
            (owner,) = made["metadata"]["ownerReferences"]
            pod = cluster.get("pods", "validate-1")
            assert pod is not None
            assert (owner["kind"], owner["name"]) == ("Pod", "validate-1")
            assert owner["uid"] == pod["metadata"]["uid"]
            name = made["metadata"]["name"]
            assert cluster.get("daskclusters", name) is not None
            if ended == "pod removed":
                cluster.delete("pods", "validate-1")
                until(lambda name=name: name not in operator.running, seconds=60)
                assert cluster.get("daskclusters", name) is None
                placed(cluster, step_pod("validate-1", environment={}))
        # A container that is killed leaves its pod, and so the cluster.
        pod["status"]["phase"] = "Failed"
        placed(cluster, step_pod("features-1", environment={}))
        monkeypatch.setenv("KFP_POD_NAME", "features-1")
        hasty = SPEC.model_copy(update={"starts_within": 1})
        operator.starts = False
        assert "within 1 seconds" in refusal(hasty)
        assert cluster.get("daskclusters", name) is None
        until(lambda: not operator.running, seconds=60)
