"""Only what is new is read, and what comes of it is what a read of everything gives."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from versioned_tables import FIRST, SECOND, delta_table, iceberg_table

from penstock.data.ingest import ingest
from penstock.data.restore import restore
from penstock.data.spec import SourceSpec
from penstock.data.table import read_table
from penstock.errors import InputError
from penstock.records.dataset import Dataset, Increment

Row = dict[str, Any]
Again = Callable[..., tuple[Dataset, Increment]]


def _written(path: Path, rows: list[Row]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows, pa.schema(_TYPES)), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        cells = ("" if row[name] is None else str(row[name]) for row in rows for name in _TYPES)
        lines = [",".join(line) for line in zip(*[iter(cells)] * len(_TYPES), strict=True)]
        path.write_text("\n".join([",".join(_TYPES), *lines]) + "\n")


_TYPES = {"n": pa.int64(), "x": pa.float64(), "city": pa.string()}
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.none() | st.integers(-5, 5),
            "x": st.none() | st.sampled_from([0.5, -1.25, 1e9, 3.0]),
            "city": st.none() | st.sampled_from(["Bonn", "Kiel", "Ulm"]),
        }
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
@given(
    arrivals=st.lists(st.lists(_ROWS, max_size=2), min_size=1, max_size=3),
    order=st.randoms(use_true_random=False),
    suffix=st.sampled_from(["csv", "jsonl", "parquet"]),
)
def test_any_split_of_a_table_in_arrivals_gives_the_dataset_of_one_read(
    tmp_path: Path, arrivals: list[list[list[Row]]], order: Any, suffix: str
) -> None:
    place = Path(shutil.rmtree(tmp_path / "work", ignore_errors=True) or tmp_path / "work")
    (place / "in").mkdir(parents=True)
    names = list(range(sum(map(len, arrivals))))
    order.shuffle(names)
    for number, files in enumerate([[[_PLAIN]], *arrivals]):
        for rows in files:
            name = names.pop() if number else 999
            _written(place / "in" / f"{name:03}.{suffix}", rows)
        plain = SourceSpec(uri=str(place / "in"))
        kept = plain.model_copy(update={"incremental": str(place / "kept")})
        found = ingest(kept, output=place / f"new-{number}")
        whole = ingest(plain, output=place / f"whole-{number}")
        assert found.content == whole.content
        assert sorted(found.columns, key=lambda one: one.name) == sorted(
            whole.columns, key=lambda one: one.name
        )
        assert _rows(place / f"new-{number}") == _rows(place / f"whole-{number}")
        assert found.increment
        assert found.increment.reused_rows + found.increment.new_rows == found.rows
        assert found.increment.reused_files + found.increment.new_files == len(
            list((place / "in").iterdir())
        )


_PLAIN = {"n": 1, "x": 2.5, "city": "Bonn"}


def _rows(folder: Path) -> list[str]:
    """Return the rows as texts that can be sorted, whatever order they and their columns have."""
    return sorted(json.dumps(row, sort_keys=True) for row in read_table(folder).to_pylist())


@pytest.fixture
def again(tmp_path: Path) -> Again:
    """Ingest what is new, check that a read of everything gives the same, and return the two."""
    number = iter(range(100))

    def run(uri: object, **given: object) -> tuple[Dataset, Increment]:
        place = tmp_path / f"ingest-{next(number)}"
        plain = SourceSpec.parse({"uri": str(uri), **given}, where="source")
        kept = plain.model_copy(update={"incremental": str(tmp_path / "kept")})
        found = ingest(kept, output=place / "new")
        whole = ingest(plain, output=place / "whole")
        assert found.content == whole.content
        assert _rows(place / "new") == _rows(place / "whole")
        assert found.increment
        return found, found.increment

    return run


@pytest.fixture
def people(tmp_path: Path) -> Path:
    folder = tmp_path / "people"
    folder.mkdir()
    (folder / "a.csv").write_text("age,city\n31,Bonn\n47,Kiel\n")
    (folder / "b.csv").write_text("age,city\n58,\n")
    return folder


def _add(people: Path, name: str, text: str) -> None:
    (people / name).write_text(text)


def test_files_that_were_read_are_reused_and_the_record_says_so(people: Path, again: Again) -> None:
    first, increment = again(people)
    assert "no ingest kept a dataset in" in increment.why_whole
    (people / "a.csv").touch()
    _add(people, "c.csv", "age,city\n31,Bonn\n")
    second, increment = again(people)
    assert increment == Increment(
        before=first.content, reused_files=2, reused_rows=3, new_files=1, new_rows=1
    )
    assert [one.rows for one in second.files] == [3, 1]
    assert f"3 rows are from the dataset before, {first.content}" in second.notes
    # The same row again is a row, as in one read.
    assert (second.rows, second.columns[0].profile.distinct) == (4, 3)
    third, increment = again(people)
    assert (increment.reused_rows, increment.new_files, increment.new_rows) == (4, 0, 0)
    assert third.content == second.content


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (
            lambda p: _add(p, "a.csv", "age,city\n32,Bonn\n47,Kiel\n"),
            "the ingest before read, 1 changed: ",
        ),
        (lambda p: (p / "b.csv").unlink(), "the ingest before read, 1 disappeared: "),
        (lambda p: _add(p, "c.csv", "age,city\n1.5,Ulm\n"), "a new value of column 'age'"),
        (lambda p: _add(p, "0.csv", "age,city\nold,Ulm\n"), "columns or types are others"),
    ],
)
def test_where_older_rows_may_be_others_the_whole_source_is_read(
    people: Path, again: Again, happens: Callable[[Path], object], said: str
) -> None:
    again(people)
    happens(people)
    _, increment = again(people)
    assert said in increment.why_whole
    assert increment.reused_rows == 0


def test_types_that_all_rows_settle_are_declared_to_be_read_on(people: Path, again: Again) -> None:
    again(people)
    _add(people, "c.csv", "age,city\n1.5,Ulm\n")
    again(people)
    _add(people, "d.csv", "age,city\n2,Ulm\n")
    assert "declare it by source.types" in again(people)[1].why_whole
    assert "source.types was changed" in again(people, types={"age": "number"})[1].why_whole
    _add(people, "e.csv", "age,city\n2.5,Ulm\n")
    assert again(people, types={"age": "number"})[1].reused_rows == 5


@pytest.mark.parametrize("name", ["part-00000.parquet", "_profile.npz", "_kept.json"])
def test_a_kept_dataset_that_was_changed_is_not_used(
    people: Path, tmp_path: Path, again: Again, name: str
) -> None:
    again(people)
    kept = next((tmp_path / "kept").glob("*/" + name))
    raw = bytearray(kept.read_bytes())
    raw[len(raw) // 2] ^= 1
    kept.unlink()
    kept.write_bytes(raw)
    assert "kept" in again(people)[1].why_whole
    assert again(people)[1].reused_rows == 3


def test_another_release_reads_everything_again(
    people: Path, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    again(people)
    monkeypatch.setattr("penstock.__version__", "99")
    assert "of Penstock read it, and this is another" in again(people)[1].why_whole


def test_a_file_that_cannot_be_read_leaves_what_was_kept(
    people: Path, tmp_path: Path, again: Again
) -> None:
    again(people)
    _add(people, "c.csv", "age,city\n2,Ulm\n3,Ulm,4\n")
    with pytest.raises(InputError, match=r"c\.csv: line 3"):
        again(people)
    assert not list(tmp_path.glob("ingest-1/*"))
    _add(people, "c.csv", "age,city\n2,Ulm\n")
    assert again(people)[1].reused_rows == 3


_KILLED = """
import os, signal, sys
from pathlib import Path
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
source, kept, output, call = sys.argv[1:]
def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if call == "link":
    os.link = killed
