"""The servers that `bench_serving.py` sets beside one another: how each is installed and asked.

Every peer has an environment of its own below `build/peers`, with the very numpy, pandas, scipy
and scikit-learn that Penstock has, so that the same fitted pipeline loads. The pipeline's first
step has two small transformers of Penstock's, which a peer imports from this source tree; they take
0.35 of the 5.3 ms of CPU that one row costs behind gradient boosting (scikit-learn's own
`SimpleImputer` in place of the one for missing levels would take 0.8).

Penstock runs in an environment of its own too, that of its serving image: here everything else
that Penstock can do is installed, and scikit-learn imports pytest where it finds it.

Each peer is set for least work: one process; one OpenMP thread, which halves kserve's CPU for
gradient boosting; MLServer without its pool of workers (1.7.1 does not start with it beside uvloop
0.23); probabilities by one call of the pipeline. Penstock captures every row it answers, as its
router has it do; the peers keep nothing.

MLServer has no runtime for ONNX, MLflow's takes no graph with several typed inputs a row, and
Triton and OpenVINO come as images alone: the peer with ONNX Runtime is a bare kserve server that
runs the very graph which Penstock serves.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson
from serving_models import POSITIVE, Row, Served

ROOT = Path(__file__).resolve().parent.parent
NAME = "bench"
LOCK = ROOT / "images" / "locks" / "serving.txt"
SHARED = ("numpy", "pandas", "scikit-learn", "scipy")

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
}


@dataclass(frozen=True)
class Ports:
    """Free ports for one server; most need only the first."""

    http: int
    grpc: int
    metrics: int


@dataclass(frozen=True)
class Server:
    """One way to serve a model.

    Args:
        name: What the tables call it.
        requirements: What its environment holds beside `SHARED`; empty: that of our image.
        command: The command for a model, given the folder of its programs, a folder it may write
            into, and ports.
        ready: Path that answers 200 once it can predict.
        path: Path of predictions.
        body: The request for some rows.
        scores: P(positive) of each row, from an answer; `classes` as the pipeline orders them.
    """

    name: str
    requirements: tuple[str, ...]
    command: Callable[[Served, Path, Path, Ports], list[str]]
    ready: str
    path: str
    body: Callable[[list[Row]], bytes]
    scores: Callable[[Any, list[str]], list[float]]

    @property
    def ours(self) -> bool:
        """Whether it is Penstock."""
        return not self.requirements


class InstallError(Exception):
    """A peer that cannot be installed here."""


def install(server: Server, folder: Path) -> tuple[Path, dict[str, str]]:
    """Make a server's environment unless it is there; return its programs and its versions.

    Raises:
        InstallError: With the installer's last lines.
    """
    if server.ours:
        home = folder / "penstock"
        tree = _copied(home / "tree")
        lock = hashlib.sha256(LOCK.read_bytes()).hexdigest()
        # The image leaves out what nothing of ours loads: the lock is all there is.
        exactly = ["--no-deps", "--require-hashes", "--requirement", str(LOCK)]
        made = _environment(home, exactly, stamp=lock)
        _run([str(made[0] / "python"), "-m", "compileall", "-q", str(tree)])
        return made
    wanted = [*server.requirements, *(f"{name}=={metadata.version(name)}" for name in SHARED)]
    return _environment(folder / server.name, wanted, stamp=" ".join(wanted))


def _copied(tree: Path) -> Path:
    """Return a copy of the package as an installation has it."""
    shutil.rmtree(tree, ignore_errors=True)
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "penstock", tree / "penstock", ignore=leave_out)
    for part in ("components", "pipelines"):
        shutil.copytree(ROOT / part, tree / "penstock" / part, ignore=leave_out)
    return tree


def _environment(home: Path, wanted: list[str], *, stamp: str) -> tuple[Path, dict[str, str]]:
    """Make an environment unless it is there; return its programs and its versions."""
    programs, record = home / "bin", home / "installed.json"
    if not record.exists() or json.loads(record.read_text())["wanted"] != stamp:
        uv = str(Path(sys.executable).parent / "uv")
        record.unlink(missing_ok=True)
        python = ["--python", str(programs / "python")]
        _run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(home)])
        _run([uv, "pip", "install", "--quiet", "--compile-bytecode", *python, *wanted])
        found = json.loads(_run([uv, "pip", "list", "--format", "json", *python]))
        versions = {package["name"]: package["version"] for package in found}
        record.write_text(json.dumps({"wanted": stamp, "versions": versions}))
    versions = json.loads(record.read_text())["versions"]
    known = ("kserve", "mlflow", "mlserver", "onnxruntime", "uvicorn", "fastapi", *SHARED)
    return programs, {name: versions[name] for name in known if name in versions}


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise InstallError(done.stderr.strip()[-600:])
    return done.stdout


def start(
    server: Server, served: Served, *, programs: Path, folder: Path, ports: Ports
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, its output in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    environment["PYTHONPATH"] = str(programs.parent / "tree" if server.ours else ROOT)
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            server.command(served, programs, folder, ports),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )


def _penstock(served: Served, programs: Path, folder: Path, ports: Ports) -> list[str]:
    return [
        *(str(programs / "python"), "-P", "-m", "penstock.serving"),
        *("--model", str(served.penstock), "--name", NAME, "--version", "1"),
        *("--digest", served.digest, "--capture", str(folder / "capture")),
        *("--host", "127.0.0.1", "--port", str(ports.http)),
    ]


def _penstock_onnx(served: Served, programs: Path, folder: Path, ports: Ports) -> list[str]:
    return [*_penstock(served, programs, folder, ports), "--export", served.export]


def _kserve(served: Served, programs: Path, folder: Path, ports: Ports) -> list[str]:  # noqa: ARG001
    script = str(ROOT / "benchmarks" / "serving_kserve.py")
    return [
        *(str(programs / "python"), "-P", script, str(served.joblib)),
        *("--model_name", NAME, "--http_port", str(ports.http), "--enable_grpc", "false"),
    ]


def _kserve_onnx(served: Served, programs: Path, folder: Path, ports: Ports) -> list[str]:  # noqa: ARG001
    script = str(ROOT / "benchmarks" / "serving_kserve_onnx.py")
    return [
        *(str(programs / "python"), "-P", script, str(served.penstock / "serving")),
        *("--model_name", NAME, "--http_port", str(ports.http), "--enable_grpc", "false"),
    ]


def _mlflow(served: Served, programs: Path, folder: Path, ports: Ports) -> list[str]:  # noqa: ARG001
    return [
        *(str(programs / "mlflow"), "models", "serve", "--env-manager", "local"),
        *("--model-uri", str(served.mlflow), "--host", "127.0.0.1", "--port", str(ports.http)),
    ]


def _mlserver(served: Served, programs: Path, folder: Path, ports: Ports) -> list[str]:
    settings = {
        "host": "127.0.0.1",
        "http_port": ports.http,
        "grpc_port": ports.grpc,
        "metrics_port": ports.metrics,
        # Its pool of worker processes passes every request on by a queue.
        "parallel_workers": 0,
    }
    model = {
        "name": NAME,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(served.joblib), "extra": {"predict_fn": "predict_proba"}},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return [str(programs / "mlserver"), "start", str(folder)]


def _as_trained(row: Row) -> Row:
    """Return a row with its boolean as 1 or 0, as the pipeline was fitted on it."""
    return {**row, "member": float(row["member"])}


def _instances(rows: list[Row]) -> bytes:
    return orjson.dumps({"instances": rows})


def _instances_as_trained(rows: list[Row]) -> bytes:
    return _instances([_as_trained(row) for row in rows])


def _split_frame(rows: list[Row]) -> bytes:
    trained = [_as_trained(row) for row in rows]
    data = [list(row.values()) for row in trained]
    return orjson.dumps({"dataframe_split": {"columns": list(trained[0]), "data": data}})


def _tensors(rows: list[Row]) -> bytes:
    trained = [_as_trained(row) for row in rows]
    inputs = [
        {
            "name": name,
            "shape": [len(rows), 1],
            "datatype": "BYTES" if name == "moment" or "category" in name else "FP64",
            "data": [row[name] for row in trained],
        }
        for name in trained[0]
    ]
    return orjson.dumps({"parameters": {"content_type": "pd"}, "inputs": inputs})


def _scores_of_pairs(answer: Any, classes: list[str]) -> list[float]:
    return [row[classes.index(POSITIVE)] for row in answer["predictions"]]


def _scores_of_tensor(answer: Any, classes: list[str]) -> list[float]:
    data = answer["outputs"][0]["data"]
    return list(data[classes.index(POSITIVE) :: len(classes)])


def _scores_of_penstock(answer: Any, classes: list[str]) -> list[float]:
    assert answer["classes"] == classes
    return [row[classes.index(POSITIVE)] for row in answer["probabilities"]]


def _ours(name: str, command: Callable[[Served, Path, Path, Ports], list[str]]) -> Server:
    return Server(
        name=name,
        requirements=(),
        command=command,
        ready=f"/v2/models/{NAME}/ready",
        path=f"/v1/models/{NAME}:predict",
        body=_instances,
        scores=_scores_of_penstock,
    )


ONNX = _ours("penstock (ONNX)", _penstock_onnx)
SKLEARN = _ours("penstock (sklearn)", _penstock)

PEERS = (
    Server(
        name="mlflow",
        requirements=("mlflow==3.17.2", "cloudpickle"),
        command=_mlflow,
        ready="/ping",
        path="/invocations",
        body=_split_frame,
        scores=_scores_of_pairs,
    ),
    Server(
        name="mlserver",
        requirements=("mlserver==1.7.1", "mlserver-sklearn==1.7.1"),
        command=_mlserver,
        ready=f"/v2/models/{NAME}/ready",
        path=f"/v2/models/{NAME}/infer",
        body=_tensors,
        scores=_scores_of_tensor,
    ),
    Server(
        name="kserve",
        requirements=("kserve==0.21.0", "joblib"),
        command=_kserve,
        ready=f"/v2/models/{NAME}/ready",
        path=f"/v1/models/{NAME}:predict",
        body=_instances_as_trained,
        scores=_scores_of_pairs,
    ),
)

"""They all run the pipeline by scikit-learn."""

ONNX_PEER = Server(
    name="kserve + ONNX",
    requirements=("kserve==0.21.0", f"onnxruntime=={metadata.version('onnxruntime')}"),
    command=_kserve_onnx,
    ready=f"/v2/models/{NAME}/ready",
    path=f"/v1/models/{NAME}:predict",
    body=_instances_as_trained,
    scores=_scores_of_pairs,
)

SERVERS = (ONNX, SKLEARN, *PEERS, ONNX_PEER)
KSERVE = PEERS[-1]
