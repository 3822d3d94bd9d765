"""What `images/slim.py` deletes, what it refuses, and that what it strips can still be loaded."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

RULES = """
folders = ["tests"]
suffixes = [".pyx"]
[libraries.Some_Thing]
why = "It is not used."
paths = ["thing/extra", "thing/data/*"]
keep = ["kept", "*.json"]
[libraries.another]
why = "It is not installed."
paths = ["another/none"]
"""

pytestmark = pytest.mark.skipif(
    not shutil.which("strip"),
    reason="NOT TESTED: strip is not here. On Debian or Ubuntu: apt install binutils",
)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Where a library is installed, and the rules beside it."""
    (tmp_path / "rules.toml").write_text(RULES)
    folder = tmp_path / "site-packages"
    for name in (
        "some_thing-1.0.dist-info/METADATA", "thing/__init__.py", "thing/fast.pyx",
        "thing/tests/test_it.py", "thing/extra/big", "thing/data/kept/x", "thing/data/other/x",
        "thing/data/all.json",
    ):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def _slim(packages: Path, *options: str) -> subprocess.CompletedProcess[str]:
    rules = packages.parent / "rules.toml"
    return subprocess.run(
        [sys.executable, ROOT / "images" / "slim.py", rules, packages, *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_it_deletes_what_is_listed_and_nothing_else(packages: Path) -> None:
    done = _slim(packages, "--strict")
    assert (done.returncode, done.stderr) == (0, "")
    left = {str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()}
    assert left == {
        "some_thing-1.0.dist-info/METADATA", "thing/__init__.py", "thing/data/kept/x",
        "thing/data/all.json",
    }  # fmt: skip


def test_a_path_that_names_nothing_is_an_error(packages: Path) -> None:
    shutil.rmtree(packages / "thing" / "extra")
    for options, code in (((), 0), (("--strict",), 1)):
        done = _slim(packages, *options)
        assert done.returncode == code
        assert "rules.toml names what is not there: Some_Thing: thing/extra\n" in done.stderr


@pytest.mark.parametrize("pattern", ["numpy.libs/libscipy_openblas*", "uvloop/loop.*.so"])
def test_what_is_stripped_can_be_loaded(packages: Path, pattern: str) -> None:
    """The first is one that `strip` would spoil: segments were appended to it."""
    numpy = importlib.util.find_spec("numpy")
    assert numpy is not None
    assert numpy.origin is not None
    installed = Path(numpy.origin).parents[1]
    (library,) = installed.glob(pattern)
    needed = [
        other for other in library.parent.glob("*.so*") if library.parent.name == "numpy.libs"
    ]
    for other in needed or [library]:
        shutil.copy(other, packages)
    before = library.stat().st_size
    assert _slim(packages).returncode == 0
    taken = packages / library.name
    assert taken.stat().st_size <= before
    load = f"import ctypes; ctypes.PyDLL({str(taken)!r})"
    subprocess.run([sys.executable, "-c", load], check=True)
