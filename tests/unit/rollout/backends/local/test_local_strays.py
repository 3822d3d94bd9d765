"""Processes that an earlier release started, under the names that its modules had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.processes.identity import exists
from penstock.rollout.backends.local.services import stop
from penstock.rollout.backends.local.state import ServiceFolder

SLEEPS = 'import time\nprint("up", flush=True)\ntime.sleep(60)\n'


@pytest.mark.parametrize("module", ["penstock.rollout.routers.splitter", "penstock.serving.drill"])
def test_what_runs_under_a_former_module_is_ended(tmp_path: Path, module: str) -> None:
    """The module is not there any more: a stub of its name stands for it, as a real process."""
    *packages, name = module.split(".")
    package = tmp_path / "earlier"
    for part in packages:
        package /= part
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
    (package / f"{name}.py").write_text(SLEEPS)
    folder = ServiceFolder(tmp_path / "home", "adult")
    folder.make()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, "--port", "0", "--token-file", str(folder.token)],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "earlier")},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            # No state names it, as where the one that started it was killed.
            assert stop(tmp_path / "home") == [f"adult: process {process.pid}, left behind"]
        finally:
            process.kill()
    assert not exists(process.pid)
