"""Registered models as MLflow's stores have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException


def aliases(store: MlflowClient, name: str) -> dict[str, int]:
    """Return the aliases of a registered model; empty when the model does not exist."""
    found = registered_model(store, name)
    return {} if found is None else {alias: int(n) for alias, n in found.aliases.items()}


def registered_model(store: MlflowClient, name: str) -> Any | None:
    """Return MLflow's registered model with its aliases and tags; None when it does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return store.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST" or _unseen(store, name, error):
            return None
        raise


def _unseen(store: MlflowClient, name: str, error: MlflowException) -> bool:
    """Return whether a server with users forbids a name because there is no such model for ours.

    It forbids one that does not exist as it forbids one of somebody else's; a list holds neither.
    Nothing can be registered into somebody else's, so nothing passes for a first version there.
    """
    if error.error_code != "PERMISSION_DENIED":
        return False
    return not store.search_registered_models(f"name = '{name}'")
