"""Write images/locks/*.txt, what each image installs, from its extra and requirements.lock.

What images/left-out.toml names is left out of them, though another library requires it.

With --check, need no network, write nothing, and exit with 1 if a lock pins what requirements.lock
does not, or lacks what its extra names. With --wheels, ask the package index whether each lock can
be installed from wheels on both platforms, download none, and exit with 1 if one cannot.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
LOCKS = ROOT / "images" / "locks"
LEFT_OUT = ROOT / "images" / "left-out.toml"
IMAGES = {
    "data": True,
    "train": True,
    "deploy": True,
    "serving": False,
    "monitor": True,
    "score": True,
    "mlflow": False,
    "boosting": False,
    "feast": True,
}
"""The images, and whether components run in them; `boosting` is added to train, in a variant."""

ALONE = {"feast": ROOT / "images" / "feast.in"}
"""Images whose libraries do not go with those of requirements.lock, and what names them."""

# What executes a component is kfp alone: its dependencies are for compiling and submitting, and
# their pins would reach every image.
_KFP = "kfp"

# What images/Dockerfile compiles where the index has no wheel of it.
_COMPILED = {"x86_64-unknown-linux-gnu": [], "aarch64-unknown-linux-gnu": ["--no-binary", "psutil"]}


@dataclass(frozen=True)
class Pin:
    """One release in a lock.

    Attributes:
        name: The distribution, in normal form.
        version: Its version.
        hashes: Of its files.
        text: The lines of the lock, without where it comes from.
    """

    name: str
    version: str
    hashes: frozenset[str]
    text: str


def main() -> int:
    """Write or check the locks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--wheels", action="store_true")
    options = parser.parse_args()
    if options.check or options.wheels:
        look = _problems if options.check else _without_wheels
        problems = [problem for image in IMAGES for problem in look(image)]
        for problem in problems:
            print(problem)
        return 1 if problems else 0
    LOCKS.mkdir(parents=True, exist_ok=True)
    for image in IMAGES:
        _write(image)
    return 0


def _write(image: str) -> None:
    path = LOCKS / f"{image}.txt"
    # Without an old one to prefer, the constraint alone decides.
    path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as place:
        excludes = Path(place) / "excludes.txt"
        excludes.write_text("".join(f"{name}\n" for name in left_out(image)), encoding="utf-8")
        command = [
            Path(sys.executable).with_name("uv"), "pip", "compile", "--quiet", "--universal",
            "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate",
            *_asked(image), "--excludes", excludes, "pyproject.toml",
            "--output-file", path.relative_to(ROOT),
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, check=True)
    if IMAGES[image]:
        pin = next(pin for pin in _pins(LOCK) if pin.name == _KFP)
        with path.open("a", encoding="utf-8") as lock:
            lock.write(pin.text)


def _asked(image: str) -> list[str | Path]:
    """Return what the resolver is told of an image beside pyproject.toml."""
    if image in ALONE:
        return [ALONE[image]]
    return ["--extra", image, "--constraint", LOCK.name]


def left_out(image: str) -> frozenset[str]:
    """Return the distributions that an image does without, in normal form."""
    listed = tomllib.loads(LEFT_OUT.read_text(encoding="utf-8"))["without"]
    return frozenset(canonicalize_name(name) for name in listed.get(image, ()))


def _problems(image: str) -> Iterator[str]:
    for problem in _differences(image):
        yield f"{problem}: run `make lock-images`."


def _without_wheels(image: str) -> Iterator[str]:
    path = LOCKS / f"{image}.txt"
    for platform, compiled in _COMPILED.items():
        with tempfile.TemporaryDirectory() as place:
            command = [
                Path(sys.executable).with_name("uv"), "pip", "sync", "--dry-run", "--quiet",
                "--python", sys.executable, "--python-version", "3.11",
                "--python-platform", platform, "--only-binary", ":all:", *compiled,
                "--require-hashes", "--target", place, path,
            ]  # fmt: skip
            done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            said = " ".join(done.stderr.split())
            yield f"{path.relative_to(ROOT)} on {platform} with Python 3.11: {said}"


def _differences(image: str) -> Iterator[str]:
    path = LOCKS / f"{image}.txt"
    title = path.relative_to(ROOT)
    if not path.exists():
        yield f"{title} is not there"
        return
    known = {(pin.name, pin.version): pin for pin in _pins(LOCK)}
    pinned: dict[str, list[str]] = {}
    for pin in _pins(path):
        pinned.setdefault(pin.name, []).append(pin.version)
        if image not in ALONE or pin.name == _KFP:
            yield from _strayed(pin, known, title)
    for name in sorted(left_out(image) & pinned.keys()):
        yield f"{title} pins {name}, which {LEFT_OUT.relative_to(ROOT)} leaves out"
    for name in sorted(left_out(image) - {pin.name for pin in known.values()}):
        yield f"{LEFT_OUT.relative_to(ROOT)} leaves out {name}, which nothing requires"
    for wanted in _wanted(image):
        versions = pinned.get(canonicalize_name(wanted.name), [])
        if not versions or not all(wanted.specifier.contains(version) for version in versions):
            asking = ALONE.get(image, ROOT / "pyproject.toml").name
            yield f"{title} lacks {wanted}, which {asking} requires"
    if IMAGES[image] and _KFP not in pinned:
        yield f"{title} lacks {_KFP}, which executes the components"


def _strayed(pin: Pin, known: Mapping[tuple[str, str], Pin], title: Path) -> Iterator[str]:
    origin = known.get((pin.name, pin.version))
    if origin is None:
        yield f"{title} pins {pin.name} {pin.version}, which requirements.lock does not"
    elif not pin.hashes or pin.hashes - origin.hashes:
        yield f"{title} has other hashes of {pin.name} than requirements.lock"


def _wanted(image: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if image in ALONE:
        lines = ALONE[image].read_text(encoding="utf-8").splitlines()
        own = [line for line in lines if line and not line.startswith("#")]
    else:
        own = project["optional-dependencies"][image]
    return [Requirement(name) for name in (*project["dependencies"], *own)]


def _pins(path: Path) -> Iterator[Pin]:
    for entry in re.split(r"\n(?=[A-Za-z0-9])", path.read_text(encoding="utf-8")):
        found = re.match(r"([A-Za-z0-9._-]+)==(\S+)", entry)
        if found:
            lines = [line for line in entry.splitlines() if not line.strip().startswith("#")]
            yield Pin(
                name=canonicalize_name(found[1]),
                version=found[2],
                hashes=frozenset(re.findall(r"--hash=(\S+)", entry)),
                text="\n".join(lines) + "\n",
            )


if __name__ == "__main__":
    sys.exit(main())
