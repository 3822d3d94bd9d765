"""Whatever is wrong with a source is said with place and remedy, and nothing is left behind.

The `refuse` fixture asserts the latter.
"""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running_process import free_port

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.data.table import write_dataset
from penstock.errors import InputError, ServiceError
from penstock.records.dataset import Dataset

Read = Callable[..., Dataset]
Refuse = Callable[..., str]


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str | bytes, name: str = "t.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_a_missing_file(tmp_path: Path, refuse: Refuse) -> None:
    message = refuse(tmp_path / "absent.csv", InputError)

    assert message.startswith(f"{tmp_path / 'absent.csv'}: there is no such file or folder.")
    assert "relative ones start at" in message


def test_a_glob_without_a_match(tmp_path: Path, refuse: Refuse) -> None:
    assert "no file matches" in refuse(tmp_path / "*.csv", InputError)


def test_a_folder_without_data(tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "notes.md").write_text("hello")

    assert "the folder holds no data file" in refuse(tmp_path, InputError)


@pytest.mark.parametrize("text", ["", "\n\n  \n"])
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_an_empty_file(text: str, name: str, table: Callable[..., Path], refuse: Refuse) -> None:
    path = table(text, name)

    assert refuse(path, InputError).startswith(f"{path}: the file is empty.")


def test_an_empty_compressed_file(table: Callable[..., Path], refuse: Refuse) -> None:
    assert "the file is empty" in refuse(table(gzip.compress(b""), "t.csv.gz"), InputError)


@pytest.mark.parametrize("text", ["a,b\n", "a,b", "a,b\n\n\n"])
def test_a_header_alone(text: str, table: Callable[..., Path], refuse: Refuse) -> None:
    path = table(text)

    message = refuse(path, InputError)

    assert message.startswith(f"{path}: there are no rows.")
    assert "at least one row" in message


@pytest.mark.parametrize(("row", "cells"), [("4", 1), ("4,5,6", 3), ('4,"5",6,7', 4)])
def test_a_ragged_row(row: str, cells: int, table: Callable[..., Path], refuse: Refuse) -> None:
    path = table(f'a,b\n1,"two\nlines"\n\n{row}\n')

    message = refuse(path, InputError)

    assert message.startswith(f"{path}: line 5: {cells} cell")
    assert "where the header has 2" in message
    assert "quotation marks" in message


@pytest.mark.parametrize("row", ['"un,closed', '5,"unclosed', '5,"unclosed\n6,7'])
def test_a_quotation_mark_that_is_never_closed(
    row: str, table: Callable[..., Path], refuse: Refuse
) -> None:
    path = table(f'a,b\n1,"two\nlines"\n\n{row}\n')

    assert refuse(path, InputError).startswith(f"{path}: line 5: a quotation mark is never closed")


def test_a_ragged_row_far_down(table: Callable[..., Path], refuse: Refuse) -> None:
    lines = [
        f"{n},some longer text so that several blocks are needed {n}\n" for n in range(150_000)
    ]
    lines[140_000] = "1,2,3\n"

    assert ": line 140002: 3 cells where the header has 2: '1,2,3'" in refuse(
        table("a,b\n" + "".join(lines)), InputError
    )


def test_a_delimiter_that_does_not_occur(table: Callable[..., Path], refuse: Refuse) -> None:
    message = refuse(table("a;b\n1;2\n"), InputError, delimiter=",")

    assert "the delimiter ',' does not occur in the first line" in message
    assert "semicolon-separated: set delimiter to ';'" in message


def test_one_column_needs_no_delimiter(table: Callable[..., Path], read: Read) -> None:
    assert len(read(table("a\n1\n2\n"), delimiter=";").columns) == 1


def test_bytes_that_are_not_utf8(table: Callable[..., Path], refuse: Refuse) -> None:
    path = table(b"a,b\n1,x\n2,Gr\xf6\xdfe\n")

    message = refuse(path, InputError, encoding="utf-8")

    assert message.startswith(
        f"{path}: line 3: byte 0xf6 is not valid in the given encoding 'utf-8'"
    )
    assert "Remove the setting" in message


def test_bytes_that_are_not_utf8_far_down(table: Callable[..., Path], refuse: Refuse) -> None:
    text = b"a,b\n" + b"1,plain ascii text in a long row of it\n" * 300_000 + b"2,Gr\xf6\xdfe\n"

    message = refuse(table(text), InputError, encoding="utf-8")

    assert "line 300002: byte 0xf6 is not valid" in message


