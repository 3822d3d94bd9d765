"""What a model server's pod needs to ship captured rows: arguments, volumes and time to end."""

from __future__ import annotations

from typing import Any

from penstock.captures.spec import GRACE, ShippedCapturesSpec
from penstock.common.claims import CLAIM, claim_of
from penstock.serving.server import STOP_SECONDS

SPOOL = "/var/spool/penstock"
_CLAIM = "/mnt/captures"
MEGABYTE = 1 << 20

PRE_STOP = 5
"""Seconds by which the ServingRuntime delays the SIGTERM of a pod."""


def arguments(spec: ShippedCapturesSpec) -> list[str]:
    """Return the arguments of a server that ships; none where no destination is set."""
    if not spec.destination:
        return []
    return [
        f"--capture={SPOOL}",
        f"--capture-to={address(spec)}",
        f"--capture-bytes={spec.segment_megabytes * MEGABYTE}",
        f"--capture-seconds={spec.segment_seconds:g}",
        f"--capture-spool-bytes={spec.spool_megabytes * MEGABYTE}",
        f"--capture-sample={spec.sample:g}",
    ]


def container(spec: ShippedCapturesSpec) -> dict[str, Any]:
    """Return the fields of its container."""
    if not spec.destination:
        return {}
    mounts = [{"name": "captures", "mountPath": SPOOL}]
    if spec.destination.startswith(CLAIM):
        mounts.append({"name": "captures-store", "mountPath": _CLAIM})
    secret = {"envFrom": [{"secretRef": {"name": spec.secret}}]} if spec.secret else {}
    return {"volumeMounts": mounts, **secret}


def pod(spec: ShippedCapturesSpec) -> dict[str, Any]:
    """Return the fields of its pod."""
    if not spec.destination:
        return {}
    # Ledgers lie beside the segments; a pod over this limit would be evicted.
    size = f"{spec.spool_megabytes + 64}Mi"
    volumes: list[dict[str, Any]] = [{"name": "captures", "emptyDir": {"sizeLimit": size}}]
    if spec.destination.startswith(CLAIM):
        claim, _ = claim_of(spec.destination)
        volumes.append({"name": "captures-store", "persistentVolumeClaim": {"claimName": claim}})
    # Requests are answered first, then what they brought is shipped.
    seconds = PRE_STOP + STOP_SECONDS + GRACE + 5
    return {"volumes": volumes, "terminationGracePeriodSeconds": round(seconds)}


def address(spec: ShippedCapturesSpec) -> str:
    """Return the address that its pods ship to."""
    if not spec.destination.startswith(CLAIM):
        return spec.destination
    folder = claim_of(spec.destination)[1]
    return f"file://{_CLAIM}/{folder}".rstrip("/")
