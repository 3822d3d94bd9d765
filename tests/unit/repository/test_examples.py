"""The examples in docstrings and in the guide to the steps: each does what it says."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import runpy
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = {"penstock": "penstock", "components": "penstock.components",
           "pipelines": "penstock.pipelines"}  # fmt: skip
GUIDE = (ROOT / "docs/steps-in-python.md").read_text(encoding="utf-8")
STAYS = "penstock.rollout.release.deploy"
"""Starts servers that go on after it; tests/unit/rollout tries it."""


def _modules() -> list[str]:
    found = []
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                inside = path.relative_to(ROOT / folder).with_suffix("").parts
                found.append(".".join((package, *(p for p in inside if p != "__init__"))))
    return found


def _public() -> list[str]:
    names = []
    for page in (ROOT / "docs/reference").glob("*.rst"):
        names += re.findall(r"^\.\. autofunction:: (\S+)$", page.read_text(), re.MULTILINE)
    return sorted(set(names))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", _modules())
def test_the_examples_of_a_module_are_right(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    done = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert done.failed == 0
    assert done.attempted > 0


@pytest.mark.parametrize("name", [name for name in _public() if name != STAYS])
def test_a_public_function_has_an_example(name: str) -> None:
    module, _, function = name.rpartition(".")
    documented = inspect.getdoc(getattr(importlib.import_module(module), function)) or ""
    assert ">>> " in documented or re.search(rf"\b{function}\(", GUIDE)


@pytest.mark.long
@pytest.mark.slow
def test_the_guide_leads_a_table_to_a_registered_version(folder: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE, flags=re.DOTALL | re.MULTILINE)
    script = folder / "guide.py"
    script.write_text(textwrap.dedent("\n".join(blocks)), encoding="utf-8")
    names = runpy.run_path(str(script))
    assert names["decision"].approved
    assert names["registration"].uri == "models:/people/1"
