"""An MLflow store without entries. MLflow takes seconds to make its tables, so they are copied."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

BUILD = Path(__file__).parents[1] / "build"


def fresh_store(folder: Path, name: str = "mlflow.db") -> str:
    """Put an empty store into a folder, in place of one that is there, and return its address."""
    path = folder / name
    shutil.copy(_made(), path)
    return f"sqlite:///{path}"


@cache
def _made() -> Path:
    """Return the store that is copied: the first of all processes makes it, once for an MLflow."""
    _know_newest_revision()
    kept = BUILD / f"mlflow-{version('mlflow')}.db"
    BUILD.mkdir(exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _make(kept)
    return kept


def _make(path: Path) -> None:
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory(prefix="penstock-store-") as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        # Not by penstock.tracking, which would leave this store set for those of the test.
        MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(max_results=1)
        half = path.with_suffix(".half")
        shutil.copy(f"{folder}/mlflow.db", half)
    half.rename(path)


def _know_newest_revision() -> None:
    """Let MLflow read its sixty migrations once: it does at each store, to know the newest."""
    from mlflow.store.db import utils

    utils._get_latest_schema_revision = cache(utils._get_latest_schema_revision)
