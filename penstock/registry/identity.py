"""Who uses the command line, and how that is known."""

from __future__ import annotations

import getpass
import os
from typing import Any

from penstock.common import people
from penstock.errors import InputError, PenstockError, ServiceError, UsageError
from penstock.records.approval import Identity

USERID = "KUBEFLOW_USERID"
"""Environment variable: the user as the platform's header `kubeflow-userid` has it. Kubeflow gives
the header to the services behind its gateway, and does not set this variable itself; the platform's
operator does, for example by a PodDefault."""

_PLATFORM = (USERID, "KUBECONFIG", "KUBERNETES_SERVICE_HOST")
"""Environment variables by which a platform is known to be there: the last is set in each pod."""

_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def whoami(stated: str = "") -> Identity:
    """Return who acts, by the first of these that there is.

    1. What was stated (`--as`).
    2. The platform's user, from the environment variable KUBEFLOW_USERID.
    3. The user that the cluster of the named kubeconfig (KUBECONFIG) knows.
    4. The operating system's user; `uid 1000` where it has no name for that number, as in a
       container: such a name does not count as a person (`penstock.common.people.is_known`).

    Raises:
        UsageError: If what was stated is empty but for spaces.
        InputError: If the name holds invisible characters, or is too long.
        ServiceError: If a kubeconfig is named and its cluster does not say.
    """
    if stated:
        if not stated.strip():
            raise UsageError("the name is empty", where="--as")
        return Identity(name=people.check_name(stated, where="--as"), means="stated")
    header = os.environ.get(USERID, "").strip()
    if header:
        return Identity(name=people.check_name(header, where=USERID), means="platform header")
    if os.environ.get("KUBECONFIG"):
        name = people.check_name(_cluster_user(), where="KUBECONFIG")
        return Identity(name=name, means="kubernetes user")
    return _system_user()


def current_identity() -> Identity:
    """Return who acts, where a missing name must not be an error, as in a rollback.

    As `whoami`, and the operating system's user where the platform cannot say.
    """
    try:
        return whoami()
    except PenstockError:
        return _system_user()


def on_platform() -> bool:
    """Return whether there is a platform here that says who people are."""
    return any(os.environ.get(name) for name in _PLATFORM)


def _system_user() -> Identity:
    try:
        name = people.check_name(getpass.getuser(), where="LOGNAME")
    except (OSError, KeyError, ImportError, InputError):
        name = people.unnamed(os.getuid())
    return Identity(name=name, means="operating system user")


def _cluster_user() -> str:
    from penstock.cluster import client as kube

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
            "the cluster does not know this user",
            where=api.server,
            remedy="Log in to it, or say who you are: --as NAME.",
        )
    return name
