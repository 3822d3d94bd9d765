"""What a model was trained with: code, libraries, image, pipeline run."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

_TRACKED = ("mlflow", "numpy", "optuna", "pandas", "pyarrow", "scikit-learn", "scipy", "skops")
_SERVED = ("numpy", "pandas", "scikit-learn", "scipy", "skops")


def commit(code: Path = Path(__file__)) -> str:
    """Return the git commit that `code` is at, `-dirty` behind it if files differ, or empty.

    An image has no git and says in `PENSTOCK_COMMIT` what it was built from. Otherwise it is empty
    where there is no git, or `code` is not itself in a repository: an environment that happens to
    lie inside another project's repository must not lend that one's commit.
    """
    built_from = os.environ.get("PENSTOCK_COMMIT", "")
    if built_from:
        return built_from
    git = shutil.which("git")
    folder, name = code.resolve().parent, code.name
    if git is None or not _git(git, folder, "ls-files", "--error-unmatch", name):
        return ""
    return _git(git, folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def libraries(family: str = "") -> dict[str, str]:
    """Return the installed versions of what training uses, by distribution name, with Python's.

    Args:
        family: Of a model; its library is among them, where it has one of its own.
    """
    own = {"xgboost": "xgboost-cpu", "lightgbm": "lightgbm"}.get(family)
    names = (*_TRACKED, own) if own else _TRACKED
    installed = {name: _version(name) for name in names}
    return {"python": platform.python_version(), **installed}


def requirements(others: Iterable[str] = ()) -> list[str]:
    """Return what MLflow writes down as needed for loading the model, pinned to the installed.

    Args:
        others: Distributions that code of the project's own imports.
    """
    names = dict.fromkeys(("mlflow", *_SERVED, *others))
    return [f"{name}=={_version(name)}" for name in names]


def image() -> str:
    """Return the image that this runs in, from `PENSTOCK_IMAGE`, or empty."""
    return os.environ.get("PENSTOCK_IMAGE", "")


def pipeline_run() -> str:
    """Return the id of the pipeline run, from `PENSTOCK_PIPELINE_RUN`, or empty."""
    return os.environ.get("PENSTOCK_PIPELINE_RUN", "")


@cache
def _version(name: str) -> str:
    # What was imported stays what it is, and each look reads a file of text: fifty in a training.
    # Where only MLflow's client is installed, as in the images: both are released together.
    wanted = "mlflow-skinny" if name == "mlflow" else name
    try:
        return metadata.version(wanted)
    except metadata.PackageNotFoundError:
        # The same library with code for graphics cards.
        return metadata.version(wanted.removesuffix("-cpu"))


def _git(git: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
        [git, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.strip() if done.returncode == 0 else ""
