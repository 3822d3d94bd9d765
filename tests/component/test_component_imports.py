"""What a step imports is in its image: seen without one, by hiding what its lock does not hold."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FACES = sorted(path.stem for path in (ROOT / "components").glob("[a-z]*.py"))

RUN = """
import importlib, sys

hidden = set(sys.argv[1].split(","))

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

sys.meta_path.insert(0, Hide())
for module in sys.argv[2:]:
    importlib.import_module(module)
"""


def image_of(face: str) -> str:
    found = re.search(r'runs_in="(\w+)"', (ROOT / "components" / f"{face}.py").read_text())
    assert found
    return found[1]


def imported_by(face: str) -> list[str]:
    """The modules of ours that the body of a step imports."""
    tree = ast.parse((ROOT / "components" / f"{face}.py").read_text())
    body = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    modules = [node.module for node in ast.walk(body) if isinstance(node, ast.ImportFrom)]
    return [module for module in modules if module and module.startswith("penstock.")]


def hidden_from(image: str) -> list[str]:
    """Top-level modules that are installed here and not in the image."""
    lock = (ROOT / "images" / "locks" / f"{image}.txt").read_text()
    # Penstock and the executor of kfp are in every image besides what the lock holds.
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, flags=re.MULTILINE)) | {"penstock", "kfp"}
    return [
        module
        for module, owners in packages_distributions().items()
        if not locked & {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}
    ]


def imports(*modules: str, image: str) -> subprocess.CompletedProcess[str]:
    hidden = ",".join(hidden_from(image))
    return subprocess.run(
        [sys.executable, "-c", RUN, hidden, *modules],
        env=os.environ | {"_KFP_RUNTIME": "true"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("face", FACES)
def test_what_a_step_imports_is_in_its_image(face: str) -> None:
    modules = imported_by(face)
    assert modules
    own = ("penstock.components._program", f"penstock.components.{face}")
    done = imports(*own, *modules, image=image_of(face))
    assert done.returncode == 0, done.stderr


def test_what_is_not_there_is_hidden() -> None:
    assert imports("penstock.data.hashing.rows", image="train").returncode == 0
    done = imports("penstock.data.hashing.rows", image="deploy")
    assert "is not in the image" in done.stderr
