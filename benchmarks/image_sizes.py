"""What the packages of each built image weigh, and the whole image, beside what they may.

The packages are /opt/penstock: Python's libraries, their bytecode and Penstock itself. Their size
is the sum of the bytes of its files, as the image's own Python counts them; the whole image is what
the engine says. 1 MB is a million bytes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from targets import Target, report

MOST = {"train": 520, "data": 410, "serving": 350, "deploy": 200, "monitor": 520, "score": 600}
"""MB of packages."""

COUNT = """
import os
print(sum(
    os.lstat(os.path.join(folder, name)).st_size
    for folder, _, names in os.walk("/opt/penstock") for name in names
))
"""


@dataclass(frozen=True)
class Size:
    """Megabytes of an image."""

    packages: float
    whole: float


def main() -> int:
    """Print a line for each image, the targets, and with --json write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", metavar="NAME=REFERENCE")
    parser.add_argument("--docker", default="docker")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    named = dict(one.split("=", 1) for one in options.images)
    sizes = {name: _size(options.docker, reference) for name, reference in named.items()}
    print(f"{'image':12} {'packages':>12} {'whole':>12}")
    for name, size in sizes.items():
        print(f"{name:12} {size.packages:9.0f} MB {size.whole:9.0f} MB")
    return report(
        "image-sizes",
        question=" ".join(str(__doc__).split()),
        figures={name: asdict(size) for name, size in sizes.items()},
        targets=[
            Target(f"packages of the image {name}", sizes[name].packages, most, "MB")
            for name, most in MOST.items()
        ],
        path=options.json,
    )


def _size(docker: str, reference: str) -> Size:
    inside = [docker, "run", "--rm", "--entrypoint", "python", reference, "-c", COUNT]
    whole = [docker, "image", "inspect", "--format", "{{.Size}}", reference]
    return Size(packages=_number(inside) / 1e6, whole=_number(whole) / 1e6)


def _number(command: list[str]) -> float:
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    sys.exit(main())
