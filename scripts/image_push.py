"""Push the images to a registry, and write what the registry calls them to images/digests.json.

`penstock.components` takes the references from that file: see components/_image.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import penstock
from penstock.common import files

ROOT = Path(__file__).resolve().parent.parent
DIGESTS = ROOT / "images" / "digests.json"
IMAGES = ("data", "train", "deploy", "serving", "monitor", "score", "mlflow")


def main() -> int:
    """Push, then write; a push that fails leaves the old file as it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("registry", help="for example registry.internal:5000/ml")
    parser.add_argument("--docker", default="docker", help="the client to use (%(default)s)")
    parser.add_argument("--output", type=Path, default=DIGESTS, help="the digest file")
    options = parser.parse_args()
    registry = options.registry.rstrip("/")
    references = {name: pushed(name, registry=registry, docker=options.docker) for name in IMAGES}
    content = {"version": penstock.__version__, "images": references}
    files.write_text(options.output, json.dumps(content, indent=2) + "\n")
    print(f"Wrote {options.output}: components now name these digests. Overlays name theirs.")
    return 0


def pushed(name: str, *, registry: str, docker: str = "docker") -> str:
    """Push one image, and return its reference there, by its digest."""
    repository = f"{registry}/{name}"
    tag = f"{repository}:{penstock.__version__}"
    _run(docker, "tag", f"penstock/{name}:{penstock.__version__}", tag)
    _run(docker, "push", tag)
    return _digest(docker, tag, repository)


def _digest(docker: str, tag: str, repository: str) -> str:
    """Return `repository@sha256:...`; an image that was pushed twice has one for each registry."""
    done = subprocess.run(
        [docker, "image", "inspect", "--format", "{{json .RepoDigests}}", tag],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    for reference in json.loads(done.stdout) or []:
        # Docker Hub's own name is left out there.
        if reference.startswith(f"{repository.removeprefix('docker.io/')}@"):
            return str(reference)
    raise SystemExit(f"{repository} named no digest for {tag}: it was not pushed there")


def _run(*command: str) -> None:
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    sys.exit(main())
