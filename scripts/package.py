"""Build the wheel and the sdist into dist/, and try the wheel in environments of its own.

As a stranger does it: install the wheel bare, do what an error says, and release the example. Exit
with 1 at the first thing that is not as it must be.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
UV = Path(sys.executable).with_name("uv")
FACE = "from penstock.components.validate import validate"

QUICK = {
    "training": {"trials": 2, "folds": 2, "candidates": ["linear", "hist_gradient_boosting"]},
    "deployment": {"port": 0},
}
"""Settings with which the example is released in twenty seconds, on any free port."""


class Environment:
    """A new virtual environment with the wheel in it.

    Args:
        folder: Where to make it.
        extra: What to install with the wheel; empty installs it bare.
    """

    def __init__(self, folder: Path, *, extra: str = "") -> None:
        self._bin = folder / "bin"
        run(UV, "venv", "--quiet", "--python", sys.executable, folder)
        wheel = f"{_built('*.whl')}[{extra}]" if extra else _built("*.whl")
        run(
            UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", self._bin / "python",
            "--constraint", ROOT / "requirements.lock", wheel,
        )  # fmt: skip

    def penstock(self, *arguments: str, where: Path) -> str:
        """Return what a command prints; it has to succeed."""
        return run(self._bin / "penstock", *arguments, where=where)

    def python(self, code: str, *, where: Path) -> None:
        """Run a line of Python; it has to succeed."""
        run(self._bin / "python", "-W", "error::ImportWarning", "-c", code, where=where)

    def refused(self, *arguments: str, where: Path) -> str:
        """Return the extra that the one sentence of an error names.

        Args:
            arguments: A program of the environment and its arguments.
            where: The folder to run it in.
        """
        done = _process(self._bin / arguments[0], *arguments[1:], where=where)
        lines = done.stderr.strip().splitlines()
        _require(done.returncode == 1, f"{arguments} ended with {done.returncode}: {done.stderr}")
        if arguments[0] == "penstock":
            _require(len(lines) == 1, f"{arguments} said more than a sentence: {done.stderr}")
        found = re.search(r"is not installed\. Install it with: pip install 'penstock\[(\w+)\]'$",
                          lines[-1])  # fmt: skip
        _require(found is not None, f"{arguments} named no extra: {done.stderr}")
        assert found is not None
        return found[1]


def main() -> int:
    """Build, compare and try."""
    _build()
    with tempfile.TemporaryDirectory(prefix="penstock-package-") as scratch:
        place = Path(scratch)
        table = place / "my.csv"
        table.write_text("x,y\n" + "".join(f"{n},{n % 2}\n" for n in range(200)), encoding="utf-8")
        (place / "known.yaml").write_text(
            "name: known\ntarget: y\nsource: {uri: https://example.org/my.csv}\n", encoding="utf-8"
        )
        composing, whole = _bare(place)
        _composing(place, extra=composing)
        _whole(place, extra=whole)
    print(f"Built and tried: {', '.join(sorted(path.name for path in DIST.glob('penstock-*')))}")
    return 0


def _build() -> None:
    """Build the sdist, the wheel from it, and a wheel from the tree: both wheels hold the same."""
    shutil.rmtree(DIST, ignore_errors=True)
    isolated = ("--quiet", "--no-build-isolation", "--python", sys.executable)
    run(UV, "build", *isolated, "--out-dir", DIST, ROOT)
    # What setuptools left in build/ from another day would be taken into a wheel of the tree.
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        run(UV, "build", *isolated, "--wheel", "--out-dir", scratch, ROOT)
        ours = _members(next(Path(scratch).glob("*.whl")))
    theirs = _members(_built("*.whl"))
    different = sorted(
        name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
    )
    _require(not different, f"the wheel from the sdist is another in {', '.join(different)}")
    with tarfile.open(_built("*.tar.gz")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for needed in ("LICENSE", "README.md", "pyproject.toml", "penstock/reports/page.css"):
        _require(needed in names, f"the sdist lacks {needed}")


def _bare(place: Path) -> tuple[str, str]:
    """Return the extras that composing and everything else ask for where there is none."""
    bare = Environment(place / "bare")
    _require(bare.penstock("--version", where=place).startswith("penstock "), "no version")
    composing = {
        bare.refused("penstock", "compile", "known.yaml", where=place),
        bare.refused("penstock", "schedule", "list", "--host", "http://127.0.0.1:9", where=place),
        bare.refused("python", "-c", FACE, where=place),
    }
    whole = {
        bare.refused("penstock", "init", "my.csv", "--target", "y", where=place),
        bare.refused("penstock", "run", "known.yaml", where=place),
        bare.refused("penstock", "example", "example", where=place),
        bare.refused("python", "-c", "from penstock.data.ingest import ingest", where=place),
    }
    _require(len(composing) == len(whole) == 1, f"one want, two extras: {composing}, {whole}")
    return composing.pop(), whole.pop()


def _composing(place: Path, *, extra: str) -> None:
    environment = Environment(place / extra, extra=extra)
    environment.python(FACE, where=place)
    environment.penstock("compile", "known.yaml", "-o", "known-release.yaml", where=place)
    environment.refused("penstock", "init", "my.csv", "--target", "y", where=place)


def _whole(place: Path, *, extra: str) -> None:
    environment = Environment(place / extra, extra=extra)
    environment.python(FACE, where=place)
    environment.penstock("init", "my.csv", "--target", "y", where=place)
    environment.penstock("compile", where=place)
    environment.penstock("example", "example", "--rows", "6000", where=place)
    project = place / "example" / "project.yaml"
    quick = yaml.safe_load(project.read_text(encoding="utf-8")) | QUICK
    project.write_text(yaml.safe_dump(quick), encoding="utf-8")
    try:
        said = environment.penstock("run", "example/project.yaml", where=place)
        _require("RELEASED" in said, f"the example was not released: {said}")
    finally:
        stopped = environment.penstock("stop", "example/project.yaml", where=place)
    _require("Stopped" in stopped, "nothing was left serving")


def run(*command: str | Path, where: Path = ROOT) -> str:
    """Run a command that has to succeed and return what it prints."""
    done = _process(*command, where=where)
    _require(done.returncode == 0, f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def _process(*command: str | Path, where: Path) -> subprocess.CompletedProcess[str]:
    # Of this environment nothing is to be seen in the new ones.
    hidden = ("PYTHON", "PENSTOCK", "MLFLOW", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    return subprocess.run(
        [str(part) for part in command],
        cwd=where,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def _built(pattern: str) -> Path:
    return next(DIST.glob(pattern))


def _members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"package: {otherwise}")


if __name__ == "__main__":
    sys.exit(main())
