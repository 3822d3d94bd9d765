"""What a step imports is in its image: seen without one, by hiding what its lock does not hold."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from image_imports import HIDE, hidden_from

ROOT = Path(__file__).parents[2]
FACES = sorted(path.stem for path in (ROOT / "components").glob("[a-z]*.py"))
RUN = (
    HIDE
    + """
for module in sys.argv[2:]:
    importlib.import_module(module)
"""
)

STEPS = (
    HIDE
    + """
import contextlib, json, os, traceback

libraries, steps = json.load(sys.stdin)
for library in libraries:
    with contextlib.suppress(Exception):
        importlib.import_module(library)
assert not any(name.startswith("penstock") for name in sys.modules)

def lacking(modules):
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            yield module, error.name

def found_of(first, later):
    try:
        for module in first:
            importlib.import_module(module)
    except ImportError:
        return traceback.format_exc()
    return list(lacking(later))

for step, first, later in steps:
    if not os.fork():
        print(json.dumps([step, found_of(first, later)]), flush=True)
        os._exit(0)
    os.wait()
"""
)
"""Imports what each step of an image does, each in a process of its own that is forked warm.

Libraries are the same to every step, so they are imported before.
"""


def image_of(face: str) -> str:
    found = re.search(r'runs_in="(\w+)"', (ROOT / "components" / f"{face}.py").read_text())
    assert found
    return found[1]


@cache
def imported_by(face: str) -> list[str]:
    """The modules of ours that the body of a step imports."""
    tree = ast.parse((ROOT / "components" / f"{face}.py").read_text())
    body = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    modules = [node.module for node in ast.walk(body) if isinstance(node, ast.ImportFrom)]
    return [module for module in modules if module and module.startswith("penstock.")]


def imports(*modules: str, image: str) -> subprocess.CompletedProcess[str]:
    hidden = ",".join(hidden_from(image))
    return subprocess.run(
        [sys.executable, "-c", RUN, hidden, *modules],
        env=os.environ | {"_KFP_RUNTIME": "true"},
        capture_output=True,
        text=True,
    )


@cache
def steps_of(image: str) -> dict[str, list[tuple[str, str]] | str]:
    """What each step of an image lacks of what it may import later, or why it does not begin."""
    faces = [face for face in FACES if image_of(face) == image]
    told = [(face, begun_by(face), reached_from(face)) for face in faces]
    done = subprocess.run(
        [sys.executable, "-c", STEPS, ",".join(hidden_from(image))],
        env=os.environ | {"_KFP_RUNTIME": "true"},
        input=json.dumps([libraries_of(module for _, _, later in told for module in later), told]),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(map(json.loads, done.stdout.splitlines()))


def begun_by(face: str) -> list[str]:
    """The modules of ours that a step imports when it begins."""
    return ["penstock.components._program", f"penstock.components.{face}", *imported_by(face)]


@pytest.mark.parametrize("face", FACES)
def test_what_a_step_imports_is_in_its_image(face: str) -> None:
    assert imported_by(face)
    found = steps_of(image_of(face))[face]
    assert not isinstance(found, str), found


NEVER_THERE = {
    "deploy": {
        # Tables are written and hashed before; what is sent here is read from Parquet's own bytes.
        ("penstock.data.hashing.digest", "xxhash"),
        ("penstock.data.hashing.rows", "xxhash"),
        ("penstock.data.profile.counting", "xxhash"),
        ("penstock.data.profile.profiler", "xxhash"),
        ("penstock.data.table.writer", "xxhash"),
        # No model is loaded there.
        ("penstock.features.transformers", "pandas"),
        # Its page draws its own SVG.
        ("penstock.reports._svg", "matplotlib"),
    },
    # The image train-boosting has both.
    "train": {
        ("penstock.training.boosting.lightgbm_trees", "lightgbm"),
        ("penstock.training.boosting.xgboost_trees", "xgboost"),
    },
    "score": {
        # A cluster is asked who somebody is where approvals are given; nobody gives any there.
        ("penstock.cluster.client", "httpx"),
        # Only `validate` works in pods.
        ("penstock.cluster.own_pod", "httpx"),
        ("penstock.data.engine.cluster_life", "httpx"),
        ("penstock.data.engine.dask_cluster", "httpx"),
        ("penstock.data.engine.on_kubernetes", "httpx"),
        ("penstock.data.engine.pod_reasons", "httpx"),
    },
    "monitor": {
        # As attributions.
        ("penstock.model.boosted", "sklearn"),
        # Attributions are watched where the model is: on a laptop.
        ("penstock.reports._svg", "matplotlib"),
    },
}
"""Modules that no step of an image reaches, though one that it imports names them somewhere."""


def reached_from(face: str) -> list[str]:
    """The modules of ours that a step may import, whenever: also those named inside functions."""
    found: set[str] = set()
    waiting = [*imported_by(face)]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += named_in(module)
    return sorted(found)


@cache
def imports_in(module: str) -> list[tuple[str, str]]:
    """What a module imports anywhere, but for types alone: from where, and the name."""
    tree = ast.parse(source_of(module).read_text())
    types = {
        node
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and "TYPE_CHECKING" in ast.unparse(test.test)
        for node in ast.walk(test)
    }
    nodes = [node for node in ast.walk(tree) if node not in types]
    return [
        *((name.name, "") for node in nodes if isinstance(node, ast.Import) for name in node.names),
        *(
            (node.module or "", name.name)
            for node in nodes
            if isinstance(node, ast.ImportFrom)
            for name in node.names
        ),
    ]


@cache
def named_in(module: str) -> list[str]:
    """The modules of ours that a module imports anywhere, but for types alone."""
    ours = [(a, b) for a, b in imports_in(module) if b and a.startswith("penstock")]
    return [f"{a}.{b}" if source_of(f"{a}.{b}").exists() else a for a, b in ours]


def libraries_of(modules: Iterable[str]) -> list[str]:
    """The libraries that modules of ours import anywhere, and kfp."""
    named = {place for module in set(modules) for place, _ in imports_in(module)}
    return ["kfp.dsl", *sorted(name for name in named if not name.startswith("penstock"))]


def source_of(module: str) -> Path:
    place = ROOT / module.replace(".", "/")
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@pytest.mark.parametrize("face", FACES)
def test_what_a_step_imports_later_is_in_its_image_too(face: str) -> None:
    """A router is chosen, and imported, when its step runs."""
    image = image_of(face)
    lacking = {(module, name) for module, name in steps_of(image)[face]}
    assert lacking <= NEVER_THERE.get(image, set())


def test_what_the_proxy_of_an_experiment_imports_is_in_the_servers_image() -> None:
    modules = ("penstock.rollout.proxy.pod", "penstock.captures.ship")
    done = imports(*modules, image="serving")
    assert done.returncode == 0, done.stderr


def test_a_step_reaches_what_it_imports_in_a_function() -> None:
    assert "penstock.rollout.backends.kserve.gateway" in reached_from("deploy")


def test_what_is_not_there_is_hidden() -> None:
    assert imports("penstock.data.hashing.rows", image="train").returncode == 0
    done = imports("penstock.data.hashing.rows", image="deploy")
    assert "is not in the image" in done.stderr
