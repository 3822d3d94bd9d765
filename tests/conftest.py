"""What every test may use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
SHARED = Path(__file__).parents[2] / "shared" / "data"


@dataclass
class Shell:
    """Runs the installed command line in a folder of its own."""

    folder: Path

    def __call__(self, *arguments: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "PENST"))}
        return subprocess.run(
            [str(BIN / "penstock"), *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A command line whose folder's servers are ended afterwards."""
    made = Shell(tmp_path_factory.mktemp("project"))
    yield made
    for project in made.folder.rglob("project*.yaml"):
        made("stop", str(project))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real tables; a test that needs it says so when it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real tables are not here: {SHARED}")
    return SHARED
