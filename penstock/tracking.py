"""MLflow tracking: which store, which experiment, which run."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.common.secrets import keep_environment, resolve
from penstock.errors import InputError, ServiceError
from penstock.redaction import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""The stores that MLflow reaches by SQLAlchemy, by the schemes of their addresses."""


def resolve_uri(tracking_uri: str = "") -> str:
    """Return the tracking URI: the one given, else `MLFLOW_TRACKING_URI`, its secrets resolved.

    Raises:
        InputError: If a reference leads nowhere, or neither names a store. MLflow's own default, a
            store in the current folder, would lose versions without a word.
    """
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise InputError(
            "no MLflow tracking URI",
            where="tracking_uri",
            remedy="Pass tracking_uri or set MLFLOW_TRACKING_URI, for example sqlite:///mlflow.db.",
        )
    keep_environment()
    return resolve(uri, where="tracking_uri")


def client(tracking_uri: str = "") -> MlflowClient:
    """Return an MLflow client whose store has been reached once.

    A request to a server that is down fails after one retry instead of MLflow's default of
    several minutes.

    Raises:
        InputError: If the store is a database, and only MLflow's client is installed.
        ServiceError: If the store does not answer.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    # Its progress bars would be all that a step leaves in its log.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow
    from mlflow import MlflowClient

    uri = resolve_uri(tracking_uri)
    _check_library(uri)
    _make_store_folder(uri)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    reached = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        reached.search_experiments(max_results=1)
    except Exception as error:
        raise ServiceError(
            f"MLflow does not answer: {reason(error)}",
            where=uri,
            remedy="Start the server or correct MLFLOW_TRACKING_URI.",
        ) from error
    return reached


def experiment_id(store: MlflowClient, name: str) -> str:
    """Return the id of the experiment called `name`, made if it is not there.

    With an embedded SQLite store the artifacts go beside the database file, not into whatever
    folder the process happens to run in.
    """
    found = store.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    database = _sqlite_path(store.tracking_uri)
    place = (database.parent / "artifacts").as_uri() if database else None
    return str(store.create_experiment(name, artifact_location=place))


@contextlib.contextmanager
def run(store: MlflowClient, *, experiment: str, name: str) -> Iterator[str]:
    """Yield the id of the MLflow run to log to, active for the block.

    Kubeflow Pipelines >= 2.16 injects `MLFLOW_RUN_ID`; that run is reused where it is set.
    Otherwise a new one is started, and ended as FAILED if the block raises.
    """
    import mlflow

    injected = os.environ.get("MLFLOW_RUN_ID", "")
    if injected:
        with mlflow.start_run(run_id=injected):
            yield injected
        return
    with mlflow.start_run(experiment_id=experiment_id(store, experiment), run_name=name) as active:
        yield str(active.info.run_id)


def _check_library(uri: str) -> None:
    scheme = uri.partition("://")[0].partition("+")[0]
    if scheme in _DATABASES and importlib.util.find_spec("alembic") is None:
        raise InputError(
            "only MLflow's client is installed, which knows no database",
            where=redact(uri),
            remedy="Name an MLflow server (http://...), or install penstock[laptop].",
        )


def _sqlite_path(uri: str) -> Path | None:
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///")).resolve()


def _make_store_folder(uri: str) -> None:
    database = _sqlite_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)


def reason(error: BaseException) -> str:
    """Return the first line of what MLflow says, without secrets."""
    lines = redact(str(error)).splitlines() or [type(error).__name__]
    return f"{lines[0]:.300}"
