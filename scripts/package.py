"""Build the wheel and the sdist into dist/, and try the wheel in environments of its own.

Both are the same bytes wherever the same commit is built. The wheel is tried as a stranger does it:
install it bare, do what an error says, and release the example. Exit with 1 at the first thing that
is not as it must be.
"""

from __future__ import annotations

import functools
import gzip
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
    """Build sdist and wheel; one of the tree holds the same, and so does what is built again."""
    shutil.rmtree(DIST, ignore_errors=True)
    # What setuptools left from another day would be taken in.
    for left in (ROOT / "build" / "lib", ROOT / "penstock.egg-info"):
        shutil.rmtree(left, ignore_errors=True)
    # A wheel has the modes of the files that it was made of.
    os.umask(0o022)
    _build_from(ROOT, DIST)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        _uv_build("--wheel", "--out-dir", place / "of-the-tree", ROOT)
        ours, theirs = _members(_built("*.whl", place / "of-the-tree")), _members(_built("*.whl"))
        different = sorted(
            name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
        )
        _require(not different, f"the wheel from the sdist is another in {', '.join(different)}")
        _build_again(place)
    with tarfile.open(_built("*.tar.gz")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for needed in ("LICENSE", "README.md", "pyproject.toml", "penstock/reports/page.css"):
        _require(needed in names, f"the sdist lacks {needed}")


@functools.cache
def _epoch() -> int:
    """Return the time that every file of the archives gets: the commit's, where none is given."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or run("git", "log", "-1", "--format=%ct"))


def _build_from(tree: Path, output: Path) -> None:
    """Build the sdist of a tree, and the wheel from the sdist."""
    _uv_build("--sdist", "--out-dir", output, tree)
    sdist = _built("*.tar.gz", output)
    _without_traces(sdist)
    _uv_build("--wheel", "--out-dir", output, sdist)


def _build_again(place: Path) -> None:
    """Build from the sdist what was built from the tree: other times and modes, the same bytes."""
    with tarfile.open(_built("*.tar.gz")) as sdist:
        sdist.extractall(place, filter="data")
    tree = next(place.glob("penstock-*"))
    # What setuptools added to the sdist is not in a checkout.
    shutil.rmtree(tree / "penstock.egg-info")
    for made in ("PKG-INFO", "setup.cfg"):
        (tree / made).unlink()
    for path in tree.rglob("*"):
        path.chmod(0o700 if path.is_dir() or path.stat().st_mode & 0o100 else 0o600)
        os.utime(path)
    _build_from(tree, place / "again")
    for pattern in ("*.tar.gz", "*.whl"):
        first, again = _built(pattern), _built(pattern, place / "again")
        _require(first.read_bytes() == again.read_bytes(), f"{first.name} built again is another")


def _without_traces(sdist: Path) -> None:
    """Take out of an sdist what setuptools leaves in it of the machine: times, owners and modes."""
    clean = sdist.with_suffix(".clean")
    with (
        tarfile.open(sdist) as archive,
        clean.open("wb") as raw,
        # The header of gzip has a name and a time as well.
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=_epoch()) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as again,
    ):
        for old in sorted(archive.getmembers(), key=lambda member: member.name):
            new = tarfile.TarInfo(old.name)
            new.type, new.size, new.mtime = old.type, old.size, _epoch()
            new.mode = 0o755 if old.isdir() or old.mode & 0o100 else 0o644
            again.addfile(new, archive.extractfile(old) if old.isfile() else None)
    clean.replace(sdist)


def _uv_build(*arguments: str | Path) -> None:
    build = (UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable)
    run(*build, *arguments, SOURCE_DATE_EPOCH=str(_epoch()))


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
    environment.penstock("init", "--ci", "github", "--backstage", "me", where=place)
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


def run(*command: str | Path, where: Path = ROOT, **variables: str) -> str:
    """Run a command that has to succeed and return what it prints."""
    done = _process(*command, where=where, **variables)
    _require(done.returncode == 0, f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def _process(
    *command: str | Path, where: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    # Of this environment nothing is to be seen in the new ones.
    hidden = ("PYTHON", "PENSTOCK", "MLFLOW", "VIRTUAL_ENV", "SOURCE_DATE_EPOCH")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    return subprocess.run(
        [str(part) for part in command],
        cwd=where,
        env=environment | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def _built(pattern: str, folder: Path = DIST) -> Path:
    return next(folder.glob(pattern))


def _members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"package: {otherwise}")


if __name__ == "__main__":
    sys.exit(main())
