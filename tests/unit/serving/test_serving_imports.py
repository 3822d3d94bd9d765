"""What a server process imports: what its image holds, and without scikit-learn very little."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from serving_process import ROW, Start

LOCK = Path(__file__).parents[3] / "images" / "locks" / "serving.txt"

# Loaded by uvicorn, scikit-learn, skops, joblib, scipy and pandas only where they are installed,
# and attrs by the oldest rich that is allowed. skops imports every module of scikit-learn, and so
# Dask with what it needs.
OPTIONAL = {
    "anyio", "attrs", "bottleneck", "charset-normalizer", "dask", "importlib-metadata", "iniconfig",
    "jinja2", "llvmlite", "markupsafe", "mmh3", "numba", "numexpr", "pluggy", "psutil", "pyarrow",
    "pygments", "pytest", "rich", "tblib", "toolz", "watchfiles", "xxhash", "zipp",
}  # fmt: skip

LEAN = {
    "annotated-types", "click", "h11", "httptools", "numpy", "onnxruntime", "orjson", "packaging",
    "prometheus-client", "pydantic", "pydantic-core", "pyyaml", "typing-extensions",
    "typing-inspection", "uvicorn", "uvloop",
}  # fmt: skip
"""What a server that answers by ONNX Runtime may import."""


owners_of_modules = functools.cache(packages_distributions)
"""To read what each distribution has takes two seconds."""


def imported(start: Start, folder: Path, *options: str, **more: Any) -> set[str]:
    """Return the distributions that a server imports until it has answered what it can be asked."""
    server = start(folder, *options, "--capture", str(more["capture"]))
    assert server.predict(ROW).status_code == 200
    body = {"instances": [ROW]}
    server.client.post("/v1/models/adult:explain", json=body)
    assert server.client.get("/metrics").status_code == 200
    label = {"labels": [{"request_id": "none", "index": 0, "label": "yes"}]}
    server.client.post("/v1/models/adult:feedback", json=label)
    assert server.stop() == 0
    # `import time: self | cumulative | name`, as Python writes it for this variable.
    names = re.findall(r"^import time:.*\|\s*(\w+)", server.log(), flags=re.MULTILINE)
    owners = owners_of_modules()
    found = {canonicalize_name(owner) for name in names for owner in owners.get(name, ())}
    # The base of an editable installation, which no image has.
    return found - {"penstock", "setuptools"}


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each server's imports in its log."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")


def test_by_onnx_it_is_lean(start: Start, exported: Callable[..., Any], tmp_path: Path) -> None:
    given = exported()
    found = imported(start, given.folder, *given.options, capture=tmp_path / "kept")
    assert {"onnxruntime", "uvicorn"} <= found <= LEAN | OPTIONAL - {"attrs", "pyarrow", "pytest"}


@pytest.mark.long
def test_by_scikit_learn_it_needs_what_its_image_holds(
    start: Start, models: Callable[..., Path], tmp_path: Path
) -> None:
    locked = {
        canonicalize_name(Requirement(line.rstrip("\\ ")).name)
        for line in LOCK.read_text().splitlines()
        if line[:1].isalnum()
    }
    assert locked >= LEAN
    found = imported(start, models(), capture=tmp_path / "kept")
    assert {"scikit-learn", "skops", "pandas"} <= found <= locked | OPTIONAL
