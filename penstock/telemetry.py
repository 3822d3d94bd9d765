"""No library that Penstock uses sends telemetry.

The environment is where they look, and where processes that a step starts look too. It is set
before any of them is imported, when Penstock is. To send it all the same, set a variable before.
"""

from __future__ import annotations

import os
import sys

OFF = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "ORT_DISABLE_TELEMETRY": "1",
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
"""What switches it off in MLflow; in some 1.x of Great Expectations; in ONNX Runtime, which since
1.29 sends from native code on Linux and keeps a device id in the home folder; by the convention of
https://consoledonottrack.com, which MLflow reads only as `true`; in what MLflow may import; in pip,
which MLflow may start. kfp, KServe, Optuna, pandas, Polars and DuckDB send nothing."""


def switch_off() -> None:
    """Set the variables that are not set, for this process and those that it starts."""
    unset = {name: value for name, value in OFF.items() if not os.environ.get(name)}
    os.environ.update(unset)
    # Where MLflow was imported first, it has made its client by now.
    mlflow = sys.modules.get("mlflow.telemetry")
    if mlflow is not None and "MLFLOW_DISABLE_TELEMETRY" in unset:
        mlflow.set_telemetry_client()
