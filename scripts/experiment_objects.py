"""Write manifests/checks/optional/experiment.yaml, or check it with --check.

It is what `penstock experiment start` makes on a cluster, for `make manifests-check` to hold
against schemas, policies and manifests/components/experiments.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from penstock.captures.spec import ShippedCapturesSpec
from penstock.rollout.backends.kserve import proxy_manifests
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.spec import KserveSpec
from penstock.rollout.state import AssignedUsers, Assignment

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "manifests/checks/optional/experiment.yaml"

_HEAD = """\
# Made by scripts/experiment_objects.py. Not for a cluster: an example of what
# `penstock experiment start` makes there.
"""


def written() -> list[dict[str, Any]]:
    """Return the objects of an experiment."""
    users = AssignedUsers(identity="2-experiment-0", salt="salt", header="x-user-id")
    stable, candidate = (
        ClusterArm(
            version=version,
            name=f"shop-v{version}",
            backend=f"shop-v{version}-predictor",
            uri=f"models:/shop/{version}",
            model="sha256:0",
            storage=f"s3://models/shop/{version}",
        )
        for version in (1, 2)
    )
    state = ClusterState(
        service="shop",
        token="none",  # noqa: S106
        stable=stable,
        candidate=candidate,
        weight=20,
        assignment=Assignment(experiment=users),
    )
    captures = ShippedCapturesSpec(
        destination="s3://bucket/captures",
        secret="captures-store",  # noqa: S106
    )
    spec = KserveSpec(captures=captures)
    runtime = {"spec": {"containers": [{"name": "kserve-container", "image": "penstock/serving"}]}}
    return [
        proxy_manifests.service_object(state, spec=spec),
        proxy_manifests.deployment(state, spec=spec, runtime=runtime),
    ]


def main(*options: str) -> int:
    """Write the file, or compare it."""
    text = _HEAD + yaml.safe_dump_all(written(), sort_keys=False, width=1000)
    if "--check" not in options:
        PATH.write_text(text, encoding="utf-8")
        return 0
    if PATH.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PATH.relative_to(ROOT)} is not what is made now. Write it: make catalogue")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