@pytest.mark.parametrize(
    ("encoding", "text", "said"),
    [
        ("utf-16", b"a,b\n1,2\n", "not valid"),
        ("ascii", "ä,b\n1,2\n".encode(), "not valid"),
        ("latin-1", "ä,b\n1,2\n".encode(), "valid UTF-8, so letters would come out wrong"),
        ("utf-8", "ä,b\n1,2\n".encode("utf-16"), "begins with the mark of utf-16"),
        ("klingon", b"a,b\n1,2\n", "the encoding 'klingon' is unknown"),
    ],
)
def test_an_encoding_declared_wrong(
    encoding: str, text: bytes, said: str, table: Callable[..., Path], refuse: Refuse
) -> None:
    assert said in refuse(table(text), InputError, encoding=encoding)


def test_a_binary_file(table: Callable[..., Path], refuse: Refuse) -> None:
    assert "not text" in refuse(table(b"\x00\x01\x02a,b\n" * 50), InputError)
    assert "zip archive or a workbook" in refuse(table(b"PK\x03\x04rest", "t.xlsx"), InputError)


@pytest.mark.parametrize(
    ("header", "name", "places"), [("a,b,a", "a", "1, 3"), ("x, y ,y", "y", "2, 3")]
)
def test_duplicate_column_names(
    header: str, name: str, places: str, table: Callable[..., Path], refuse: Refuse
) -> None:
    path = table(f"{header}\n1,2,3\n")

    message = refuse(path, InputError)

    assert message.startswith(
        f"{path}: line 1: the column name {name!r} occurs 2 times, as columns {places}."
    )
    assert "Rename" in message


def test_a_file_without_a_header(table: Callable[..., Path], refuse: Refuse) -> None:
    message = refuse(table("5.1,3.5,1.4\n4.9,3.0,1.4\n"), InputError)

    assert "line 1: the first row looks like values, not like column names: '5.1, 3.5" in message
    assert "set header: false" in message


def test_numbers_with_a_few_words(table: Callable[..., Path], refuse: Refuse) -> None:
    rows = [f"{n},{n}\n" for n in range(100)]
    rows[40], rows[70] = "40,unknown\n", "70,n.a.\n"
    path = table("id,income\n" + "".join(rows))

    message = refuse(path, InputError)

    assert message.startswith(
        f"{path}: line 42: column 'income': 2 of 100 values are not numbers; "
        "the first is 'unknown'."
    )
    assert "add 'unknown' to na_values" in message
    assert "declare types: {income: string}" in message


def test_both_remedies_of_a_mixed_column_work(
    table: Callable[..., Path], read: Read, output: Path
) -> None:
    path = table("a\n" + "1\n" * 50 + "unknown\n")

    assert read(path, types={"a": "string"}).columns[0].type == "string"
    output.rename(output.with_name("first"))
    assert read(path, na_values=["unknown"]).columns[0].profile.nulls == 1


def test_a_word_among_millions_of_numbers_is_found(
    table: Callable[..., Path], refuse: Refuse
) -> None:
    rows = [f"{n},{n}.5\n" for n in range(400_000)]
    rows[399_998] = "1,oops\n"

    message = refuse(table("a,b\n" + "".join(rows)), InputError)

    assert "line 400000: column 'b': 1 of 400,000 values are not numbers" in message


def test_a_declared_type_that_does_not_hold(table: Callable[..., Path], refuse: Refuse) -> None:
    path = table("a,b\n1,2\n3,x\n")

    message = refuse(path, InputError, types={"b": "integer"})

    assert message.startswith(f"{path}: line 3: column 'b': 'x' is not of type integer.")
    message = refuse(path, InputError, types={"c": "integer"})
    assert "source.types, " in message
    assert "the table has no column 'c'" in message


def test_a_date_that_is_none(table: Callable[..., Path], refuse: Refuse) -> None:
    message = refuse(table("a,b\n1,2026-01-30\n2,2026-02-30\n"), InputError)

    assert "line 3: column 'b': '2026-02-30' is not of type datetime" in message


@pytest.mark.parametrize("text", ["inf", "-inf", "Infinity"])
def test_infinite_values(text: str, table: Callable[..., Path], refuse: Refuse) -> None:
    rows = "".join(f"{n},{n / 3}\n" for n in range(20))

    message = refuse(table(f"a,b\n{rows}1,{text}\n2,{text}\n"), InputError)

    assert "column 'b': 2 infinite values." in message
    assert "na_values" in message


def test_infinite_values_of_a_wide_column(refuse: Refuse, tmp_path: Path) -> None:
    values = [n / 3 for n in range(30_000)] + [float("inf")]
    pq.write_table(pa.table({"a": values}), tmp_path / "t.parquet")

    assert "column 'a': 1 infinite value." in refuse(tmp_path / "t.parquet", InputError)


