"""MLflow tracking: which store, which experiment, which run."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.common import mlflow_access
from penstock.common.secrets import keep_environment, resolve
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.redaction import redact

if TYPE_CHECKING:
    import httpx
    from mlflow import MlflowClient

    from penstock.common.mlflow_access import R

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""The stores that MLflow reaches by SQLAlchemy, by the schemes of their addresses."""

_reached: set[tuple[str, ...]] = set()
"""Stores that have answered this process, each with who asked."""

_RETRIED = re.compile(
    r"HTTPS?ConnectionPool\([^)]*\): Max retries exceeded with url: \S+ "
    r"\(Caused by \w+\([\"']?(?P<cause>.*?)[\"']?\)\)"
)
"""What urllib3 puts around the reason, so that this would be cut off."""

_OF_CONNECTION = re.compile(r"^(?:<[^>]*>|HTTPS?Connection(?:Pool)?\([^)]*\)): ")


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
    """Return an MLflow client whose store has been reached once by this process.

    A request to a server that is down fails after one retry instead of MLflow's default of
    several minutes. One that goes down later is reported by `penstock.registry.versions.answers`.

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
    if mlflow_access.asks_by_account() and mlflow_access.in_a_pod():
        _ask_by_account()
    asked = (uri, *mlflow_access.who_asks())
    if asked in _reached:
        return reached
    try:
        reached.search_experiments(max_results=1)
    except PenstockError:
        raise
    except Exception as error:
        raise ServiceError(
            f"MLflow does not answer: {reason(error)}",
            where=uri,
            remedy=mlflow_access.remedy_of(_status_of(error), said=str(error))
            or "Start the server or correct MLFLOW_TRACKING_URI.",
        ) from error
    _reached.add(asked)
    return reached


def remedy_of(error: Exception) -> str:
    """Return what to do where MLflow's server refuses who asks; empty: it does not."""
    return mlflow_access.remedy_of(_status_of(error))


def _ask_by_account() -> None:
    """Make MLflow's client ask by the account of the pod that this is.

    MLflow's own provider of that name does so only where Kubernetes' client is installed, which the
    images of steps do not have: 800 modules, of which it needs none to read a file.
    """
    from mlflow.tracking.request_auth import registry

    providers = registry._request_auth_provider_registry._registry
    name = os.environ["MLFLOW_TRACKING_AUTH"]
    if not any(isinstance(one, _AccountProvider) and one.name == name for one in providers):
        providers.insert(0, _AccountProvider(name))


class _AccountProvider:
    """What MLflow's client asks for the authentication of a request."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_name(self) -> str:
        return self.name

    def get_auth(self) -> Callable[[R], R]:
        return mlflow_access.signed


def _status_of(error: Exception) -> int | None:
    """Return the HTTP status that MLflow's client reports, if it does."""
    found = re.search(r"error code (\d{3})", str(error))
    if found:
        return int(found[1])
    status = getattr(error, "get_http_status_code", None)
    return int(status()) if status else None


def refusal(error: Exception, response: httpx.Response, *, where: str) -> ServiceError:
    """Return what to say where MLflow's server refuses a request that MLflow's client did not make.

    Args:
        error: What the client raised.
        response: What the server said.
        where: The server.
    """
    status = response.status_code
    said = redact(" ".join(response.text.split())) or reason(error)
    return ServiceError(
        f"MLflow refuses ({status}): {said:.300}",
        where=redact(where),
        remedy=mlflow_access.remedy_of(status, said=response.text)
        or "Check that the server is up and this account may read the model.",
    )


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
    said = _RETRIED.sub(lambda found: _OF_CONNECTION.sub("", found["cause"]), lines[0])
    return f"{said:.300}"
