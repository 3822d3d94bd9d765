"""Rows of a holdout as JSON lines: the same rows and values that Parquet holds, or a refusal."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pytest

from penstock.data.sample import NAME, ROWS, chosen
from penstock.data.spec import SplitSpec
from penstock.data.split import split
from penstock.data.table import read_table, write_dataset
from penstock.errors import InputError, IntegrityError
from penstock.records.dataset import RECORD_NAME, Dataset
from penstock.serving.parity_check import as_instances, columns_of, sample_rows

INTEGERS = [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), None]
NUMBERS = [0.1, -0.0, 5e-324, 1e150, 1.0, 1e22, 123456789.123456789, None]
TEXTS = ["", "a", 'said "so"\n\r\t\\', "\u2028 line \x85 end", "\U0001f600 \x00 é", "null", None]
TIMES = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 11, 29, 5, 6, 7, 89, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    None,
]


def table(rows: int) -> pa.Table:
    def repeated(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([values[row % len(values)] for row in range(rows)], kind)

    return pa.table(
        {
            "whole": repeated(INTEGERS, pa.int64()),
            "real": repeated(NUMBERS, pa.float64()),
            "flag": repeated([True, False, None], pa.bool_()),
            'a "text"': repeated(TEXTS, pa.string()),
            "time": repeated(TIMES, pa.timestamp("us", "UTC")),
            "empty": repeated([None], pa.string()),
            "row": pa.array(range(rows)),
        }
    )


def without_sample(folder: Path) -> None:
    """Make the dataset one that an earlier release wrote."""
    record = json.loads((folder / RECORD_NAME).read_text())
    del record["sample"]
    (folder / RECORD_NAME).write_text(json.dumps(record))
    (folder / NAME).unlink()


@pytest.mark.parametrize("total", [1, 13, ROWS, pytest.param(12_345, marks=pytest.mark.long)])
def test_the_rows_are_those_of_parquet(tmp_path: Path, total: int) -> None:
    batches = table(total).to_batches(max_chunksize=700)
    folder = tmp_path / "d"
    written = write_dataset(batches, output=folder, source="a test", sample_of=total)
    assert written.sample is not None
    assert written.sample.rows == min(total, ROWS)
    assert pa.dataset.dataset(folder, format="parquet").count_rows() == total
    asked = (1, 7, 20, 300, ROWS, ROWS + 1, total)
    found = {rows: sample_rows(folder, rows=rows) for rows in asked}
    without_sample(folder)
    for rows, sample in found.items():
        same = sample_rows(folder, rows=rows)
        names = list(same)
        assert len(same["row"]) == min(rows, total)
        # As text: -0.0 equals 0.0, and 1 equals 1.0 and True.
        assert repr(as_instances(sample, names)) == repr(as_instances(same, names))
        for name, values in columns_of(sample, written.columns).items():
            assert [*map(str, values)] == [*map(str, columns_of(same, written.columns)[name])]
            assert [type(v) for v in sample[name]] == [type(v) for v in same[name]]


@pytest.mark.parametrize("rows", [1, 20, 100, 1_000, ROWS])
def test_rows_are_spread_evenly(rows: int) -> None:
    assert chosen(123_457, rows) == [index * 123_457 // rows for index in range(rows)]


@pytest.fixture
def holdout(tmp_path: Path) -> Path:
    """What a split holds out."""
    drawn = table(400).append_column("y", pa.array([row % 2 for row in range(400)]))
    write_dataset([drawn], output=tmp_path / "d", source="a test")
    parts = {"train": tmp_path / "train", "holdout": tmp_path / "holdout"}
    split(tmp_path / "d", SplitSpec(), target="y", task="binary", **parts)
    assert Dataset.of(parts["train"]).sample is None
    return parts["holdout"]


def test_a_split_writes_them_beside_its_holdout(
    holdout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_table(holdout)["row"].to_pylist()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert sample_rows(holdout, rows=10_000)["row"] == whole
    without_sample(holdout)
    with pytest.raises(InputError, match=r"without pyarrow.*that the component split wrote"):
        sample_rows(holdout, rows=20)


def test_more_than_there_are_need_arrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "d"
    write_dataset([table(ROWS + 1)], output=folder, source="a test", sample_of=ROWS + 1)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert len(sample_rows(folder, rows=ROWS)["row"]) == ROWS
    with pytest.raises(InputError, match=r"5,001 rows .* 5,000 can be read .*at most 5,000"):
        sample_rows(folder, rows=ROWS + 1)


@pytest.mark.parametrize("change", ["value", "absent", "fewer"])
def test_rows_that_are_not_the_datasets_are_refused(holdout: Path, change: str) -> None:
    path = holdout / NAME
    said = path.read_bytes()
    if change == "absent":
        path.unlink()
    else:
        path.write_bytes(said.replace(b"0.1", b"0.2", 1) if change == "value" else said[:-1])
    with pytest.raises(IntegrityError, match="split the data again"):
        sample_rows(holdout, rows=20)
