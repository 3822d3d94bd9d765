"""Write a software bill of materials (CycloneDX JSON) of each image below build/sbom.

With syft installed it is of the whole image. Otherwise it is of the Python environment in it alone,
read from the image, and the base's Debian packages are not listed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent.parent / "build" / "sbom"
ENVIRONMENT = "/opt/penstock"


def main() -> int:
    """Write one file for each image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", help="references of images that are built")
    parser.add_argument("--docker", default="docker", help="the client to use (%(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder (%(default)s)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for image in options.images:
        path = options.output / f"{image.rpartition('/')[2].partition(':')[0]}.json"
        if shutil.which("syft"):
            _run("syft", f"docker:{image}", "--output", f"cyclonedx-json={path}")
            held = "whole image"
        else:
            _of_environment(options.docker, image, path)
            held = "Python environment alone: install syft to list Debian's packages too"
        count = len(json.loads(path.read_text(encoding="utf-8"))["components"])
        print(f"{path}: {count} components ({held})")
    return 0


def _of_environment(docker: str, image: str, path: Path) -> None:
    container = _run(docker, "create", image)
    try:
        with tempfile.TemporaryDirectory() as place:
            _run(docker, "cp", f"{container}:{ENVIRONMENT}/lib", place)
            packages = [str(found) for found in Path(place).glob("lib/python*/site-packages")]
            # It is asked for its path alone, and the image's own would not start here.
            stand_in = Path(place) / "python"
            stand_in.write_text(f"#!/bin/sh\necho '{json.dumps(packages)}'\n", encoding="utf-8")
            stand_in.chmod(0o700)
            tool = Path(sys.executable).with_name("cyclonedx-py")
            _run(
                str(tool), "environment", "--output-reproducible", "--of", "JSON",
                "-o", str(path), str(stand_in),
            )  # fmt: skip
    finally:
        _run(docker, "rm", container)


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
