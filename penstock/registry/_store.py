"""Registered models as MLflow's stores have them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

# MLflow writes this beside a model that is downloaded by name; it is not part of the model.
_ADDED_BY_MLFLOW = "registered_model_meta"


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    Attributes:
        name: The registered model.
        version: Its number.
        uri: `models:/name/version`.
        model: Digest of its folder, as it was registered.
        dataset: The dataset version: content digest of the table that was ingested. Of a version
            that an older release registered: the training part's.
        training_part: Content digest of the training part.
        run: The MLflow run it belongs to.
        tags: All its tags.
        export: Digest of the folder `serving/` in it, its ONNX form; empty: it has none.
    """

    name: str
    version: int
    uri: str
    model: str
    dataset: str
    training_part: str
    run: str
    tags: Mapping[str, str]
    export: str = ""


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


def download(uri: str, folder: Path, *, tracking_uri: str) -> None:
    """Download a version's folder as it is, unchecked: what is wrong with it is yet to be seen."""
    from mlflow.artifacts import download_artifacts

    got = Path(
        download_artifacts(
            artifact_uri=uri,
            dst_path=str(folder),
            tracking_uri=tracking_uri,
            registry_uri=tracking_uri,
        )
    )
    if got.resolve() != folder.resolve():
        for path in got.iterdir():
            shutil.move(path, folder / path.name)
        got.rmdir()
    (folder / _ADDED_BY_MLFLOW).unlink(missing_ok=True)
