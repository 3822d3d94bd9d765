"""A Kubeflow for tests, and a project to hand to it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp_server import KfpServer

from penstock.pipelines.cli import main


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ENDPOINT", "UI_ENDPOINT", "SA_TOKEN_PATH", "OVERRIDE_EXPERIMENT_NAME"):
        monkeypatch.delenv(f"KF_PIPELINES_{name}", raising=False)
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))


@pytest.fixture
def kfp_server() -> Iterator[KfpServer]:
    server = KfpServer().start()
    yield server
    server.stop()
    assert server.broken == []


@pytest.fixture
def project_file(tmp_path: Path) -> Callable[..., Path]:
    """`project_file(**changes)` writes a project whose table the cluster can reach."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "wine.yaml"
        plain = {"name": "wine", "target": "quality", "source": {"uri": "s3://bucket/wine.csv"}}
        path.write_text(yaml.safe_dump(plain | changes))
        return path

    return write


@dataclasses.dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def penstock(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`penstock("submit", …)` runs the command line in this process."""

    def run(*arguments: object) -> Done:
        capfd.readouterr()
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Done(code, out, err)

    return run


@pytest.fixture
def start_penstock(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """`start_penstock("submit", …)` runs the command line in a process of its own."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "penstock"), *map(str, arguments)],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