else:
    import penstock.data.incremental.kept as module
    module.write_state = killed
ingest(SourceSpec(uri=source, incremental=kept), output=Path(output))
"""


@pytest.mark.parametrize("call", [pytest.param("link", marks=pytest.mark.long), "write_state"])
def test_an_ingest_that_is_killed_goes_on_with_the_next(
    people: Path, tmp_path: Path, again: Again, call: str
) -> None:
    again(people)
    _add(people, "c.csv", "age,city\n2,Ulm\n")
    where = [people, tmp_path / "kept", tmp_path / "killed", call]
    done = subprocess.run([sys.executable, "-c", _KILLED, *map(str, where)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "killed").exists() == (call == "write_state")
    assert again(people)[1].reused_rows == 3
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["000002"]


def test_an_integer_column_that_was_of_numbers_is_one_still(tmp_path: Path, again: Again) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, values in {"a": [1, 2], "b": [0.5, None], "c": [None, None]}.items():
        pq.write_table(pa.table({"x": values, "y": ["m", "n"]}), folder / f"{name}.parquet")
    again(folder)
    pq.write_table(pa.table({"x": [7], "y": ["o"]}), folder / "d.parquet")
    found, increment = again(folder)
    assert (increment.reused_files, found.columns[0].type) == (3, "number")
    pq.write_table(pa.table({"x": ["7"], "y": ["o"]}), folder / "e.parquet")
    with pytest.raises(InputError, match="the column is string here"):
        again(folder)


def test_columns_of_many_values_have_the_profile_of_one_read(tmp_path: Path, again: Again) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    # One value is counted, the others are too many: the sketch and the sample go on.
    for part in range(3):
        numbers = [value if value % 5 else 0 for value in range(part * 30_000, 30_000 * (part + 1))]
        table = pa.table({"n": numbers, "x": [value / 3 for value in numbers]})
        pq.write_table(table, folder / f"{part}.parquet")
        found, increment = again(folder)
        assert bool(increment.reused_rows) == bool(part)
    whole = Dataset.of(tmp_path / "ingest-2" / "whole")
    for one, other in zip(found.columns, whole.columns, strict=True):
        assert one.profile.mean == pytest.approx(other.profile.mean, rel=1e-12)
        exact = {"mean": 0.0, "deviation": 0.0}
        assert one.profile.model_copy(update=exact) == other.profile.model_copy(update=exact)


def test_of_a_delta_table_only_files_that_came_are_opened(tmp_path: Path, again: Again) -> None:
    from deltalake import DeltaTable, write_deltalake

    uri = delta_table(tmp_path / "lake")
    plain = SourceSpec(uri=uri)
    kept = plain.model_copy(update={"incremental": str(tmp_path / "kept")})
    ingest(kept, output=tmp_path / "first")
    old = list((tmp_path / "lake").glob("*.parquet"))
    write_deltalake(tmp_path / "lake", SECOND, mode="append")
    for file in old:
        file.rename(file.with_suffix(".away"))
    found = ingest(kept, output=tmp_path / "second")
    assert found.increment
    assert (found.rows, found.increment.reused_rows, found.increment.reused_files) == (7, 5, 2)
    for file in old:
        file.with_suffix(".away").rename(file)
    again(uri)
    DeltaTable(tmp_path / "lake").optimize.compact()
    assert "disappeared: " in again(uri)[1].why_whole
    DeltaTable(tmp_path / "lake").delete("age = 31")
    assert "disappeared: " in again(uri)[1].why_whole
    more = FIRST.append_column("more", pa.array([1, 2, 3]))
    write_deltalake(tmp_path / "lake", more, mode="append", schema_mode="merge")
    assert "columns or types are others" in again(uri)[1].why_whole
    shutil.rmtree(tmp_path / "lake")
    delta_table(tmp_path / "lake")
    assert "dropped and made anew" in again(uri)[1].why_whole


def test_of_an_iceberg_table_deleted_rows_and_columns_are_not_reused(
    tmp_path: Path, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = iceberg_table(tmp_path / "lake", monkeypatch)
    uri = "iceberg://lake/risk.people"
    again(uri)
    table.append(SECOND)
    assert again(uri)[1].reused_rows == 3
    table.delete("age = 47")
    assert "the ingest before read" in again(uri)[1].why_whole
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("city")
    with table.update_schema() as update:
        update.add_column("city", _string())
    table.append(SECOND)
    # Of the name and type of the old one, which is another column: its values are gone.
    found, increment = again(uri)
    assert "columns or types are others" in increment.why_whole
    assert found.columns[1].profile.nulls == 4


def _string() -> Any:
    from pyiceberg.types import StringType

    return StringType()


def test_a_query_says_that_nothing_shows_what_is_new_of_it(tmp_path: Path) -> None:
    source = SourceSpec(uri="sqlite:///x.db", query="SELECT 1", incremental=str(tmp_path / "kept"))
    with pytest.raises(InputError, match="of which nothing says what is new"):
        ingest(source, output=tmp_path / "dataset")


def test_an_incremental_dataset_is_restored_by_a_whole_read(
    people: Path, tmp_path: Path, again: Again
) -> None:
    again(people)
    _add(people, "c.csv", "age,city\n2,Ulm\n")
    found, _ = again(people)
    assert found.origin
    assert "incremental" not in found.origin.source
    assert restore(found, output=tmp_path / "restored").content == found.content


def test_files_of_a_store_that_were_read_are_not_fetched_again(
    tmp_path: Path, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "me",
            "AWS_SECRET_ACCESS_KEY": "secret-of-mine",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="rows")

        def put(names: Iterable[str], age: int) -> None:
            for name in names:
                body = f"age,city\n{age},Bonn\n".encode()
                client.put_object(Bucket="rows", Key=f"people/{name}.csv", Body=body)

        put("abc", 31)
        again("s3://rows/people")
        put("d", 47)
        fetched = fetches(monkeypatch)
        _, increment = again("s3://rows/people")
        assert (increment.reused_files, increment.new_files) == (3, 1)
        # The first shows how texts are read, the new one has rows; then all, to compare.
        assert "".join(fetched) == "ad" + "abcd"
        put("b", 58)
        assert "1 changed: /b.csv" in again("s3://rows/people")[1].why_whole
    finally:
        server.stop()


def fetches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of each object of S3 that is copied from now on."""
    from s3fs import S3FileSystem

    found: list[str] = []
    fetch = S3FileSystem._get_file

    async def noted(self: Any, address: str, *given: Any, **named: Any) -> Any:
        found.append(Path(address).stem)
        return await fetch(self, address, *given, **named)

    monkeypatch.setattr(S3FileSystem, "_get_file", noted)
    return found
