"""Whose an object of the cluster is: checked before anything of it is read, written or deleted."""

from __future__ import annotations

from penstock.cluster.client import Manifest
from penstock.errors import ServiceError

SERVICE = "penstock/service"
"""Label that names the service which an object belongs to."""

MANAGED = {"app.kubernetes.io/managed-by": "penstock"}
"""Labels of every object that is written here."""


def selector(service: str) -> str:
    """Return the label selector of what belongs to a service."""
    return ",".join(f"{key}={value}" for key, value in {**MANAGED, SERVICE: service}.items())


def require_ours(found: Manifest, *, service: str, where: str) -> None:
    """Return if an object's labels say that it is this service's own.

    Args:
        found: The object; one of a former release may bear no label of its service.
        service: The service.
        where: The object, for messages.

    Raises:
        ServiceError: If it is somebody else's, or another service's; both are left alone.
    """
    labels = found["metadata"].get("labels") or {}
    if not MANAGED.items() <= labels.items():
        raise ServiceError(
            "it was not made by Penstock",
            where=where,
            remedy="Delete or rename it, or give the project another name.",
        )
    require_service(labels.get(SERVICE, service), service=service, where=where)


def require_service(owner: str, *, service: str, where: str) -> None:
    """Return if the service that an object names is this one.

    Raises:
        ServiceError: If it is another one.
    """
    if owner != service:
        raise ServiceError(
            f"it belongs to service {owner}, which has a name for it that service {service} needs",
            where=where,
            remedy="Rename one of the two projects, or give one a namespace of its own in "
            "deployment.kserve.namespace.",
        )
