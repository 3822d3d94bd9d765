"""What every test may use."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from needs import shared

from penstock import telemetry
from penstock.redaction import known_secrets

# Components read where their images are when they are imported: what somebody pushed from here must
# not change what the tests see.
for _name in [name for name in os.environ if name.startswith("PENSTOCK_IMAGE")]:
    del os.environ[_name]
os.environ["PENSTOCK_IMAGE_PREFIX"] = "penstock"

BIN = Path(sys.executable).parent
RECORDED = Path(__file__).parent / "recorded"

TESTED = (*telemetry.OFF, "CI", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TF_BUILD")
"""Variables that switch telemetry off: ours, which Penstock must set itself, and those of tests."""


def _is_here(name: str) -> bool:
    if name in ("", "None", "0.0.0.0", "::", "localhost", socket.gethostname(), socket.getfqdn()):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return False


@dataclass
class Shell:
    """Runs the installed command line in a folder of its own."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        ours = {"PYTHONPATH": str(RECORDED), "RECORDED_NAMES": str(self.recorded)}
        return ours | {
            name: value
            for name, value in os.environ.items()
            # A library that believes to be tested sends no telemetry whatever we do.
            if not name.startswith(("MLFLOW", "PENST", "PYTEST")) and name not in TESTED
        }

    @property
    def recorded(self) -> Path:
        """Where the names are that these commands looked up, and all that they started."""
        return self.folder.with_name(f"{self.folder.name}-names")

    def outside(self) -> set[str]:
        """Return the names and addresses of other machines that they looked up or connected to."""
        if not self.recorded.exists():
            return set()
        names = {line.split("\t")[0] for line in self.recorded.read_text().splitlines()}
        return {name for name in names if not _is_here(name)}

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command whose end is not waited for."""
        return subprocess.Popen(
            [str(BIN / "penstock"), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, *arguments: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "penstock"), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )


@pytest.fixture(autouse=True)
def _no_secret_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what other tests used as passwords: they are words, and would not be shown."""
    monkeypatch.setattr(known_secrets, "_known", set())
    monkeypatch.setattr(known_secrets, "_pattern", None)


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
    return shared("data")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Import skops in a worker while it is cheap: it looks for functions in every loaded module."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        import skops.io  # noqa: F401


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage: what is made by it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a worker whole modules: what one shares would else be built by each worker."""
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class ByModule(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return str(super()._split_scope(nodeid)).partition("::")[0]

    return ByModule(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the modules and groups that are slow, so that none is left for the end."""
    if config.getoption("loadgroup", default=False):
        slow = {_dealt_with(item) for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: _dealt_with(item) not in slow)


def _dealt_with(item: pytest.Item) -> str:
    """Return what is dealt out whole, and keeps its order: the test's group, or its module."""
    group = item.get_closest_marker("xdist_group")
    return str(group.args[0]) if group else item.nodeid.partition("::")[0]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run where the tests of a group would be spread over workers: they share a world."""
    # What was collected is no garbage: nobody need look for some in it, in any test.
    gc.collect()
    gc.freeze()
    if session.config.getoption("loadgroup", default=False):
        for item in session.items:
            if item.get_closest_marker("xdist_group") and "@" not in item.nodeid:
                raise pytest.UsageError(f"pytest-xdist did not group {item.nodeid}")


LOUD = {
    "tests/image/": ("THE IMAGES WERE NOT TESTED", "make test-images"),
    "tests/cluster/": ("NOT TESTED ON A CLUSTER", "KUBECONFIG=FILE make test-cluster"),
}
"""What must not be skipped in silence: what to say of it, and how it is run."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it where nobody misses it when images, a cluster or the long tests were left out."""
    if "not long" in terminalreporter.config.option.markexpr:
        terminalreporter.section("The long tests did not run: make test-all", sep="!")
    reports = terminalreporter.getreports("skipped")
    for folder, (title, command) in LOUD.items():
        skipped = _by_reason(report for report in reports if report.nodeid.startswith(folder))
        if skipped:
            _say(terminalreporter, title, skipped=skipped, command=command)
    others = _by_reason(report for report in reports if not report.nodeid.startswith(tuple(LOUD)))
    if others:
        _say(terminalreporter, "SKIPPED BESIDES", skipped=others, command="see the reasons")


def _by_reason(reports: Iterable[pytest.TestReport]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for report in reports:
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        found.setdefault(reason, []).append(report.nodeid.rpartition("::")[2])
    return found


def _say(
    reporter: pytest.TerminalReporter, title: str, *, skipped: dict[str, list[str]], command: str
) -> None:
    reporter.section(title, sep="!", red=True, bold=True)
    for reason, names in sorted(skipped.items()):
        reporter.write_line(f"{reason}  ({len(names)} tests)", red=True)
        for name in dict.fromkeys(name.partition("[")[0] for name in names):
            reporter.write_line(f"  {name}", red=True)
    count = sum(map(len, skipped.values()))
    reporter.write_line(f"{count} tests of them did not run: {command}", red=True)
