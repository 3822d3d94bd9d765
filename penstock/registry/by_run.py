"""The versions that a run of Kubeflow has registered."""

from __future__ import annotations

from collections.abc import Collection

from penstock import tracking
from penstock.registry.versions import Version, answers, newest_first

PIPELINE_RUN = "penstock.pipeline_run"
"""Tag of a version: the run that registered it."""


def registered_by(runs: Collection[str], *, name: str, tracking_uri: str) -> tuple[Version, ...]:
    """Return the versions that runs have registered, the newest first.

    Args:
        runs: Kubeflow's ids of them.
        name: The registered model.
        tracking_uri: The MLflow store.

    Raises:
        ServiceError: If the registry does not answer.
    """
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        found = newest_first(store, name)
        return tuple(one for one in found if one.tags.get(PIPELINE_RUN) in runs)
