"""Write manifests/checks/optional/engine.yaml, or check it with --check.

It is what a step makes on a cluster by `engine.on: kubernetes`, for `make manifests-check` to hold
against the operator's schema, our policies and manifests/components/engine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

import penstock
from penstock.data.engine.dask_cluster import dask_cluster
from penstock.data.engine.spec import EngineSpec

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "manifests/checks/optional/engine.yaml"

_HEAD = """\
# Made by scripts/engine_objects.py. Not for a cluster: an example of what a step makes there by
# `engine.on: kubernetes`.
"""


def written() -> dict[str, Any]:
    """Return the cluster of a step."""
    pod = {
        "metadata": {
            "name": "release-1",
            "namespace": "kubeflow",
            "uid": "1",
            "labels": {"pipeline/runid": "1"},
        },
        "spec": {
            "serviceAccountName": "penstock-pipeline",
            "containers": [{"name": "main", "image": f"penstock/data:{penstock.__version__}"}],
        },
    }
    names = [
        "ca-file",
        *(f"{role}.{of}" for role in ("scheduler", "worker") for of in ("key", "cert")),
    ]
    return dask_cluster(
        pod,
        spec=EngineSpec(name="dask", on="kubernetes", workers=2),
        tls=dict.fromkeys(names, "of this cluster alone"),
    )


def main(*options: str) -> int:
    """Write the file, or compare it."""
    text = _HEAD + yaml.safe_dump(written(), sort_keys=False, width=1000)
    if "--check" not in options:
        PATH.write_text(text, encoding="utf-8")
        return 0
    if PATH.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PATH.relative_to(ROOT)} is not what is made now. Write it: make catalogue")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
