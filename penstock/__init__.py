"""Penstock: components for Kubeflow Pipelines; a model is served only after a recorded approval.

From Python: `penstock.Project`, `penstock.Model`, `penstock.Dataset` (see `penstock.api`).
"""

import importlib
from typing import Any

from penstock import telemetry
from penstock.common.missing import tell_of_missing_libraries

__version__ = "0.1.0"

_FROM_PYTHON = ("Dataset", "Judgement", "Model", "Project", "Run", "Submitted")

telemetry.switch_off()
tell_of_missing_libraries()


def __getattr__(name: str) -> Any:
    # By its name, so that `import penstock` stays light and no step depends on it.
    if name in _FROM_PYTHON:
        return getattr(importlib.import_module("penstock.api"), name)
    raise AttributeError(f"module 'penstock' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_FROM_PYTHON])
