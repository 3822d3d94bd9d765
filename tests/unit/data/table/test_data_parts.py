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


def test_a_bit_that_has_changed_in_any_page_is_a_sentence(tmp_path: Path) -> None:
    """Its size is the same, and it would be read as another value: no page may go unseen."""
    chance = random.Random(4)
    rows = pa.table(
        {
            "n": [chance.randrange(10**9) for _ in range(400)],
            "s": [f"s{chance.randrange(7)}" for _ in range(400)],
            "x": [chance.random() for _ in range(400)],
        }
    )
    write_dataset([rows], output=tmp_path / "data", source="numbers")
    (part,) = parts_of(tmp_path / "data")
    columns = [*COLUMNS, Column(name="x", type="number")]
    whole = list(iter_parts([part], columns))
    path = tmp_path / "data" / part.file
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    refused = 0
    for at in range(8, footer, 61):
        changed = bytearray(content)
        changed[at] ^= 16
        path.write_bytes(changed)
        try:
            found = list(iter_parts([part], columns))
        except IntegrityError as error:
            assert "the file cannot be read" in str(error)  # noqa: PT017 - some bits mean nothing
            refused += 1
        else:
            assert found == whole, at
    assert refused > 90
