"""Where a deployment's captured rows lie."""

from __future__ import annotations

from pathlib import Path

from penstock.common.claims import CLAIM
from penstock.errors import InputError
from penstock.rollout.spec import DeploymentSpec


def captures_of(spec: DeploymentSpec, *, service: str, home: Path) -> str | Path:
    """Return what `penstock.captures.reader.read_window` reads the rows of a service from.

    Args:
        spec: How the service is deployed.
        service: Its name.
        home: Folder of this machine that keeps what a local service needs.

    Raises:
        InputError: If it is on a cluster that ships no rows, or into a claim, which only a pod
            reaches.
    """
    if spec.router == "local":
        return home.resolve() / "serving" / service / "captures"
    destination = spec.kserve.captures.destination
    if not destination:
        raise InputError(
            "the model servers of the cluster capture nothing",
            where="deployment.kserve.captures.destination",
            remedy="Name a store, for example s3://bucket/captures, and release again.",
        )
    if destination.startswith(CLAIM):
        raise InputError(
            "a claim of the cluster is reached from its pods alone",
            where=f"deployment.kserve.captures.destination: {destination}",
            remedy="Mount it, and name the folder of the service in it with --at.",
        )
    return f"{destination.rstrip('/')}/{service}"
