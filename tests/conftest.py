"""What every test may use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# Components read where their images are when they are imported: what somebody pushed from here must
# not change what the tests see.
for _name in [name for name in os.environ if name.startswith("PENSTOCK_IMAGE")]:
    del os.environ[_name]
os.environ["PENSTOCK_IMAGE_PREFIX"] = "penstock"

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it where nobody misses it when the images were not tested."""
    skipped = [
        report
        for report in terminalreporter.getreports("skipped")
        if report.nodeid.startswith("tests/image/")
    ]
    if not skipped:
        return
    terminalreporter.section("THE IMAGES WERE NOT TESTED", sep="!", red=True, bold=True)
    for reason in sorted({str(report.longrepr[2]) for report in skipped}):
        terminalreporter.write_line(reason.removeprefix("Skipped: "), red=True)
    terminalreporter.write_line(
        f"{len(skipped)} tests of them did not run: make test-images", red=True
    )
