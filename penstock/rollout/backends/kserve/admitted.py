"""The ConfigMap of the digests that releases have admitted, which an admission policy reads."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.cluster.client import CONFIG_MAPS, ConflictError, Kube, Manifest
from penstock.rollout.backends.kserve.owner import MANAGED
from penstock.rollout.state import Arm

NAME = "penstock-admitted-models"

_TRIES = 10


def admit(kube: Kube, arms: Iterable[Arm], *, namespace: str) -> None:
    """Write down the digests of versions before anything that names them is made.

    Nothing is ever taken out: a version may be gone back to at any time.

    Args:
        kube: The cluster.
        arms: The versions.
        namespace: Of the model servers.

    Raises:
        ConflictError: If others kept writing it in between.
        ServiceError: If the API server does not take it.
    """
    digests = {arm.model.removeprefix("sha256:"): arm.model for arm in arms}
    for left in reversed(range(_TRIES)):
        try:
            _write(kube, digests, namespace=namespace)
            return
        except ConflictError:
            if not left:
                raise


def _write(kube: Kube, digests: dict[str, str], *, namespace: str) -> None:
    found = kube.get(CONFIG_MAPS.path(namespace, NAME))
    if found is None:
        kube.create(CONFIG_MAPS.path(namespace), _config_map(digests, namespace=namespace))
        return
    there = found.get("data") or {}
    if not digests.items() <= there.items():
        kube.replace(CONFIG_MAPS.path(namespace, NAME), {**found, "data": {**there, **digests}})


def _config_map(digests: dict[str, str], *, namespace: str) -> Manifest:
    return {
        "apiVersion": CONFIG_MAPS.api,
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": namespace, "labels": MANAGED},
        "data": digests,
    }
