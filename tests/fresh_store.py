"""An MLflow store without entries. MLflow takes seconds to make its tables, so they are copied."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path


def fresh_store(folder: Path, name: str = "mlflow.db") -> str:
    """Put an empty store into a folder, in place of one that is there, and return its address."""
    path = folder / name
    shutil.copy(Path(_made().name) / "mlflow.db", path)
    return f"sqlite:///{path}"


@cache
def _made() -> tempfile.TemporaryDirectory[str]:
    from mlflow import MlflowClient

    folder = tempfile.TemporaryDirectory(prefix="penstock-store-")
    uri = f"sqlite:///{folder.name}/mlflow.db"
    # Not by penstock.tracking, which would leave this store set for those of the test.
    MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(max_results=1)
    return folder
