"""Parts of a dataset: each row once, with its number, whatever parts are read in which order."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from penstock.data.table import iter_parts, parts_of, write_dataset
from penstock.errors import IntegrityError
from penstock.records.dataset import Column

COLUMNS = (Column(name="s", type="string"), Column(name="n", type="integer"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr("penstock.data.table.writer.GROUP_ROWS", 30)
    monkeypatch.setattr("penstock.data.table.writer.PART_ROWS", 90)
    rows = pa.table({"n": list(range(200)), "s": [f"s{n % 7}" for n in range(200)]})
    pieces = [rows.slice(start, 30) for start in range(0, 200, 30)]
    write_dataset(pieces, output=tmp_path / "data", source="numbers")
    return tmp_path / "data"


def test_parts_are_row_groups_with_the_number_of_their_first_row(folder: Path) -> None:
    found = parts_of(folder)
    assert [(part.file, part.group, part.start) for part in found] == [
        ("part-00000.parquet", 0, 0),
        ("part-00000.parquet", 1, 30),
        ("part-00000.parquet", 2, 60),
        ("part-00001.parquet", 0, 90),
        ("part-00001.parquet", 1, 120),
        ("part-00001.parquet", 2, 150),
        ("part-00002.parquet", 0, 180),
    ]
    assert {part.place for part in found} == {str(folder)}
    assert all(part.size == (folder / part.file).stat().st_size for part in found)


@pytest.mark.parametrize("coded", [(), ("s",)])
def test_rows_come_once_with_their_numbers_in_any_order(folder: Path, coded) -> None:
    parts = parts_of(folder)
    random.Random(1).shuffle(parts)
    found = [
        (start + at, value)
        for batch, start in iter_parts(parts, COLUMNS, coded=coded)
        for at, value in enumerate(batch.column("n").to_pylist())
    ]
    assert len(found) == 200
    assert all(number == value for number, value in found)


def test_a_part_that_is_missing_is_a_sentence(folder: Path) -> None:
    parts = parts_of(folder)
    (folder / "part-00001.parquet").unlink()
    with pytest.raises(IntegrityError, match=r"'part-00001.parquet' is missing"):
        list(iter_parts(parts, COLUMNS))


def test_a_part_that_was_written_again_is_a_sentence(folder: Path) -> None:
    parts = parts_of(folder)
    with (folder / "part-00001.parquet").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(IntegrityError, match=r"the file has [\d,]+ bytes, its record says [\d,]+"):
        list(iter_parts(parts, COLUMNS))
