"""From a registered version to an address that KServe's storage initializer reads."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.errors import InputError
from penstock.registry import versions

READABLE = ("s3://", "gs://", "pvc://", "https://", "http://", "hdfs://", "webhdfs://", "abfs://")
"""What the storage initializer of KServe 0.20 and 0.21 reads a folder from."""


def storage_uri(name: str, version: int, *, tracking_uri: str, replaced: Mapping[str, str]) -> str:
    """Return where KServe reads a registered version's folder from.

    The address is that of the version's own artifacts, which MLflow never writes again; the digest
    is checked by the server in any case.

    Args:
        name: The registered model.
        version: Its number.
        tracking_uri: The MLflow store.
        replaced: Prefixes of MLflow's address, and what stands in their place for KServe; the
            longest that fits is taken.

    Raises:
        InputError: If KServe cannot read what comes of it.
        ServiceError: If the registry does not answer.
    """
    found = versions.artifacts_of(name, version, tracking_uri=tracking_uri)
    fitting = [prefix for prefix in replaced if found.startswith(prefix)]
    address = found
    if fitting:
        prefix = max(fitting, key=len)
        address = replaced[prefix] + found.removeprefix(prefix)
    if not address.startswith(READABLE):
        raise InputError(
            f"KServe cannot read the model from {address}",
            where=f"models:/{name}/{version}",
            remedy="Keep MLflow's artifacts in an object store, or say in "
            "deployment.kserve.artifacts where the cluster has them, for example "
            "`mlflow-artifacts:/: pvc://mlflow/artifacts/`.",
        )
    return address
