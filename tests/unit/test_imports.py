"""What is imported when: the command line and the faces stay light."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("sklearn", "mlflow", "great_expectations", "kserve", "pandas", "matplotlib", "pyarrow")


MODULES = (
    "penstock.pipelines.cli",
    "penstock.pipelines.run",
    "penstock.pipelines.ui.page",
    "penstock.project",
    "penstock.gate.decision",
    "penstock.data.ingest",
    "penstock.data.split.writer",
    "penstock.quality.check",
    "penstock.features.fit",
    "penstock.training.train",
    "penstock.evaluation.evaluate",
    "penstock.monitoring.estimates.performance",
    "penstock.monitoring.signals.group_gaps",
    "penstock.registry.baseline",
    "penstock.registry.register",
    "penstock.rollout.release",
    "penstock.monitoring.signals.detector",
    "penstock.monitoring.signals.distances",
    "penstock.monitoring.interventions.former_champions",
    "penstock.monitoring.interventions.recall",
)


@pytest.fixture(scope="module")
def brought() -> dict[str, list[str]]:
    """What is heavy that each module imports and none before it did, in one process."""
    code = f"""
import importlib, json, sys
found = {{}}
for module in {MODULES!r}:
    before = set(sys.modules)
    importlib.import_module(module)
    found[module] = [name for name in {HEAVY!r} if name in sys.modules and name not in before]
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_nothing_heavy(module: str, brought: dict[str, list[str]]) -> None:
    assert brought[module] == []


def test_kfp_comes_without_its_client_until_somebody_asks() -> None:
    code = """
import sys
from penstock.pipelines.local_runner import import_kfp
import_kfp()
import penstock.pipelines.release
print([name for name in ("kubernetes", "kfp_server_api", "kfp.client") if name in sys.modules])
import kfp
from kfp import Client
assert kfp.Client is Client is sys.modules["kfp.client"].Client, Client
assert kfp.client is sys.modules["kfp.client"]
try:
    kfp.no_such_name
except AttributeError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["[]", "module 'kfp' has no attribute 'no_such_name'"], done


def test_the_command_line_needs_nothing_of_an_extra() -> None:
    """Not even numpy: whoever has not installed an extra is to be told which."""
    code = "import sys; from penstock.pipelines import cli; cli.parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    owners = packages_distributions()
    used = {owner for name in done.stdout.split() for owner in owners.get(name, ())}
    assert {"pydantic", "PyYAML"} <= used
    assert used <= {
        "penstock", "pydantic", "pydantic_core", "PyYAML", "annotated-types", "typing_extensions",
        "typing-inspection", "setuptools",
    }  # fmt: skip


def test_every_package_is_installed() -> None:
    """An editable installation finds a folder that a wheel would not hold."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {"penstock": "penstock", "components": "penstock.components"}
    folders["pipelines"] = "penstock.pipelines"
    found = {
        ".".join((name, *path.parent.relative_to(ROOT / folder).parts))
        for folder, name in folders.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert found == set(settings["packages"])
