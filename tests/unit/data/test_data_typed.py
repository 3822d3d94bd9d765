"""Sources that have types of their own: columns are chosen, values keep their meaning."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock import project
from penstock.data.table import read_table
from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Dataset

Read = Callable[..., Dataset]
Refuse = Callable[..., str]


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str = "t.parquet", **columns: Any) -> Path:
        path = tmp_path / "tables" / name
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), path)
        return path

    return write


def test_the_index_of_pandas_is_no_column(tmp_path: Path, read: Read, output: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]}, index=pd.Index([7, 5, 6]))
    frame.to_parquet(tmp_path / "t.parquet")

    (said,) = read(tmp_path / "t.parquet").assumptions

    assert read_table(output).to_pydict() == {"a": [1, 2, 3]}
    assert "__index_level_0__" in said.text
    output.rename(output.with_name("first"))
    read(tmp_path / "t.parquet", columns=["__index_level_0__"])
    assert read_table(output).to_pydict() == {"__index_level_0__": [7, 5, 6]}


def test_an_index_with_a_name_is_a_column_and_said(tmp_path: Path, read: Read) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]}, index=pd.Index([7, 5, 6], name="id"))
    frame.to_parquet(tmp_path / "t.parquet")

    dataset = read(tmp_path / "t.parquet")

    assert [column.name for column in dataset.columns] == ["a", "id"]
    assert [(said.risk, said.setting) for said in dataset.assumptions] == [
        ("medium", "exclude: [id]")
    ]


NESTED = {"l": [[1], [2]], "s": [{"a": 1}, {"a": 2}], "b": [b"x", b"y"], "x": [1, 2], "y": [0, 1]}


def test_columns_that_cannot_be_stored_can_be_left_out(
    parquet: Callable[..., Path], read: Read, output: Path
) -> None:
    path = parquet(**NESTED)

    with pytest.raises(ReadingError, match=r"exclude: \[l, s, b\]") as caught:
        read(path)
    assert caught.value.proposal == {"exclude": ["l", "s", "b"]}

    read(path, **caught.value.proposal)
    assert read_table(output).to_pydict() == {"x": [1, 2], "y": [0, 1]}
    output.rename(output.with_name("first"))
    read(path, columns=["y", "x"])
    assert read_table(output).to_pydict() == {"x": [1, 2], "y": [0, 1]}


def test_fields_of_json_lines_are_chosen(tmp_path: Path, read: Read, output: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1, "n": {"b": 1}}\n{"a": 2, "n": [1], "z": 1}\n' * 2)

    with pytest.raises(ReadingError, match="line 1: field 'n'") as caught:
        read(path)
    read(path, **caught.value.proposal)
    assert read_table(output).to_pydict() == {"a": [1, 2] * 2, "z": [None, 1] * 2}
    output.rename(output.with_name("first"))
    read(path, columns=["z"])
    assert read_table(output).to_pydict() == {"z": [None, 1] * 2}


def test_columns_of_a_query_are_chosen(tmp_path: Path, read: Read, output: Path) -> None:
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute("create table t (a integer, b blob, c text)")
        database.executemany("insert into t values (?, ?, ?)", [(1, b"x", "u"), (2, b"y", "v")])
    database.close()
    uri = f"sqlite:///{tmp_path}/t.db"

    with pytest.raises(ReadingError, match="column 'b'") as caught:
        read(uri, query="select * from t")
    read(uri, query="select * from t", **caught.value.proposal)

    assert read_table(output).to_pydict() == {"a": [1, 2], "c": ["u", "v"]}


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.db"])
def test_a_setting_that_names_no_column(
    name: str, parquet: Callable[..., Path], tmp_path: Path, refuse: Refuse
) -> None:
    (tmp_path / "t.jsonl").write_text('{"Age": 1}\n')
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute("create table t (Age integer)")
        database.execute("insert into t values (1)")
    database.close()
    uri = parquet(Age=[1]) if name == "t.parquet" else tmp_path / name
    more = {"query": "select * from t"} if name == "t.db" else {}
    uri = f"sqlite:///{uri}" if more else uri
    for setting in ("exclude", "columns", "types"):
        value = {"age": "string"} if setting == "types" else ["age"]
        message = refuse(uri, InputError, **{setting: value}, **more)
        assert f"source.{setting}, " in message
        assert "has no column 'age'" in message
        assert "Did you mean 'Age'?" in message


EPOCH, TIME = 1_600_000_000, dt.datetime(2020, 9, 13, 12, 26, 40, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([EPOCH, None], "datetime", "does not say from when"),
        ([1.6e9], "datetime", "does not say from when"),
        ([TIME], "integer", "nothing|no value in common"),
        ([True], "datetime", "no value in common"),
        ([0.5, 1.0], "boolean", "0.5 is neither 0 nor 1"),
        ([2, 1], "boolean", "2 is neither 0 nor 1"),
        ([1.5], "integer", "cannot be read as integer"),
        ([2**60 + 1], "number", "cannot be read as number"),
        (["x"], "integer", "cannot be read as integer"),
        (["x"], "datetime", "cannot be read as datetime"),
        ([0.0, 1.0, None], "boolean", [False, True, None]),
        ([0, 1], "boolean", [False, True]),
        ([True, False], "number", [1.0, 0.0]),
        ([1.0, None], "integer", [1, None]),
        (["1", "2"], "integer", [1, 2]),
        (["2020-09-13T12:26:40"], "datetime", [TIME]),
        (["2020-09-13T14:26:40+02:00"], "datetime", [TIME]),
        ([dt.date(2020, 9, 13)], "datetime", [dt.datetime(2020, 9, 13, tzinfo=dt.UTC)]),
        ([1.5, None], "string", ["1.5", None]),
        (pa.array([None, None], pa.int64()), "datetime", [None, None]),
    ],
)
def test_a_declared_type_loses_nothing_and_means_nothing_new(
    values: Any, kind: str, expected: Any, parquet: Callable[..., Path], read: Read, output: Path
) -> None:
    path = parquet(a=values)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            read(path, types={"a": kind})
        return
    assert read(path, types={"a": kind}).columns[0].type == kind
    assert read_table(output)["a"].to_pylist() == expected


def test_whole_numbers_beyond_64_bits_are_kept_as_text(
    parquet: Callable[..., Path], read: Read, output: Path
) -> None:
    dataset = read(parquet(a=pa.array([2**63, 1], pa.uint64()), b=pa.array([1, 2], pa.uint64())))

    assert read_table(output).to_pydict() == {"a": [str(2**63), "1"], "b": [1, 2]}
    assert [said.column for said in dataset.assumptions] == ["a"]


@pytest.mark.parametrize("empty", [pa.null(), pa.float64()])
def test_a_column_without_a_value_in_one_file_takes_the_type_of_the_others(
    empty: pa.DataType, parquet: Callable[..., Path], read: Read, output: Path
) -> None:
    folder = parquet("1.parquet", a=pa.array([None, None], empty)).parent
    parquet("2.parquet", a=["x", "y"])

    read(folder)

    assert read_table(output)["a"].to_pylist() == [None, None, "x", "y"]


def test_files_of_several_types_are_opened_by_a_declared_one(
    parquet: Callable[..., Path], read: Read, output: Path
) -> None:
    folder = parquet("1.parquet", a=[1]).parent
    parquet("2.parquet", a=["x"])

    with pytest.raises(ReadingError) as caught:
        read(folder)
    read(folder, **caught.value.proposal)

    assert read_table(output)["a"].to_pylist() == ["1", "x"]


@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "local://{}", "{}"])
def test_a_local_address_is_one_path_everywhere(
    form: str, tmp_path: Path, read: Read, output: Path
) -> None:
    path = tmp_path / "a b" / "my table.csv"
    path.parent.mkdir()
    path.write_text("a,b\n1,2\n")
    uri = form.format(str(path).replace(" ", "%20") if "://" in form else path)

    read(uri)

    assert read_table(output).to_pydict() == {"a": [1], "b": [2]}
    loaded = project.Project.parse({"name": "m", "target": "b", "source": {"uri": uri}}, where="p")
    assert project.resolved_uri(loaded, folder=tmp_path / "elsewhere") == str(path)
