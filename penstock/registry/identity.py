"""Who somebody at a command line is, and how that is known."""

from __future__ import annotations

import getpass
import os
from typing import Any

from penstock.errors import ServiceError, UsageError
from penstock.records.approval import Identity

USERID = "KUBEFLOW_USERID"
"""Environment variable: the user as the platform's header `kubeflow-userid` has it. Kubeflow gives
the header to what its gateway leads to, and sets no such variable itself; whoever runs the platform
does, for example by a PodDefault."""

_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def whoami(stated: str = "") -> Identity:
    """Return who acts, by the first of these that there is.

    1. What was stated (`--as`).
    2. The platform's user, from the environment variable KUBEFLOW_USERID.
    3. The user that the cluster of the named kubeconfig (KUBECONFIG) knows.
    4. The operating system's user.

    Raises:
        UsageError: If what was stated is empty but for spaces, or nobody can be named.
        ServiceError: If a kubeconfig is named and its cluster does not say.
    """
    if stated:
        if not stated.strip():
            raise UsageError("a name of spaces names nobody", where="--as")
        return Identity(name=stated.strip(), means="stated")
    header = os.environ.get(USERID, "").strip()
    if header:
        return Identity(name=header, means="platform header")
    if os.environ.get("KUBECONFIG"):
        return Identity(name=_cluster_user(), means="kubernetes user")
    try:
        return Identity(name=getpass.getuser(), means="operating system user")
    except (OSError, KeyError) as error:
        raise UsageError(
            "the operating system has no name for this user",
            where="--as",
            remedy="Say who you are: --as NAME.",
        ) from error


def _cluster_user() -> str:
    from penstock import kube

    review: dict[str, Any] = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
    }
    api = kube.connect()
    name = str(
        api.create(_REVIEW, review).get("status", {}).get("userInfo", {}).get("username", "")
    )
    if not name or name == "system:anonymous":
        raise ServiceError(
            "the cluster does not know who this is",
            where=api.server,
            remedy="Log in to it, or say who you are: --as NAME.",
        )
    return name
