"""The server with the ONNX form: what it loads, what it refuses, what it answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fresh_store import fresh_store
from serving_process import ROW, Server, Start

from penstock.errors import InputError
from penstock.model import digest_of, load
from penstock.records.export import Export
from penstock.serving.__main__ import main

HEAVY = ("pandas", "sklearn", "mlflow", "pyarrow", "scipy", "skops", "onnx", "kubernetes")


@pytest.fixture(scope="module")
def server(exported: Callable[..., Any], start: Start) -> Server:
    made = exported()
    return start(made.folder, *made.options)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_it_answers_what_the_model_says(
    task: str, exported: Callable[..., Any], start: Start, instances: list[dict[str, Any]]
) -> None:
    made = exported(task)
    running = start(made.folder, *made.options)
    rows = [*instances, dict.fromkeys(ROW), ROW | {"job": "a level nobody saw"}]
    loaded = load(made.folder)
    frame = loaded.frame({name: [row[name] for row in rows] for name in ROW})
    scores = loaded.scores(frame)
    few = [running.predict(row).json() for row in rows]
    many = running.predict(*rows * 40).json()
    assert many["predictions"][: len(rows)] == pytest.approx(loaded.labels(frame).tolist())
    assert [body["predictions"][0] for body in few] == many["predictions"][: len(rows)]
    if task == "regression":
        assert many["predictions"][: len(rows)] == pytest.approx(scores.tolist())
    elif task == "binary":
        got = [pair[1] for pair in many["probabilities"][: len(rows)]]
        assert got == pytest.approx(scores.tolist(), abs=1e-9)
    else:
        got = many["probabilities"][: len(rows)]
        assert [p for row in got for p in row] == pytest.approx(scores.ravel().tolist(), abs=1e-9)


def test_it_says_what_answers(server: Server, exported: Callable[..., Any]) -> None:
    described = server.client.get("/v2/models/adult").json()
    recorded = Export.read(exported().folder / "serving" / "export.json")
    assert described["platform"] == "onnx"
    assert described["export"]["max_difference"] == recorded.max_difference
    assert described["export"]["tolerance"] == recorded.tolerance
    assert described["export"]["rows"] == 20
    assert server.metric("penstock_model_info", runtime="onnx") == 1


def test_neither_pandas_nor_scikit_learn_is_imported(
    exported: Callable[..., Any], tmp_path: Path
) -> None:
    made = exported()
    script = """
import signal, sys, threading, time, urllib.request
from penstock.serving.__main__ import main
arguments = sys.argv[1:]
port = arguments[arguments.index("--port") + 1]
def ask():
    url = f"http://127.0.0.1:{port}/v1/models/adult:predict"
    while True:
        try:
            with urllib.request.urlopen(url, data=ROW.encode()) as answer:
                print(answer.status)
                break
        except OSError:
            time.sleep(0.05)
    print(sorted({name.partition(".")[0] for name in sys.modules}))
    signal.raise_signal(signal.SIGTERM)
threading.Thread(target=ask).start()
sys.exit(main(arguments))
"""
    body = json.dumps({"instances": [ROW]})
    probe = Server(made.folder, tmp_path / "log", *made.options)
    probe.process.stop()
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            f"ROW = {body!r}\n{script}",
            *probe.process.args[3:],
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    status, loaded = ended.stdout.splitlines()
    assert status == "200"
    assert "onnxruntime" in loaded
    assert [name for name in HEAVY if f"'{name}'" in loaded] == []


def _alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["serving/model.onnx", "serving/export.json", "penstock.json"])
def test_an_altered_file_is_not_served(
    name: str, exported: Callable[..., Any], start: Start, tmp_path: Path
) -> None:
    made = exported()
    folder = tmp_path / "model"
    shutil.copytree(made.folder, folder)
    digest = digest_of(folder)
    _alter(folder / name)
    refused = start(folder, *made.options, "--digest", digest, wait=False)
    assert refused.process.wait(60) == 1
    assert "expected sha256:" in refused.log()
    assert str(folder) in refused.log()
    assert "Traceback" not in refused.log()
    assert "InvalidProtobuf" not in refused.log(), "refused before it is loaded"


def test_the_capture_folder_must_be_one(
    exported: Callable[..., Any], start: Start, tmp_path: Path
) -> None:
    made = exported()
    (tmp_path / "file").write_text("")
    refused = start(made.folder, *made.options, "--capture", str(tmp_path / "file"), wait=False)
    assert refused.process.wait(60) == 1
    assert "error: " in refused.log()
    assert "cannot be written to" in refused.log()


def test_a_folder_needs_its_name_version_and_digest(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "penstock.serving", "--model", "x", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "--name is missing" in ended.stderr


def test_its_start_is_cheap(exported: Callable[..., Any], start: Start) -> None:
    made = exported()
    began = time.monotonic()
    running = start(made.folder, *made.options)
    waited = time.monotonic() - began
    cpu = running.metric("process_cpu_seconds_total")
    print(f"ready after {waited:.1f} s, {cpu:.1f} s of CPU")
    # scikit-learn, pandas and MLflow alone would cost 8 s of CPU.
    assert cpu < 5


@pytest.mark.slow
def test_a_registered_model_is_found_checked_and_served(
    exported: Callable[..., Any],
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mlflow import MlflowClient

    from penstock.registry import versions

    made = exported()
    store = fresh_store(tmp_path)
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    client.create_registered_model("adult")
    source = tmp_path / "artifact"
    shutil.copytree(made.folder, source)
    tags = {versions.MODEL_DIGEST: digest_of(source), versions.EXPORT_DIGEST: made.digest}
    client.create_model_version("adult", str(source), tags=tags)
    client.create_model_version(
        "adult", str(source), tags={**tags, versions.MODEL_DIGEST: "sha256:0"}
    )
    client.set_registered_model_alias("adult", "champion", "1")
    options = ("--tracking-uri", store)
    served = start("models:/adult@champion", *options)
    described = served.client.get("/v2/models/adult").json()
    assert (described["versions"], described["platform"]) == (["1"], "onnx")
    assert described["digest"] == tags[versions.MODEL_DIGEST]
    assert served.predict(ROW).status_code == 200
    # It sets these for its libraries; other tests have their own.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")
    assert main(["--model", "models:/adult/2", "--port", "0", *options]) == 1
    said = capsys.readouterr().err
    assert "sha256:0 was registered" in said
    assert "Traceback" not in said
    for uri, message in (
        ("models:/adult@nobody", "with the alias 'nobody'"),
        ("models:/adult/3", "no such version"),
        ("models:/adult/2/3", "not the address of a registered model"),
    ):
        with pytest.raises(InputError, match=message):
            versions.registered(uri, tracking_uri=store)
