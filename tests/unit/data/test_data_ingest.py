from __future__ import annotations

import bz2
import functools
import gzip
import http.server
import json
import lzma
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from needs import NEEDS_LINUX
from running_process import LOOPBACK, RunningProcess, free_port, listens, served

from penstock.data.csv import reader as csv_source
from penstock.data.csv.blocks import Blocks
from penstock.data.table import read_table
from penstock.records.dataset import Dataset

Read = Callable[..., Dataset]


ROWS = [
    {
        "id": number,
        "amount": number / 4,
        "city": ("Oslo", "Köln", "a, b", None)[number % 4],
        "at": datetime(2026, 1, 1 + number % 28, 12, 30, tzinfo=UTC),
        "paid": number % 3 == 0,
    }
    for number in range(500)
]
TABLE = pa.Table.from_pylist(ROWS)
DIGEST = "rows1:5eb5958c9e9ae24e10def05befc7d162"


def types(dataset: Dataset) -> dict[str, str]:
    return {column.name: column.type for column in dataset.columns}


def as_text(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def csv_text() -> str:
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(TABLE, sink)
    return sink.getvalue().to_pybytes().decode()


def json_text() -> str:
    return "".join(
        json.dumps({**row, "at": row["at"].isoformat()}, ensure_ascii=False) + "\n" for row in ROWS
    )


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[str], Path]:
    """Write the table in a format below `tmp_path/source`."""

    def write(name: str) -> Path:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if ".parquet" in name:
            pq.write_table(TABLE, path)
            return path
        raw = (csv_text() if ".csv" in name else json_text()).encode()
        pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
        zstd = functools.partial(pa.compress, codec="zstd", asbytes=True)
        path.write_bytes({**pack, ".zst": zstd}.get(path.suffix, bytes)(raw))
        return path

    return write


NAMES = ["t.csv", "t.csv.gz", "t.csv.bz2", "t.csv.xz", "t.csv.zst"]
NAMES += ["t.jsonl", "t.ndjson.gz", "t.parquet"]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_the_same_dataset(
    name: str, stored: Callable[[str], Path], read: Read, output: Path
) -> None:
    dataset = read(stored(name))

    assert dataset.content == DIGEST
    assert types(dataset) == {
        "id": "integer",
        "amount": "number",
        "city": "string",
        "at": "datetime",
        "paid": "boolean",
    }
    table = read_table(output)
    assert table.to_pylist() == ROWS
    assert table.schema.types == [
        pa.int64(),
        pa.float64(),
        pa.string(),
        pa.timestamp("us", "UTC"),
        pa.bool_(),
    ]
    assert Dataset.of(output) == dataset
    assert sorted(p.name for p in output.iterdir()) == ["_dataset.json", "part-00000.parquet"]


def test_a_database_gives_the_same_dataset(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "t.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.register("rows", TABLE)
        connection.execute("create table t as select * from rows")

    dataset = read(f"duckdb:///{path}", query="select * from t order by id desc")

    assert dataset.content == DIGEST
    assert dataset.notes == (
        "SQL: select * from t order by id desc",
        "read through Arrow, by DuckDB",
    )


def test_sqlite_gives_typed_columns(tmp_path: Path, read: Read, output: Path) -> None:
    path = tmp_path / "t.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (a integer, b real, c text, d text)")
        rows = [(n, n / 2, f"w{n % 3}", "2026-02-03 04:05:06") for n in range(40_000)]
        # Beyond the rows that types are inferred from.
        rows[39_999] = (39_999, None, None, None)
        connection.executemany("insert into t values (?, ?, ?, ?)", rows)

    dataset = read(f"sqlite:///{path}", query="select a, b, c, d as at from t where a > 9")

    assert types(dataset) == {"a": "integer", "b": "number", "c": "string", "at": "datetime"}
    assert dataset.rows == 39_990
    assert dataset.source == f"sqlite:///{path}"


def test_a_database_column_that_widens_late_is_read_again(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "t.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (a)")
        connection.executemany("insert into t values (?)", [(n,) for n in range(30_000)])
        connection.execute("insert into t values (0.5)")

    assert types(read(f"sqlite:///{path}", query="select * from t")) == {"a": "number"}


