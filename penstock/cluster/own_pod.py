"""The pod that this process runs in, and the API server as its account meets it."""

from __future__ import annotations

import os
import ssl

from penstock.cluster.client import PODS, Kube, Manifest, connect
from penstock.common.pod_account import ACCOUNT
from penstock.errors import ServiceError

_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_NAMES = ("KFP_POD_NAME", "HOSTNAME")
_NAMESPACES = ("KFP_NAMESPACE", "NAMESPACE")


def in_a_pod() -> bool:
    """Return whether this process runs in a pod of Kubernetes."""
    return bool(os.environ.get(_HOST))


def api_server() -> Kube:
    """Return the API server as the pod's account meets it; `KUBECONFIG` names another.

    Kubernetes' client is not asked: the images of steps that read tables do not have it.

    Raises:
        ServiceError: If the account has no token here.
    """
    if os.environ.get("KUBECONFIG"):
        return connect()
    token, authority = ACCOUNT / "token", ACCOUNT / "ca.crt"
    if not token.is_file():
        raise ServiceError(
            "this pod's account has no token",
            where=str(token),
            remedy="Run the step with an account whose token is mounted, as Kubeflow's are.",
        )
    host, port = os.environ[_HOST], os.environ.get(_PORT, "443")
    return Kube(
        f"https://{f'[{host}]' if ':' in host else host}:{port}",
        # Read each time: Kubernetes writes a new one before the old one ends.
        token=lambda: f"Bearer {token.read_text(encoding='utf-8').strip()}",
        verify=ssl.create_default_context(cafile=str(authority)),
    )


def own_pod(kube: Kube) -> Manifest:
    """Return the pod that this process runs in.

    Raises:
        ForbiddenError: If its account may not read pods.
        ServiceError: If it is not known by the name that this process has of it.
    """
    name = next((os.environ[one] for one in _NAMES if os.environ.get(one)), "")
    found = kube.get(PODS.path(_namespace(), name)) if name else None
    if found is None:
        raise ServiceError(
            f"this pod is not known to the API server as {name!r}",
            where="KFP_POD_NAME",
            remedy="Let the variable hold the pod's name, as Kubeflow's steps have it.",
        )
    return found


def _namespace() -> str:
    for name in _NAMESPACES:
        if os.environ.get(name):
            return os.environ[name]
    try:
        return (ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ServiceError(
            "this pod's namespace is not known",
            where="NAMESPACE",
            remedy="Let the variable hold it, as Kubeflow's steps have it.",
        ) from error
