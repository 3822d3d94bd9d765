"""Who asks MLflow's server, and in which workspace: by the environment, as MLflow's client has it.

| variable | what a request carries |
|---|---|
| MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD | both |
| MLFLOW_TRACKING_TOKEN | a bearer token |
| MLFLOW_TRACKING_AUTH=kubernetes | the token of the pod's account, where no other is set |
| MLFLOW_TRACKING_AUTH=kubernetes-namespaced | the same, and the pod's namespace as workspace |
| MLFLOW_WORKSPACE | the workspace |
"""

from __future__ import annotations

import base64
import os
import re
from typing import Any, Protocol, TypeVar

from penstock.common.pod_account import ACCOUNT
from penstock.errors import ServiceError
from penstock.redaction import keep

NAMESPACED = "kubernetes-namespaced"
_BY_ACCOUNT = ("kubernetes", NAMESPACED)
_WORKSPACE = "X-MLFLOW-WORKSPACE"

_UNKNOWN, _FORBIDDEN = 401, 403


class _Request(Protocol):
    """A request of httpx or of requests."""

    headers: Any
    url: Any


R = TypeVar("R", bound=_Request)


_WHO = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_WORKSPACE",
)


def who_asks() -> tuple[str, ...]:
    """Return what the environment says of who asks, to be compared: it holds secrets."""
    return tuple(os.environ.get(name, "") for name in _WHO)


def asks_by_account() -> bool:
    """Return whether requests carry the token of the pod's account, where no other is set."""
    return os.environ.get("MLFLOW_TRACKING_AUTH", "") in _BY_ACCOUNT


def in_a_pod() -> bool:
    """Return whether the token of a pod's account is mounted here."""
    return (ACCOUNT / "token").is_file()


def request_headers() -> dict[str, str]:
    """Return what a request carries; to be asked for each, since the account's token rotates.

    Raises:
        ServiceError: If it is to carry the token of the pod's account, and there is none.
    """
    user = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    found = {}
    if user and password and not asks_by_account():
        found["Authorization"] = _basic(user, password)
    elif token := os.environ.get("MLFLOW_TRACKING_TOKEN", ""):
        found["Authorization"] = f"Bearer {token}"
    elif asks_by_account():
        found["Authorization"] = f"Bearer {_account('token')}"
    if workspace := workspace_of():
        found[_WORKSPACE] = workspace
    return found


def workspace_of() -> str:
    """Return the workspace of requests; empty: the server's default one.

    Raises:
        ServiceError: If it is to be the pod's namespace, and this is no pod.
    """
    given = os.environ.get("MLFLOW_WORKSPACE", "").strip()
    if given or os.environ.get("MLFLOW_TRACKING_AUTH", "") != NAMESPACED:
        return given
    return _account("namespace")


def asked_in() -> str:
    """Return what to do about what was not found, with the workspace if one was named.

    Examples:
        >>> os.environ["MLFLOW_WORKSPACE"] = "sales"
        >>> asked_in()
        'MLflow was asked in the workspace sales: what is in another is found by MLFLOW_WORKSPACE.'
        >>> del os.environ["MLFLOW_WORKSPACE"]
    """
    named = workspace_of()
    if not named:
        return "Correct it, or name another registry by MLFLOW_TRACKING_URI."
    return (
        f"MLflow was asked in the workspace {named}: what is in another is found by "
        "MLFLOW_WORKSPACE."
    )


def signed(request: R) -> R:
    """Return a request with what it has to carry: `auth` of a client of httpx or of requests."""
    found = request_headers()
    # Of httpx: a client that is given `auth` passes over what its address has.
    user = getattr(request.url, "username", "")
    if user:
        found = {"Authorization": _basic(user, request.url.password)} | found
    request.headers.update(found)
    return request


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _account(file: str) -> str:
    path = ACCOUNT / file
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ServiceError(
            f"MLFLOW_TRACKING_AUTH asks for the {file} of the pod's account, and there is none",
            where=str(path),
            remedy="Run in a pod whose account's token is mounted. Elsewhere set "
            "MLFLOW_TRACKING_TOKEN (kubectl create token ACCOUNT) and MLFLOW_WORKSPACE.",
        ) from error
    if file == "token":
        keep(text)
    return text


def remedy_of(status: int | None, *, said: str = "") -> str:
    """Return what to do about a server's refusal; empty: it is none of who asks, or where.

    Args:
        status: The HTTP status.
        said: What the server said.
    """
    if status == _UNKNOWN:
        return (
            "MLflow does not know who asks: set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN; in a pod on Kubeflow "
            "MLFLOW_TRACKING_AUTH=kubernetes-namespaced."
        )
    where = os.environ.get("MLFLOW_WORKSPACE", "") or "its own"
    if status == _FORBIDDEN:
        return (
            f"This account may not do that in the workspace {where}: ask its owner for the right "
            "(on Kubeflow a RoleBinding in the namespace of that name), or set MLFLOW_WORKSPACE."
        )
    if re.search("workspace", said, re.IGNORECASE):
        return (
            f"The workspace of the request is {where}: set MLFLOW_WORKSPACE to one that the server "
            "has; on Kubeflow the namespace of the profile. A server without workspaces takes none."
        )
    return ""