def test_files_with_different_columns(table: Callable[..., Path], refuse: Refuse) -> None:
    first = table("a,b\n1,2\n", "1.csv")
    second = table("a,c\n1,2\n", "2.csv")

    message = refuse(first.parent, InputError)

    assert message.startswith(f"{second}: the columns differ from those of {first}")
    assert "it lacks 'b' and has in addition 'c'" in message


def test_parquet_files_with_different_columns_or_types(tmp_path: Path, refuse: Refuse) -> None:
    for name, rows in (("1", {"a": [1]}), ("2", {"a": ["x"]})):
        pq.write_table(pa.table(rows), tmp_path / f"{name}.parquet")

    message = refuse(tmp_path, InputError)

    assert f"{tmp_path / '2.parquet'}: column 'a': the column is string here and integer" in message
    pq.write_table(pa.table({"b": [1]}), tmp_path / "2.parquet")
    assert "it lacks 'a' and has in addition 'b'" in refuse(tmp_path, InputError)


def test_files_of_several_formats(table: Callable[..., Path], refuse: Refuse) -> None:
    table('{"a": 1}\n', "1.jsonl")

    message = refuse(table("a\n1\n", "2.csv").parent, InputError)

    assert "files of several formats: csv, jsonl" in message


def test_a_truncated_parquet_file(tmp_path: Path, refuse: Refuse) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": list(range(10_000))}), path)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])

    message = refuse(path, InputError)

    assert message.startswith(f"{path}: the Parquet file is damaged or cut short")
    # With its footer whole, the damage shows only while rows are read.
    path.write_bytes(raw[:100] + bytes(len(raw) // 2) + raw[100 + len(raw) // 2 :])
    assert "damaged or cut short" in refuse(path, InputError)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz"])
def test_a_truncated_gzip_file(name: str, table: Callable[..., Path], refuse: Refuse) -> None:
    lines = "".join(f'{{"a": {n}}}\n' if "json" in name else f"{n}\n" for n in range(99_999))
    whole = gzip.compress(("" if "json" in name else "a\n").encode() + lines.encode())
    path = table(whole[: len(whole) // 2], name)

    assert refuse(path, InputError).startswith(f"{path}: the file is damaged or cut short")


def test_nested_values_cannot_be_stored(
    table: Callable[..., Path], tmp_path: Path, refuse: Refuse
) -> None:
    message = refuse(table('{"a": 1}\n{"a": {"b": 2}}\n', "t.jsonl"), InputError)
    assert "line 2: field 'a': a value of type dict cannot be stored" in message
    pq.write_table(pa.table({"a": [[1, 2]]}), tmp_path / "t.parquet")
    message = refuse(tmp_path / "t.parquet", InputError)
    assert "column 'a': a column of type list<element: int64> cannot be stored" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ('{"a": 1}\n\n[1]\n', "line 3 is not a JSON object: '[1]'"),
        ('[{"a": 1}]\n', "one JSON array, not an object on every line"),
        ('{"a": 1}\n{"a": "x"}\n{"a": 2}\n', "1 string); the first string is 'x'"),
        ('{"a": 1e999}\n', "1 infinite value"),
        ('{"a": 99999999999999999999}\n', "a value of type int cannot be stored"),
    ],
)
def test_bad_json_lines(text: str, said: str, table: Callable[..., Path], refuse: Refuse) -> None:
    assert said in refuse(table(text, "t.jsonl"), InputError)


def test_a_mixed_json_field_far_down(table: Callable[..., Path], refuse: Refuse) -> None:
    lines = [json.dumps({"a": n, "b": "text"}) + "\n" for n in range(60_000)]
    lines[59_998] = '{"a": "oops", "b": "text"}\n'

    message = refuse(table("".join(lines), "t.jsonl"), InputError)

    assert "line 59999: field 'a': values of several types" in message
    assert "declare types: {a: string}" in message
    lines[59_998] = '{"a": 1, "b": 2}\n'
    message = refuse(table("".join(lines), "t.jsonl"), InputError)
    assert "line 59999: field 'b': values of several types" in message


def test_an_unreachable_web_server(refuse: Refuse) -> None:
    begun = time.monotonic()

    message = refuse(f"http://127.0.0.1:{free_port()}/t.csv", ServiceError)

    assert time.monotonic() - begun < 20
    assert "the store cannot be read" in message
    assert "/t.csv" in message


@pytest.mark.slow
def test_an_unreachable_object_store(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    begun = time.monotonic()

    message = refuse("s3://bucket/t.csv", ServiceError)

    assert time.monotonic() - begun < 60
    assert message.startswith("s3://bucket/t.csv: the store cannot be read")


def test_an_unknown_kind_of_address(refuse: Refuse) -> None:
    assert "gopher" in refuse("gopher://host/t.csv")


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "t.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (a, b)")
        connection.executemany("insert into t values (?, ?)", [(1, "x"), (2, "y"), (3, 0.5)])
    return f"sqlite:///{path}"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("selekt a", 'the query failed: near "selekt": syntax error'),
        ("select a from u", "the query failed: no such table: u"),
        ("select a from t where a > 9", "there are no rows"),
        ("create table u (c)", "attempt to write a readonly database"),
        ("pragma foreign_keys = on", "the query returns no table"),
        ("select a, b as a from t", "the column name 'a' occurs 2 times"),
        ("select b from t", "row 3: column 'b': values of several types"),
        ("select x'00ff' as c", "a value of type bytes cannot be stored"),
    ],
)
def test_bad_queries(query: str, said: str, database: str, refuse: Refuse) -> None:
    assert said in refuse(database, InputError, query=query)


