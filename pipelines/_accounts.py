"""Whether Kubeflow lets a run have its service account: asked before, explained after.

Kubeflow Pipelines from 2.18 on refuses an account that its API server's ALLOWEDSERVICEACCOUNTS does
not name, and in a multi-user installation asks besides whether the caller has the verb `use` on it
(kubeflow/pipelines#14181). Its own default account is free of both.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from penstock.errors import PenstockError, ServiceError

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_SECONDS = 5.0
_REFUSALS = (400, 403)


def doubt(account: str, *, namespace: str) -> str:
    """Return why this machine's Kubernetes user may not use an account; empty if nothing says so.

    Nothing is said where no kubeconfig is, where its cluster does not answer within seconds, or
    where no account is asked for. It is a doubt, no verdict: Kubeflow may know the caller by
    another name, and before 2.18 it does not ask.

    Args:
        account: The run's service account; empty for the one that Kubeflow sets.
        namespace: The namespace of the run.
    """
    from penstock.cluster import client as kube

    if not (account and namespace):
        return ""
    asked = {"namespace": namespace, "verb": "use", "resource": "serviceaccounts", "name": account}
    try:
        server = kube.connect(patience=_SECONDS)
        answer = server.create(
            _REVIEWS,
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": asked},
            },
        )
    except ServiceError:
        return ""
    if answer.get("status", {}).get("allowed", True):
        return ""
    return (
        f"The user of the kubeconfig may not use the service account {account} in the namespace "
        f"{namespace} of {server.server}. If that is you in Kubeflow too, Kubeflow Pipelines from "
        "2.18 on refuses the run. Ask for the verb use on it: docs/submission.md."
    )


@contextlib.contextmanager
def granted(account: str) -> Iterator[None]:
    """Say what to do where Kubeflow refuses what is done inside because of the account.

    Args:
        account: The run's service account; empty for the one that Kubeflow sets.

    Raises:
        ServiceError: In place of the one that a refusal of the account was told by.
    """
    try:
        yield
    except PenstockError as error:
        status = getattr(error.__cause__, "status", None)
        if not account or status not in _REFUSALS or not _names(error.what, account):
            raise
        raise ServiceError(
            error.what,
            where=error.where,
            remedy=f"Kubeflow Pipelines from 2.18 on wants {account} in ALLOWEDSERVICEACCOUNTS of "
            "its API server (kubectl set env deployment/ml-pipeline -n kubeflow "
            f"ALLOWEDSERVICEACCOUNTS={account}, with the others that are there), and, where it has "
            "several users, the verb use on that service account for you: docs/submission.md.",
        ) from error.__cause__


def _names(words: str, account: str) -> bool:
    return (
        account in words or re.search(r"service[ -]?accounts?\b", words, re.IGNORECASE) is not None
    )
