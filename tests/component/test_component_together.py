"""A component of somebody else between ours, as components/README.md shows it, with kfp.local."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.data.table import read_dataset, read_table
from penstock.errors import InputError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "their_pipeline.py"
RUN = """

from kfp import local

local.init(local.SubprocessRunner(use_venv=False), pipeline_root="out")
print("returned", adults_pipeline(uri="people.csv").output)
"""


@pytest.mark.long
def test_the_pipeline_of_the_catalogue_runs(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    assert text.strip() in (ROOT / "components/README.md").read_text()
    # Here its packages are installed, and nothing else may be.
    installed = text.replace(
        'packages_to_install=["pandas", "pyarrow"]', "install_kfp_package=False"
    )
    assert installed != text
    (tmp_path / "pipeline.py").write_text(installed + RUN)
    (tmp_path / "people.csv").write_text("name,age\na,10\nb,18\nc,44\n")

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "pipeline.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "returned True" in done.stdout
    written = next((tmp_path / "out").glob("*/ingest-artifact/dataset"))
    assert read_table(written).to_pydict() == {"name": ["b", "c"], "age": [18, 44]}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    ingest(SourceSpec(uri=str(tmp_path / "t.csv")), output=tmp_path / "dataset")
    return tmp_path / "dataset"


def test_others_read_a_dataset_of_ours(dataset: Path) -> None:
    expected = {"a": [1, 2], "b": ["x", "y"]}
    assert pd.read_parquet(dataset).to_dict("list") == expected
    assert pq.read_table(dataset).to_pydict() == expected
    assert pl.read_parquet(f"{dataset}/*.parquet").to_dict(as_series=False) == expected
    rows = duckdb.sql(f"select a, b from '{dataset}/*.parquet'").fetchall()
    assert rows == [(1, "x"), (2, "y")]


def test_a_dataset_with_the_older_name_of_the_record_is_read(dataset: Path) -> None:
    now = read_dataset(dataset)
    (dataset / "_dataset.json").rename(dataset / "dataset.json")
    assert read_dataset(dataset) == now


def write_csv(path: Path) -> None:
    path.write_text("a,b\n1,x\n2,y\n")


def write_lines(path: Path) -> None:
    path.write_text("".join(json.dumps({"a": n, "b": t}) + "\n" for n, t in ((1, "x"), (2, "y"))))


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), path)


def write_packed(path: Path) -> None:
    pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).to_csv(path, index=False, compression="xz")


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("name", ["table", "my.table"])
@pytest.mark.parametrize("write", [write_csv, write_lines, write_parquet, write_packed])
def test_what_others_write_needs_no_suffix(
    write: Callable[[Path], None], name: str, folder: bool, tmp_path: Path
) -> None:
    path = tmp_path / name
    if folder:
        path.mkdir()
        (path / "_SUCCESS").touch()
    write(path / "data" if folder else path)

    record = ingest(SourceSpec(uri=str(path)), output=tmp_path / "d", called="s3://k:s@bucket/t")

    assert read_table(tmp_path / "d").to_pydict() == {"a": [1, 2], "b": ["x", "y"]}
    assert record.source == "s3://***@bucket/t"


def test_a_table_that_was_not_ingested_is_named_so(tmp_path: Path) -> None:
    write_csv(tmp_path / "t")
    with pytest.raises(InputError, match=r"t: this is a file, and no dataset\. Ingest the table"):
        read_dataset(tmp_path / "t")
    (tmp_path / "f").mkdir()
    with pytest.raises(InputError, match=r"a folder without _dataset\.json, and no dataset"):
        read_dataset(tmp_path / "f")
    with pytest.raises(InputError, match="there is no dataset"):
        read_dataset(tmp_path / "g")