def test_bad_databases(tmp_path: Path, refuse: Refuse) -> None:
    query = "select 1"
    absent = tmp_path / "absent.db"
    assert "there is no such database file" in refuse(f"sqlite:///{absent}", query=query)
    assert not absent.exists()
    assert "not a database that can be read" in refuse("t.csv", query=query)
    message = refuse("nosuchdb://user:secret@host/x", query=query)
    assert "install its driver" in message
    assert "secret" not in message


def test_a_database_without_a_query(database: str, refuse: Refuse) -> None:
    message = refuse(database, InputError)

    assert "a database needs a query" in message


def test_an_output_that_holds_files(table: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()

    with pytest.raises(InputError, match="already holds files"):
        ingest(SourceSpec(uri=str(table("a\n1\n"))), output=tmp_path / "out")

    assert [p.name for p in (tmp_path / "out").iterdir()] == ["precious"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"NOT TESTED: no full disk can be made. Run it as root. {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.parametrize("rows", [100_000, pytest.param(500_000, marks=pytest.mark.long)])
def test_a_full_disk(rows: int, small_disk: Path, table: Callable[..., Path]) -> None:
    text = "a,b\n" + "".join(f"{n * 7919 % 1_000_003},{n / 7}\n" for n in range(rows))
    output = small_disk / "dataset"

    with pytest.raises(InputError, match="no space left on the disk") as caught:
        ingest(SourceSpec(uri=str(table(text))), output=output)

    assert str(caught.value).startswith(f"{output}: ")
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_while_copying_from_a_store(small_disk: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/penstock-big.csv", b"a\n" + b"12345\n" * 100_000)

    with pytest.raises(InputError, match="no space left on the disk"):
        ingest(SourceSpec(uri="memory://penstock-big.csv"), output=small_disk / "dataset")

    assert list(small_disk.iterdir()) == []
    fsspec.filesystem("memory").rm("/penstock-big.csv")


@contextmanager
def without_root() -> Iterator[None]:
    """Act as `nobody` where root, who may write everywhere, runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_output_that_may_not_be_written(read: Read) -> None:
    with TemporaryDirectory() as folder:
        closed = Path(folder)
        (closed / "t.csv").write_text("a\n1\n")
        # What is imported for it lies where only root may read.
        assert read(closed / "t.csv").rows == 1
        closed.chmod(0o555)
        with without_root(), pytest.raises(InputError, match="cannot be written"):
            ingest(SourceSpec(uri=str(closed / "t.csv")), output=closed / "dataset")
        closed.chmod(0o755)


def test_a_batch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": list(range(200_000))})
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_dataset(batches(), output=tmp_path / "out" / "dataset", source="test")

    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an old workbook"),
        (b"%PDF-1.4\n%a\nobj\n", "a PDF document"),
        (b"SQLite format 3\0" + bytes(99), "an SQLite database"),
        (b"ORC\x08\x03" + bytes(99), "an ORC file"),
        (b"<!DOCTYPE html>\n<html><body>a,b</body></html>\n", "a page in HTML"),
        (gzip.compress(b"\n <html>\n<p>a,b</p>\n1,2\n"), "a page in HTML"),
        (b"a,b\n1,\xf6\n\0\0\n", "not text"),
    ],
    ids=["xls", "pdf", "sqlite", "orc", "html", "html.gz", "nul"],
)
def test_what_is_no_table_is_named(
    data: bytes, said: str, table: Callable[..., Path], refuse: Refuse
) -> None:
    assert said in refuse(table(data), InputError)


def test_content_goes_before_the_name(table: Callable[..., Path], read: Read, output: Path) -> None:
    assert len(read(table('{"a": 1}\n{"a": 2}\n')).columns) == 1
    output.rename(output.with_name("first"))
    assert [c.name for c in read(table("[a],ORC\n1,2\n")).columns] == ["[a]", "ORC"]