def test_cutting_order_and_formats_do_not_change_the_digest(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "parts"
    (folder / "deep").mkdir(parents=True)
    (folder / "_SUCCESS").touch()
    (folder / "readme.md").write_text("not data")
    lines = csv_text().splitlines(keepends=True)
    as_text(folder / "b.csv", lines[0] + "".join(lines[200:]))
    as_text(folder / "deep" / "a.csv", lines[0] + "".join(reversed(lines[1:200])))

    assert read(folder).content == DIGEST


def test_small_blocks_give_the_same_rows(
    stored: Callable[[str], Path], read: Read, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 64-byte reads put block ends everywhere, also amid characters, quotes and line ends.
    monkeypatch.setattr(Blocks.of, "__defaults__", (64,))

    assert read(stored("t.csv")).content == DIGEST
    assert read_table(output).to_pylist() == ROWS


@pytest.mark.parametrize("size", [7, 20, 33, 64])
def test_quotation_marks_at_any_block_end(
    size: int, tmp_path: Path, read: Read, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Quoted line ends, doubled marks, and marks that are only letters amid an unquoted cell.
    monkeypatch.setattr(Blocks.of, "__defaults__", (size,))
    cells = ['"two\nlines"', '5" pipe', '"say ""a\n"",b"', "plain", '""', 'a"b"', '"x"']
    text = "a,b\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells * 5))

    read(as_text(tmp_path / "t.csv", text))

    expected = ["two\nlines", '5" pipe', 'say "a\n",b', "plain", None, 'a"b"', "x"]
    assert read_table(output)["b"].to_pylist() == expected * 5


@pytest.mark.parametrize("gap", ["", "\n"])
def test_a_row_of_several_lines_that_comes_late(
    gap: str, tmp_path: Path, read: Read, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Blocks are cut at any line's end until one is found that lies inside a cell.
    monkeypatch.setattr(Blocks.of, "__defaults__", (4_000,))
    plain = "".join(f'{n},"row {n}"\n{gap}' for n in range(2_000))
    text = f'a,b\n{plain}7,"' + "two\n\nlines\n" * 900 + f'"\n{plain}'

    dataset = read(as_text(tmp_path / "t.csv", text))

    assert dataset.rows == 4_001
    assert read_table(output)["b"][2_000].as_py() == "two\n\nlines\n" * 900


@pytest.mark.parametrize("size", range(8, 40))
def test_lines_that_look_like_rows(
    size: int, tmp_path: Path, read: Read, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Cut at the line's end inside it, this cell gives two halves that both parse as rows.
    monkeypatch.setattr(Blocks.of, "__defaults__", (size,))
    monkeypatch.setattr(csv_source, "_FIRST", size)
    plain = '0,"z"\n' * 3

    read(as_text(tmp_path / "t.csv", f'a,b\n{plain}1,"x\n5,y"\n{plain}'))

    assert read_table(output)["b"].to_pylist() == [*"zzz", "x\n5,y", *"zzz"]


@pytest.mark.parametrize(("space", "mark"), [(" ", '""'), ("", '\\"')])
def test_large_files_of_the_rarer_dialects(
    space: str,
    mark: str,
    tmp_path: Path,
    read: Read,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Blocks.of, "__defaults__", (4_000,))
    cells = [f"say {mark}x\ny{mark}, {n}" for n in range(30_000)]
    first = f'0,{space}"{mark}hi{mark}, all"\n'
    text = first + "".join(f'{n},{space}"{cell}"\n' for n, cell in enumerate(cells))

    read(as_text(tmp_path / "t.csv", f"a,{space}b\n{text}"))

    expected = [cell.replace(mark, '"') for cell in cells]
    assert read_table(output)["b"].to_pylist() == ['"hi", all', *expected]


def test_a_glob_names_files_of_one_format(stored: Callable[[str], Path], read: Read) -> None:
    path = stored("t.csv")
    stored("u.parquet")

    assert read(path.parent / "*.csv").content == DIGEST


def test_parquet_files_reconcile_types_and_column_order(tmp_path: Path, read: Read) -> None:
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"b": ["z"], "a": [0.5]}), tmp_path / "2.parquet")

    dataset = read(tmp_path / "*.parquet")

    assert types(dataset) == {"a": "number", "b": "string"}
    assert dataset.rows == 3


def test_csv_files_reconcile_types_and_column_order(
    tmp_path: Path, read: Read, output: Path
) -> None:
    as_text(tmp_path / "1.csv", "a,b\n1,x\n2,y\n")
    as_text(tmp_path / "2.csv", "b;a\nz;0.5\n")

    dataset = read(tmp_path / "*.csv")

    assert types(dataset) == {"a": "number", "b": "string"}
    assert read_table(output).to_pydict() == {"a": [1.0, 2.0, 0.5], "b": ["x", "y", "z"]}
    assert dataset.notes == (
        "CSV, delimiter comma, encoding utf-8 (1 files)",
        "CSV, delimiter semicolon, encoding utf-8 (1 files)",
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_the_dialect_is_detected(
    delimiter: str, newline: str, tmp_path: Path, read: Read, output: Path
) -> None:
    rows = [["name", "size", "note"], ["x", "1.5", '"a;b|c,d\te"'], ["y", "2", '"say ""hi"""']]
    text = newline.join(delimiter.join(row) for row in rows)

    read(as_text(tmp_path / "t.csv", text))

    assert read_table(output).to_pydict() == {
        "name": ["x", "y"],
        "size": [1.5, 2.0],
        "note": ["a;b|c,d\te", 'say "hi"'],
    }


@pytest.mark.parametrize(
    ("text", "expected", "note"),
    [
        ("a;b\n1,5;x\n-2,25;y\n3;z\n", {"a": [1.5, -2.25, 3.0], "b": ["x", "y", "z"]}, "decimal"),
        ("a,b\n'x, y',1\n'z',2\n", {"a": ["x, y", "z"], "b": [1, 2]}, "quote '"),
        ('a, b\n1, "x, y"\n2, "z"\n', {"a": [1, 2], "b": ["x, y", "z"]}, "comma"),
        ('a, b\n1, "x"\n2, "y"\n', {"a": [1, 2], "b": ["x", "y"]}, "comma"),
        ('a,b\n1,"say \\"hi\\", all"\n', {"a": [1], "b": ['say "hi", all']}, "backslash"),
        ('a,b\n1,"two\nlines"\n2,5" pipe\n', {"a": [1, 2], "b": ["two\nlines", '5" pipe']}, ""),
        ("a\n1\n2\n", {"a": [1, 2]}, "comma"),
        (",b\n1,2\n", {"column_1": [1], "b": [2]}, ""),
    ],
)
def test_rarer_dialects(
    text: str, expected: dict[str, list[Any]], note: str, tmp_path: Path, read: Read, output: Path
) -> None:
    dataset = read(as_text(tmp_path / "t.csv", text))

    assert read_table(output).to_pydict() == expected
    said = (*dataset.notes, *(assumption.text for assumption in dataset.assumptions))
    assert note in " ".join(said)


@pytest.mark.parametrize(
    ("encoding", "settings"),
    [
        ("utf-8-sig", {}),
        ("utf-16", {}),
        ("cp1252", {}),
        ("latin-1", {"encoding": "latin-1"}),
        ("utf-16-le", {"encoding": "utf-16-le"}),
    ],
)
def test_the_encoding_is_detected_or_taken(
    encoding: str, settings: dict[str, str], tmp_path: Path, read: Read, output: Path
) -> None:
    words = ["Größe", "Ångström", "naïve", "façade", "Crème brûlée"]
    text = "wörd,n\n" + "".join(f"{word},{n}\n" for n, word in enumerate(words * 20))

    read(as_text(tmp_path / "t.csv", text, encoding), **settings)

    assert read_table(output)["wörd"].to_pylist() == words * 20


def test_text_that_turns_out_late_not_to_be_utf8(tmp_path: Path, read: Read, output: Path) -> None:
    lines = [f"plain,{n}\n" for n in range(200_000)] + ["Größe,1\n", "Bücher,2\n"] * 20

    dataset = read(as_text(tmp_path / "t.csv", "word,n\n" + "".join(lines), "cp1252"))

    assert "cp1252" in dataset.notes[0]
    assert read_table(output)["word"].to_pylist()[-2:] == ["Größe", "Bücher"]


def test_spaces_and_missing_values(tmp_path: Path, read: Read, output: Path) -> None:
    text = "a, b ,c\n 1, x ,?\n?, NA,  \n 3,\ty z\t,2\n\n"

    read(as_text(tmp_path / "t.csv", text))

    assert read_table(output).to_pydict() == {
        "a": [1, None, 3],
        "b": ["x", None, "y z"],
        "c": [None, None, 2],
    }


def test_spaces_around_text_alone(tmp_path: Path, read: Read, output: Path) -> None:
    read(as_text(tmp_path / "t.csv", "a, b\n1, x\n2,y \n3,\tx\n"))

    assert read_table(output).to_pydict() == {"a": [1, 2, 3], "b": ["x", "y", "x"]}


def test_strip_and_na_values_can_be_set(tmp_path: Path, read: Read, output: Path) -> None:
    path = as_text(tmp_path / "t.csv", "a,b\n x,-1\n,2\nNA,3\n")

    read(path, strip=False, na_values=["-1"])

    assert read_table(output).to_pydict() == {"a": [" x", "", "NA"], "b": [None, 2, 3]}


def test_empty_text_and_missing_are_different_versions(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "t.jsonl"
    as_text(path, '{"a": ""}\n{"a": "x"}\n')
    first = read(path).content
    as_text(path, '{"a": null}\n{"a": "x"}\n')
    (tmp_path / "results").rename(tmp_path / "first")

    assert read(path).content != first


@pytest.mark.parametrize(
    ("early", "late", "expected"),
    [
        ("1", "0.5", "number"),
        pytest.param("true", "maybe", "string", marks=pytest.mark.long),
        ("", "7", "integer"),
        pytest.param("2026-01-02", "soon", "string", marks=pytest.mark.long),
        ("12345678901234567890", "1", "string"),
    ],
)
def test_a_later_value_widens_the_type(
    early: str, late: str, expected: str, tmp_path: Path, read: Read, output: Path
) -> None:
    # More than the first megabyte holds `early`, and one in five rows after it `late`.
    first = [f"{early},row {n}\n" for n in range(100_000)]
    rest = [f"{late},row\n"] * 25_000

    dataset = read(as_text(tmp_path / "t.csv", "a,b\n" + "".join(first + rest)))

    assert types(dataset)["a"] == expected
    assert dataset.rows == 125_000
    if expected == "string":
        assert set(read_table(output, ["a"])["a"].unique().to_pylist()) == {early, late}


def test_a_field_that_comes_late_is_missing_before(
    tmp_path: Path, read: Read, output: Path
) -> None:
    lines = ['{"a": 1, "t": "2026-01-01T00:00:00Z"}\n'] * 30_000 + ['{"b": 2.5, "a": 2}\n']

    dataset = read(as_text(tmp_path / "t.jsonl", "".join(lines)))

    assert types(dataset) == {"a": "integer", "t": "datetime", "b": "number"}
    assert read_table(output).slice(29_999).to_pylist() == [
        {"a": 1, "t": datetime(2026, 1, 1, tzinfo=UTC), "b": None},
        {"a": 2, "t": None, "b": 2.5},
    ]


def test_types_can_be_declared(tmp_path: Path, read: Read, output: Path) -> None:
    path = as_text(tmp_path / "t.csv", "zip,on,n,at\n01234,yes,1,2026-01-02\n98765,no,,\n")
    declared = {"zip": "string", "on": "boolean", "n": "number", "at": "datetime"}

    dataset = read(path, types=declared)

    assert types(dataset) == declared
    assert read_table(output).to_pydict() == {
        "zip": ["01234", "98765"],
        "on": [True, False],
        "n": [1.0, None],
        "at": [datetime(2026, 1, 2, tzinfo=UTC), None],
    }


def test_a_column_without_values_is_kept_and_told(tmp_path: Path, read: Read) -> None:
    dataset = read(as_text(tmp_path / "t.csv", "a,b\n1,\n2,NA\n"))

    assert types(dataset) == {"a": "integer", "b": "string"}
    assert dataset.columns[1].profile.nulls == 2
    assert "column 'b' has no value in any row" in dataset.notes


def test_a_ten_megabyte_cell_is_read(tmp_path: Path, read: Read, output: Path) -> None:
    cell = "lorem, \n" * (10 * 2**20 // 8)
    text = f'a,b\n1,"{cell}"\n2,short\n'

    dataset = read(as_text(tmp_path / "t.csv", text))

    assert read_table(output)["b"].to_pylist() == [cell.strip(" \t"), "short"]
    # The record stays small: a long level is cut.
    assert (output / "_dataset.json").stat().st_size < 10_000
    assert dataset.columns[1].profile.longest == len(cell)


def test_the_summary_line(tmp_path: Path, read: Read, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = read(as_text(tmp_path / "t.csv", "a,b\n1,2\n"))

    assert capsys.readouterr().out == f"penstock| 1 rows, 2 columns, {dataset.content}\n"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "source"
    folder.mkdir(exist_ok=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://user:secret@127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl.gz"])
def test_over_http(
    name: str, web: str, stored: Callable[[str], Path], read: Read, output: Path
) -> None:
    stored(name)

    dataset = read(f"{web}/{name}?token=abc")

    assert dataset.content == DIGEST
    assert "secret" not in dataset.source
    assert "abc" not in dataset.source
    assert name in dataset.source
    assert [p.name for p in output.parent.iterdir()] == ["dataset"]


def test_a_web_address_that_is_not_there(web: str, refuse: Callable[..., str]) -> None:
    message = refuse(f"{web}/absent.csv")

    assert "there is no such file" in message
    assert "absent.csv" in message
    assert "secret" not in message


def test_in_memory_file_system(read: Read) -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    for part, line in (("1.csv", "1,x\n"), ("2.csv", "2,y\n")):
        files.pipe_file(f"/penstock-test/{part}", b"a,b\n" + line.encode())

    assert read("memory://penstock-test/*.csv").rows == 2
    files.rm("/penstock-test", recursive=True)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that speaks the S3 protocol, in a process of its own."""
    port, log = free_port(), tmp_path_factory.mktemp("s3") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", port]
    with RunningProcess(command, log=log) as server:
        server.wait_until(lambda: listens(port))
        yield f"http://{LOOPBACK}:{port}"


@pytest.fixture
def s3_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.mark.slow
def test_from_s3(
    s3: str,
    s3_keys: None,
    stored: Callable[[str], Path],
    read: Read,
    refuse: Callable[..., str],
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    client = boto3.client("s3")
    client.create_bucket(Bucket="penstock")
    for name in ("t.csv", "t.parquet"):
        client.upload_file(str(stored(name)), "penstock", f"in/{name}")
    lines = csv_text().splitlines(keepends=True)
    for name, part in (("1.csv", lines[1:99]), ("2.csv", lines[99:])):
        body = (lines[0] + "".join(part)).encode()
        client.put_object(Bucket="penstock", Key=f"parts/{name}", Body=body)

    for number, uri in enumerate(["in/t.csv", "in/t.parquet", "parts", "parts/*.csv"]):
        assert read(f"s3://penstock/{uri}").content == DIGEST
        output.rename(output.with_name(f"read-{number}"))

    output.parent.rename(output.parent.with_name("earlier"))
    assert "there is no such file" in refuse("s3://penstock/in/absent.csv")
    assert refuse("s3://no-such-bucket/t.csv")


ADULT = """age integer, workclass string, fnlwgt integer, education string, education-num integer,
marital-status string, occupation string, relationship string, race string, sex string,
capital-gain integer, capital-loss integer, hours-per-week integer, native-country string,
income string"""


def test_adult_as_it_was_published(read: Read, shared_data: Path) -> None:
    dataset = read(shared_data / "adult-train.csv")

    assert dataset.rows == 32_561
    assert [f"{c.name} {c.type}" for c in dataset.columns] == " ".join(ADULT.split()).split(", ")
    income = dataset.column("income")
    assert income is not None
    assert {level.value: level.rows for level in income.profile.top} == {
        "<=50K": 24_720,
        ">50K": 7_841,
    }
    nulls = {c.name: c.profile.nulls for c in dataset.columns if c.profile.nulls}
    assert nulls == {"workclass": 1_836, "occupation": 1_843, "native-country": 583}


def test_winequality(read: Read, shared_data: Path) -> None:
    dataset = read(shared_data / "winequality-white.csv")

    assert dataset.rows == 4_898
    assert types(dataset)["free sulfur dioxide"] == "number"
    assert types(dataset)["quality"] == "integer"


# getrusage would count what the forking test process held: the kernel's mark of this program alone.
MEMORY = """
import sys
from pathlib import Path
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
ingest(SourceSpec(uri=sys.argv[1]), output=Path(sys.argv[2]))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.mark.long
@pytest.mark.slow
@NEEDS_LINUX
def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    words = "".join(
        f"{n},{n * 7919 % 10007},{n / 3:.6f},customer {n % 977}\n" for n in range(50_000)
    )
    peaks = []
    for times in (4, 40):
        path = tmp_path / f"{times}.csv"
        with path.open("w") as stream:
            stream.write("a,b,c,d\n")
            stream.writelines(words for _ in range(times))
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(path), str(tmp_path / f"out-{times}")],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.splitlines()[-1]))

    assert peaks[1] <= 500
    assert peaks[1] < peaks[0] + 150
