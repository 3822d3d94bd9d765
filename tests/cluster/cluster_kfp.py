"""The Kubeflow Pipelines of an existing cluster.

| Variable | Meaning |
|---|---|
| `PENSTOCK_KFP_HOST` | its API |
| `PENSTOCK_KFP_NAMESPACE` | a profile; empty where there is one user |
| `PENSTOCK_KFP_PODS` | namespace of the pods; `kubeflow` unless there is a profile |
| `PENSTOCK_KFP_TOKEN_FILE` | a bearer token |
| `PENSTOCK_KFP_ACCOUNT` | service account of the runs that deploy nothing |
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import pytest
from cluster_site import ASKED

HOST = os.environ.get("PENSTOCK_KFP_HOST", "")
NAMESPACE = os.environ.get("PENSTOCK_KFP_NAMESPACE", "")
PODS = os.environ.get("PENSTOCK_KFP_PODS") or NAMESPACE or "kubeflow"
TOKEN = os.environ.get("PENSTOCK_KFP_TOKEN_FILE", "")

NEEDS_KFP = pytest.mark.skipif(
    not (HOST and ASKED),
    reason="NOT RUN by a real Kubeflow: KUBECONFIG=FILE PENSTOCK_KFP_HOST=URL make test-cluster",
)


def signed() -> list[str]:
    """Return the options by which the command line reaches it."""
    return ["--host", HOST, *(["--token-file", TOKEN] if TOKEN else [])]


def forget(name: str) -> None:
    """Delete an experiment with its runs, and the pipeline of that name with its versions."""
    from kfp.client import Client, ServiceAccountTokenVolumeCredentials

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        credentials = ServiceAccountTokenVolumeCredentials(TOKEN) if TOKEN else None
        client = Client(host=HOST, credentials=credentials, namespace=NAMESPACE or "kubeflow")
    _forget_runs(client, name)
    if pipeline := client.get_pipeline_id(name):
        for version in client.list_pipeline_versions(pipeline).pipeline_versions or []:
            client.delete_pipeline_version(pipeline, version.pipeline_version_id)
        client.delete_pipeline(pipeline)


def _forget_runs(client: Any, experiment: str) -> None:
    try:
        found = client.get_experiment(experiment_name=experiment, namespace=NAMESPACE or None)
    except ValueError:  # nothing was ever begun
        return
    every = client.list_runs(experiment_id=found.experiment_id, page_size=100).runs or []
    for each in every:
        client.delete_run(each.run_id)
    client.delete_experiment(found.experiment_id)
