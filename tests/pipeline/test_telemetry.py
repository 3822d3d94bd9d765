"""No library tells anybody that it is used: names are recorded, and there is none from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from needs import program
from test_release import prepare

from penstock import telemetry

_REGISTER = """
import {first}
import penstock.tracking
store = penstock.tracking.client("sqlite:///mlflow.db")
import mlflow
mlflow.create_experiment("one")
store.create_registered_model("two")
from mlflow.telemetry import get_telemetry_client
client = get_telemetry_client()
print("client", client)
if client is not None:
    client.flush(terminate=True)
"""


def _run(shell, program: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=shell.folder, env=shell.environment | variables,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("first", ["mlflow", pytest.param("penstock", marks=pytest.mark.long)])
def test_mlflow_sends_nothing_whichever_is_imported_first(shell, first: str) -> None:
    shell.recorded.unlink(missing_ok=True)
    (shell.folder / "mlflow.db").unlink(missing_ok=True)
    assert _run(shell, _REGISTER.format(first=first)).strip() == "client None"
    assert shell.outside() == set()


@pytest.mark.long
def test_who_wants_it_switches_it_on_and_then_it_is_recorded(shell) -> None:
    # So the tests that see no name would see one.
    (shell.folder / "mlflow.db").unlink(missing_ok=True)
    _run(shell, _REGISTER.format(first="penstock"), MLFLOW_DISABLE_TELEMETRY="false")
    assert [name for name in shell.outside() if "mlflow" in name]


def test_every_variable_reaches_the_processes_that_a_step_starts(shell) -> None:
    program = "import penstock, subprocess; print(subprocess.check_output('env', text=True))"
    lines = _run(shell, program).splitlines()
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    assert telemetry.OFF.items() <= environment.items()


def test_onnx_runtime_leaves_no_device_id(shell, tmp_path: Path) -> None:
    # Native code sends it: the recorded names, which are Python's, would not show it.
    program = "import penstock, onnxruntime; print(onnxruntime.__version__)"
    assert _run(shell, program, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path)).strip()
    assert list(tmp_path.rglob("*")) == []


def test_the_images_switch_it_off_too() -> None:
    text = (Path(__file__).parents[2] / "images/Dockerfile").read_text()
    runtime = text.partition(" AS runtime\n")[2].partition("\nFROM ")[0]
    for name, value in telemetry.OFF.items():
        assert f"{name}={value}" in runtime


@pytest.mark.long
@pytest.mark.slow
def test_native_code_asks_nobody_either(shell) -> None:
    """The system calls themselves: no connection leaves, and no name server is asked, not even one
    on this machine."""
    strace = program("strace", package="strace")
    project = prepare(shell, "traced")
    calls = shell.folder / "calls"
    # strace ends with the last process it follows: what serves has to be stopped as well.
    script = 'set -e; "$1" run "$2"; "$1" stop "$2"'
    penstock = str(Path(sys.executable).with_name("penstock"))
    done = subprocess.run(
        [strace, "-f", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o",
         str(calls), "sh", "-c", script, "sh", penstock, str(project)],
        cwd=shell.folder, env=shell.environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    text = calls.read_text(errors="replace")
    assert re.search(r'inet_addr\("127\.0\.0\.1"\)', text)
    assert set(re.findall(r'inet_addr\("([^"]+)"\)', text)) <= {"127.0.0.1"}
    assert set(re.findall(r'inet_pton\(AF_INET6, "([^"]+)"', text)) <= {"::1"}
    assert "htons(53)" not in text
