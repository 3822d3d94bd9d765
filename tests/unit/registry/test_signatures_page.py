"""docs/signatures.md: its commands in their order, with openssl and model-signing's own command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from documented import Walk
from running_process import LOOPBACK, RunningProcess, answers, free_port

from penstock.registry import versions

URI = "models:/adult/1"


@pytest.mark.long
def test_the_page_of_signatures_is_walked(
    registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    registry.registered()
    version = versions.registered(URI, tracking_uri=registry.uri)
    ours = ("models:/loans/2", URI)
    with Walk("docs/signatures.md", tmp_path) as walk:
        walk.run("mkdir")
        for _ in range(2):
            walk.run("openssl")
        walk.run("export PENSTOCK_SIGNING_KEY")
        assert f"{URI} is signed by key" in walk.run("penstock sign", ours)
        assert "signed for servers" in walk.run("penstock verify", ours)
        versions.fetch(URI, tracking_uri=registry.uri, destination=tmp_path / "model")
        walk.run("model_signing verify")
        port = free_port()
        line = walk.take(
            "python -m penstock.serving",
            ("--name loans --version 2", "--name adult --version 1"),
            ("sha256:...", f"{version.model} --export {version.export}"),
            ("8080", str(port)),
        )
    serve, log = walk.script(line), tmp_path / "log"
    with RunningProcess(serve, log=log, cwd=tmp_path, env=walk.environment()) as server:
        server.wait_until(lambda: answers(f"http://{LOOPBACK}:{port}/v2/health/ready"))
    assert "version 1 of adult is signed by key" in server.output()
    # A file that somebody adds afterwards ends it with the sentence that the page has.
    (tmp_path / "model" / "extra.py").write_text("import os")
    refused = RunningProcess(serve, log=log, cwd=tmp_path, env=walk.environment())
    assert refused.wait(300) == 1
    assert "error: " in refused.output()
