"""What tests of commands have in common."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_store_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client leaves it set, and it would name the store of every project after it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
