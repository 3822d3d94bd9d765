"""What a test needs that not every machine has: it is skipped for lack of it, and says what to do.

`pytest_terminal_summary` in conftest.py shows every skip with its reason.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

SHARED = Path(__file__).parents[2] / "shared"
"""Beside the repository: what others published, and is not copied into it."""

SOURCES = {
    "data": "Put adult-train.csv, adult-test.csv and winequality-white.csv there, as "
    "github.com/jbrownlee/Datasets has them.",
    "crds": "Put the resource definitions of KServe, the Gateway API, Kubeflow Pipelines and Dask "
    "there, as their repositories have them.",
    "cases": "Ask the maintainers for it.",
}
"""Where each of its folders comes from."""

NEEDS_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="NOT TESTED: it reads /proc, which Linux alone has"
)


def missing(what: str, *, remedy: str) -> NoReturn:
    """Skip the test; fail it in a build that is to prove something and installs it (.ci/run)."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} {remedy}")
    pytest.skip(f"NOT TESTED: {what} {remedy}")


def program(name: str, *, package: str) -> str:
    """Return where a program is that Debian has in a package."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not here.", remedy=f"On Debian or Ubuntu: apt install {package}")
    return found


def shared(name: str) -> Path:
    """Return a folder of `SHARED`."""
    found = SHARED / name
    if not found.is_dir():
        pytest.skip(f"NOT TESTED: the folder {found} is not here. {SOURCES[name]}")
    return found
