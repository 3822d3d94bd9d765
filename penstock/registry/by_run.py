"""The versions that a run of Kubeflow has registered."""

from __future__ import annotations

from collections.abc import Collection

from penstock import tracking
from penstock.registry.versions import MODEL_DIGEST, Version, answers, as_version

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
    found: list[Version] = []
    token = None
    with answers(tracking_uri):
        while True:
            page = store.search_model_versions(
                f"name = '{name}'", order_by=["version_number DESC"], page_token=token
            )
            found += [
                as_version(one)
                for one in page
                if MODEL_DIGEST in one.tags and one.tags.get(PIPELINE_RUN) in runs
            ]
            token = page.token
            if not token:
                return tuple(found)
