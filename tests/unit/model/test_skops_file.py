"""The bytes of a skops file: of what it holds, and of nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skops.io import load

from penstock.model import skops_file

PROGRAM = """
import sys
from pathlib import Path
junk = [object() for _ in range(int(sys.argv[2]))]
import numpy as np
from scipy import sparse
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.pipeline import make_pipeline
from penstock.model import skops_file
rows = np.array([[1.0, 2.0], [3.0, 5.0]])
level = "-".join(["a", sys.argv[3]]) if int(sys.argv[2]) else "a-b"
made = {
    "steps": make_pipeline(StandardScaler(), StandardScaler()).fit(rows),
    "level": [level, "a-b"],
    "encoder": OneHotEncoder().fit([["x"], ["y"]]),
    "sparse": sparse.csr_matrix(rows),
    "raw": b"abc",
}
skops_file.write(made, Path(sys.argv[1]))
"""


def test_two_processes_write_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them is this process, which has imported the libraries and has other hashes."""
    monkeypatch.setattr(sys, "argv", ["-c", str(tmp_path / "0.skops"), "0", "b"])
    exec(PROGRAM, {})
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    given = [str(tmp_path / "1.skops"), "9999", "b"]
    subprocess.run([sys.executable, "-c", PROGRAM, *given], env=environment, check=True)
    first, second = (tmp_path / f"{number}.skops" for number in range(2))
    assert first.read_bytes() == second.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"0.skops", "1.skops"}


def test_it_loads_to_what_was_written(tmp_path: Path) -> None:
    shared = np.arange(3.0)
    # Names that skops gives its own parts too.
    given: dict[str, Any] = {
        "file": "7.npy",
        "__id__": 5,
        "one": shared,
        "two": shared,
        "raw": b"a",
        "more": [b"b", "a", {"file": 1, "__id__": "0.npy"}],
    }
    skops_file.write(given, tmp_path / "one.skops")
    found = load(tmp_path / "one.skops")
    assert found["one"] is found["two"]
    assert np.array_equal(found.pop("one"), shared)
    assert np.array_equal(found.pop("two"), shared)
    assert found == {name: each for name, each in given.items() if name not in ("one", "two")}
    with zipfile.ZipFile(tmp_path / "one.skops") as archive:
        assert sorted(archive.namelist()) == ["0.npy", "1.bin", "2.bin", "schema.json"]
        assert b"\n" not in archive.read("schema.json"), "two thirds of a model of trees"


@pytest.mark.parametrize("change", [{"a": 2.0}, {"b": np.array([2.0])}, {"c": b"y"}])
def test_another_object_gives_other_bytes(tmp_path: Path, change: dict[str, Any]) -> None:
    given = {"a": 1.0, "b": np.array([1.0]), "c": b"x"}
    for name, each in (("one", given), ("other", given | change)):
        skops_file.write(each, tmp_path / name)
    assert (tmp_path / "one").read_bytes() != (tmp_path / "other").read_bytes()
