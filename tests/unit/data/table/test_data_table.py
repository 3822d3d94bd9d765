from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.data.table import iter_batches, read_dataset, read_table, write_dataset, writer
from penstock.errors import InputError, IntegrityError

TABLE = pa.table({"n": range(1_000), "w": [f"w{n % 7}" for n in range(1_000)]})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of three files of two row groups each, but for the last."""
    monkeypatch.setattr(writer, "PART_ROWS", 400)
    monkeypatch.setattr(writer, "GROUP_ROWS", 200)
    write_dataset(TABLE.to_batches(max_chunksize=100), output=tmp_path / "d", source="test")
    return tmp_path / "d"


def test_what_is_written_is_read(folder: Path) -> None:
    dataset = read_dataset(folder)

    assert [(file.name, file.rows) for file in dataset.files] == [
        ("part-00000.parquet", 400),
        ("part-00001.parquet", 400),
        ("part-00002.parquet", 200),
    ]
    assert read_table(folder).equals(TABLE)
    assert read_table(folder, ["w"]).equals(TABLE.select(["w"]))
    assert read_table(folder, ["w", "n"]).column_names == ["w", "n"]
    sizes = [batch.num_rows for batch in iter_batches(folder, rows=150)]
    assert sum(sizes) == 1_000
    assert max(sizes) <= 150
    # Any reader takes the files for what they are.
    assert pq.read_table(folder / "part-00001.parquet").schema == TABLE.schema


def test_text_that_stops_repeating_is_written_whole(tmp_path: Path) -> None:
    # The column is written as a dictionary at first and plain later, within one file.
    words = [f"w{n % 5}" for n in range(150_000)] + [f"word {n}" for n in range(150_000)]
    table = pa.table({"w": words})

    write_dataset(table.to_batches(max_chunksize=50_000), output=tmp_path / "d", source="test")

    assert read_table(tmp_path / "d").equals(table)


def test_numbers_and_times_that_differ_are_written_as_differences(tmp_path: Path) -> None:
    ends = [-(2**63), 2**63 - 1, None, 0, 2**63 - 1, -(2**63)]
    numbers = [*range(150_000), *ends]
    times = [10**15 + n * 10**6 for n in range(150_000)] + ends
    table = pa.table({"a.b": numbers, "at": pa.array(times, pa.timestamp("us", "UTC"))})

    write_dataset(table.to_batches(max_chunksize=50_000), output=tmp_path / "d", source="test")

    assert read_table(tmp_path / "d").equals(table)
    (file,) = (tmp_path / "d").glob("*.parquet")
    assert pq.read_table(file).equals(table)
    # Plain, they take eight bytes each.
    assert file.stat().st_size < 150_000


def test_types_are_brought_to_five(tmp_path: Path) -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    table = pa.table(
        {
            "small": pa.array([1, None], pa.uint8()),
            "half": pa.array([0.5, float("nan")], pa.float32()),
            "price": pa.array([decimal.Decimal("1.25"), None]),
            "day": pa.array([dt.date(2026, 1, 2), None]),
            "zoned": pa.array([dt.datetime(2026, 1, 2, 3, tzinfo=zone), None]),
            "ns": pa.array([1_000_001_999, None], pa.timestamp("ns")),
            "label": pa.array(["a", None]).dictionary_encode(),
            "long": pa.array(["a", None], pa.large_string()),
            "none": pa.nulls(2),
        }
    )

    dataset = write_dataset([table], output=tmp_path / "d", source="test", notes=["made up"])

    kinds = "integer number number datetime datetime datetime string string string"
    assert [column.type for column in dataset.columns] == kinds.split()
    first, second = read_table(tmp_path / "d").to_pylist()
    assert set(second.values()) == {None}
    utc = dt.UTC
    assert first == {
        "small": 1,
        "half": 0.5,
        "price": 1.25,
        "day": dt.datetime(2026, 1, 2, tzinfo=utc),
        "zoned": dt.datetime(2026, 1, 2, 1, tzinfo=utc),
        "ns": dt.datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=utc),
        "label": "a",
        "long": "a",
        "none": None,
    }
    assert dataset.notes == ("made up", "column 'none' has no value in any row")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"a": [[1]]}), "column 'a': a column of type list<item: int64> cannot be stored"),
        (pa.table({"a": [b"x"]}), "column 'a': a column of type binary cannot be stored"),
        (pa.table({"a": pa.array([2**63], pa.uint64())}), "column 'a': values of type uint64"),
        (pa.table({"a": [float("-inf")]}), "column 'a': 1 infinite value"),
        (pa.table([[1], [2]], names=["a", "a"]), "the column name 'a' occurs 2 times"),
        (TABLE.slice(0, 0), "there are no rows"),
    ],
)
def test_what_cannot_be_stored(table: pa.Table, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said.replace("<", ".").replace(">", ".")):
        write_dataset([table], output=tmp_path / "d", source="test")

    assert list(tmp_path.iterdir()) == []


def test_a_dataset_that_was_tampered_with(folder: Path) -> None:
    part = folder / "part-00001.parquet"
    original = part.read_bytes()
    pq.write_table(TABLE.slice(0, 10), part)
    with pytest.raises(IntegrityError, match=r"part-00001\.parquet: the file has .* bytes"):
        read_dataset(folder)
    part.write_bytes(original)
    read_dataset(folder)
    part.unlink()
    with pytest.raises(IntegrityError, match=r"part-00001\.parquet' is missing"):
        read_table(folder)


@pytest.mark.parametrize("place", ["end", "start", "middle"])
def test_a_file_of_which_pages_are_gone(place: str, folder: Path) -> None:
    """As a power cut leaves it: of the same size, with nothing in a part of it."""
    part = folder / "part-00001.parquet"
    content = bytearray(part.read_bytes())
    half = len(content) // 2
    empty = {"end": slice(half, None), "start": slice(0, half), "middle": slice(half // 2, half)}
    found = empty[place]
    content[found] = bytes(len(content[found]))
    part.write_bytes(content)
    with pytest.raises(
        IntegrityError, match=r"part-00001\.parquet: .*It was (damaged|changed) after"
    ):
        read_table(folder)


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a folder without _dataset\.json, and no dataset"):
        read_dataset(tmp_path)


def test_a_column_that_is_not_there(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'x'\. Its columns are: n, w"):
        read_table(folder, ["x"])


def test_a_file_that_is_read_is_not_held(tmp_path: Path, monkeypatch) -> None:
    """Arrow holds all that was read of a file where it reads ahead: four million rows of ours."""
    monkeypatch.setattr("penstock.data.table.writer.GROUP_ROWS", 10_000)
    values = np.random.default_rng(3).random(400_000)
    batches = pa.table({"x": values}).to_batches(max_chunksize=10_000)
    write_dataset(batches, output=tmp_path / "data", source="numbers")
    before, held = pa.total_allocated_bytes(), []
    for batch in iter_batches(tmp_path / "data", rows=10_000):
        held.append(pa.total_allocated_bytes() - before)
        assert batch.num_rows == 10_000
    assert len(held) == 40
    assert max(held) < values.nbytes / 4
