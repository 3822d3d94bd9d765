"""Parts of a dataset: each row once, with its number, whatever parts are read in which order."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from penstock.data.table import Part, iter_parts, parts_of, write_dataset
from penstock.errors import IntegrityError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr("penstock.data.table.writer.GROUP_ROWS", 30)
    monkeypatch.setattr("penstock.data.table.writer.PART_ROWS", 90)
    rows = pa.table({"n": list(range(200)), "s": [f"s{n % 7}" for n in range(200)]})
    pieces = [rows.slice(start, 30) for start in range(0, 200, 30)]
    write_dataset(pieces, output=tmp_path / "data", source="numbers")
    return tmp_path / "data"


def test_parts_are_row_groups_with_the_number_of_their_first_row(folder: Path) -> None:
    assert parts_of(folder) == [
        Part("part-00000.parquet", 0, 0),
        Part("part-00000.parquet", 1, 30),
        Part("part-00000.parquet", 2, 60),
        Part("part-00001.parquet", 0, 90),
        Part("part-00001.parquet", 1, 120),
        Part("part-00001.parquet", 2, 150),
        Part("part-00002.parquet", 0, 180),
    ]


@pytest.mark.parametrize("coded", [(), ("s",)])
def test_rows_come_once_with_their_numbers_in_any_order(folder: Path, coded) -> None:
    parts = parts_of(folder)
    random.Random(1).shuffle(parts)
    found = [
        (start + at, value)
        for batch, start in iter_parts(folder, parts, ["s", "n"], coded=coded)
        for at, value in enumerate(batch.column("n").to_pylist())
    ]
    assert len(found) == 200
    assert all(number == value for number, value in found)


def test_a_part_that_is_missing_is_a_sentence(folder: Path) -> None:
    parts = parts_of(folder)
    (folder / "part-00001.parquet").unlink()
    with pytest.raises(IntegrityError, match=r"'part-00001.parquet' is missing"):
        list(iter_parts(folder, parts, ["n"]))
