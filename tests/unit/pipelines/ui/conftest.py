"""A home that holds everything, made once, and copied for the test that changes it."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from whole_life import lived_in

from penstock.pipelines.located import Located, locate


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Located:
    """A service that has seen everything. Never write into it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return lived_in(tmp_path_factory.mktemp("whole"), now=datetime.now(UTC))


@pytest.fixture
def project(whole: Located, tmp_path: Path) -> Located:
    """The same, to be damaged."""
    shutil.copytree(whole.folder, tmp_path / "project")
    return locate(tmp_path / "project" / "project.yaml")


@pytest.fixture
def penstock() -> Path:
    """The command."""
    return Path(sys.executable).with_name("penstock")
