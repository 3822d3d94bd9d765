"""Delta and Iceberg tables, read at a version that stays, and read again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from versioned_tables import FIRST, SECOND, delta_table, iceberg_table

from penstock.data.ingest import ingest
from penstock.data.restore import restore
from penstock.data.spec import SourceSpec
from penstock.data.table import read_table
from penstock.errors import InputError, IntegrityError, ServiceError
from penstock.records.dataset import Dataset

Read = Callable[..., Dataset]
Refuse = Callable[..., str]


def _rows(folder: Path) -> list[dict[str, object]]:
    return sorted(read_table(folder).to_pylist(), key=lambda row: row["age"])


def test_the_newest_delta_version_is_named_by_its_number(
    tmp_path: Path, read: Read, output: Path
) -> None:
    uri = delta_table(tmp_path / "lake")
    found = read(uri)
    assert _rows(output) == sorted(
        pa.concat_tables([FIRST, SECOND]).to_pylist(), key=lambda row: row["age"]
    )
    assert found.origin
    assert found.origin.reference
    assert found.origin.reference.named == {"kind": "delta", "locator": uri, "resolved": "1"}
    assert found.origin.source == {"uri": uri, "version": "1"}
    assert found.source_text == f"{uri}, delta version 1"
    assert found.notes == ("Delta version 1",)


def test_a_fixed_delta_version_has_the_rows_that_it_had(
    tmp_path: Path, read: Read, output: Path
) -> None:
    found = read(delta_table(tmp_path / "lake"), version=0)
    assert _rows(output) == FIRST.to_pylist()
    # The data version does not depend on where the rows are kept.
    (tmp_path / "people.csv").write_text("age,city\n58,\n47,Kiel\n31,Bonn\n")
    same = ingest(SourceSpec(uri=str(tmp_path / "people.csv")), output=tmp_path / "csv")
    assert found.content == same.content


def test_a_delta_version_by_time_is_the_last_one_that_was_there(
    tmp_path: Path, read: Read, refuse: Refuse
) -> None:
    from deltalake import DeltaTable

    uri = delta_table(tmp_path / "lake")
    refused = refuse(uri, InputError, version="2001-01-01")
    assert "no version as old as 2001-01-01" in refused
    written = DeltaTable(tmp_path / "lake").history()[-1]["timestamp"]
    found = read(uri, version="2099-01-01T00:00:00Z")
    assert written
    assert found.origin
    assert found.origin.reference
    assert (found.origin.reference.asked, found.origin.reference.resolved) == (
        "2099-01-01T00:00:00Z",
        "1",
    )


def test_a_commit_that_does_not_say_its_time_shifts_no_other(
    tmp_path: Path, read: Read, refuse: Refuse
) -> None:
    from deltalake import DeltaTable, write_deltalake

    uri = delta_table(tmp_path / "lake")
    write_deltalake(tmp_path / "lake", FIRST, mode="append")
    log = tmp_path / "lake" / "_delta_log"
    for number, year in enumerate((2001, 2002, 2003)):
        at = int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)
        _rewrite(log / f"{number:020}.json", {"commitInfo": {"timestamp": at}})
    assert DeltaTable(tmp_path / "lake").version() == 2
    assert read(uri, version="2001-06-01").rows == 3
    shutil.rmtree(tmp_path / "results")
    _rewrite(log / f"{1:020}.json", {"commitInfo": None})
    assert read(uri, version="2003-06-01").rows == 8
    shutil.rmtree(tmp_path / "results")
    said = refuse(uri, InputError, version="2001-06-01")
    assert "version 1 of the table does not say when it was written" in said


def _rewrite(commit: Path, actions: dict[str, Any]) -> None:
    """Write a commit of Delta again with other actions of these kinds; None: without."""
    kept = [json.loads(line) for line in commit.read_text().splitlines()]
    kept = [one for one in kept if not one.keys() & actions.keys()]
    kept += [{kind: given} for kind, given in actions.items() if given is not None]
    commit.write_text("".join(json.dumps(one) + "\n" for one in kept))


def test_columns_of_partitions_and_declared_types_are_read(
    tmp_path: Path, read: Read, output: Path
) -> None:
    from deltalake import write_deltalake

    write_deltalake(tmp_path / "lake", FIRST, partition_by=["city"])
    found = read(f"delta://{tmp_path}/lake", types={"age": "number"})
    assert [(column.name, column.type) for column in found.columns] == [
        ("age", "number"),
        ("city", "string"),
    ]
    assert _rows(output) == FIRST.to_pylist()


def test_what_is_wrong_with_a_delta_source_is_said(
    tmp_path: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = delta_table(tmp_path / "lake")
    assert "no version 7; its newest is 1" in refuse(uri, InputError, version="7")
    assert "neither a version's number nor a time" in refuse(uri, InputError, version="main")
    assert "there is no Delta table" in refuse(f"delta://{tmp_path}/none", InputError)
    assert "a query is for databases" in refuse(uri, InputError, query="SELECT 1")
    assert "the source keeps no versions" in refuse(
        tmp_path / "people.csv", InputError, version="3"
    )
    assert "'years'" in refuse(uri, InputError, columns=["years"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-mine")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    away = refuse("delta+s3://lake/people", ServiceError)
    assert "Connection refused" in away
    assert "secret-of-mine" not in away


def test_deletion_vectors_are_refused_and_not_passed_over(tmp_path: Path, refuse: Refuse) -> None:
    from deltalake import write_deltalake

    write_deltalake(tmp_path / "lake", FIRST, configuration={"delta.enableDeletionVectors": "true"})
    assert "deletionVectors" in refuse(f"delta://{tmp_path}/lake", InputError)


def test_mapped_columns_are_refused_and_not_read_as_empty(tmp_path: Path, refuse: Refuse) -> None:
    uri = delta_table(tmp_path / "lake")
    commit = tmp_path / "lake" / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in commit.read_text().splitlines()]
    table = next(one["metaData"] for one in actions if "metaData" in one)
    schema = json.loads(table["schemaString"])
    for number, column in enumerate(schema["fields"], start=1):
        column["metadata"] = {
            "delta.columnMapping.id": number,
            "delta.columnMapping.physicalName": column["name"],
        }
    schema["fields"][1]["name"] = "town"
    mapped = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "2"}
    table |= {"schemaString": json.dumps(schema), "configuration": mapped}
    # The protocol names no features before reader version 3.
    protocol = {"minReaderVersion": 2, "minWriterVersion": 5}
    _rewrite(commit, {"protocol": protocol, "metaData": table})
    assert "columnMapping" in refuse(uri, InputError)


def test_an_iceberg_snapshot_by_id_branch_and_tag(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = iceberg_table(tmp_path / "lake", monkeypatch)
    first = table.current_snapshot().snapshot_id
    table.append(SECOND)
    table.manage_snapshots().create_tag(first, "audit").commit()
    second = table.current_snapshot().snapshot_id
    # An id names its snapshot, also where a tag that is called like it names another.
    table.manage_snapshots().create_tag(second, str(first)).commit()
    for place, (version, snapshot, rows) in enumerate(
        [("", second, 5), ("main", second, 5), ("audit", first, 3), (str(first), first, 3)]
    ):
        source = SourceSpec(uri="iceberg://lake/risk.people", version=version)
        found = ingest(source, output=tmp_path / str(place))
        assert found.rows == rows
        assert found.origin
        assert found.origin.reference
        assert found.origin.reference.resolved == str(snapshot)
        assert found.origin.reference.asked == version


def test_rows_that_were_deleted_from_an_iceberg_table_are_not_read(
    tmp_path: Path, read: Read, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = iceberg_table(tmp_path / "lake", monkeypatch)
    table.delete("age = 47")
    with table.update_schema() as update:
        update.rename_column("city", "town")
    read("iceberg://lake/risk.people")
    # A snapshot has the names that it was written with.
    assert _rows(output) == [{"age": 31, "city": "Bonn"}, {"age": 58, "city": None}]


def test_what_is_wrong_with_an_iceberg_source_is_said(
    tmp_path: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = iceberg_table(tmp_path / "lake", monkeypatch)
    uri = "iceberg://lake/risk.people"
    assert "no snapshot, branch or tag 'moved'" in refuse(uri, InputError, version="moved")
    assert "has no table risk.loans" in refuse("iceberg://lake/risk.loans", InputError)
    assert "the catalog pond cannot be used" in refuse("iceberg://pond/risk.loans", InputError)
    assert "names no Iceberg table" in refuse("iceberg://lake", InputError)
    for task in table.scan().plan_files():
        Path(task.file.file_path.removeprefix("file://")).unlink()
    assert "a file of Iceberg snapshot" in refuse(uri, InputError)


def test_a_restored_dataset_has_the_rows_of_its_version(tmp_path: Path, read: Read) -> None:
    from deltalake import write_deltalake

    uri = delta_table(tmp_path / "lake")
    dataset = read(uri, columns=["age"])
    write_deltalake(tmp_path / "lake", SECOND, mode="append")
    again = restore(dataset, output=tmp_path / "again")
    assert again.content == dataset.content == Dataset.of(tmp_path / "again").content
    with pytest.raises(InputError, match="there is something already"):
        restore(dataset, output=tmp_path / "again")


def test_what_cannot_be_restored_says_why_and_leaves_nothing(tmp_path: Path, read: Read) -> None:
    from deltalake import DeltaTable

    lake, again = tmp_path / "lake", tmp_path / "again"
    dataset = read(delta_table(lake))
    kept = tmp_path / "kept"
    shutil.copytree(lake, kept)
    table = DeltaTable(lake)
    table.delete()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(InputError, match="a file of Delta version 1 is gone"):
        restore(dataset, output=again)
    shutil.rmtree(lake)
    with pytest.raises(InputError, match="there is no Delta table"):
        restore(dataset, output=again)
    delta_table(lake)
    with pytest.raises(IntegrityError, match="the table is another one"):
        restore(dataset, output=again)
    assert restore(dataset, output=again, uri=f"delta://{kept}").content == dataset.content
    assert not list(tmp_path.glob(".again*"))


def test_a_plain_source_is_restored_while_it_is_the_same(tmp_path: Path, read: Read) -> None:
    table = tmp_path / "people.csv"
    table.write_text("age;city\n31;Bonn\n47;Kiel\n")
    dataset = read(table, delimiter=";", types={"age": "number"})
    assert restore(dataset, output=tmp_path / "a").content == dataset.content
    # What stands where the folder would be made is said, whatever it is.
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for place in (table / "again", tmp_path / "dangling"):
        with pytest.raises(InputError, match="the output cannot be written"):
            restore(dataset, output=place)
    table.write_text("age;city\n31;Bonn\n")
    with pytest.raises(IntegrityError, match="keeps no versions and was changed since"):
        restore(dataset, output=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_delta_table_in_an_object_store(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    delta_table(tmp_path / "lake")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "me",
            "AWS_SECRET_ACCESS_KEY": "secret-of-mine",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="lake")
        for path in (tmp_path / "lake").rglob("*.*"):
            key = f"people/{path.relative_to(tmp_path / 'lake')}"
            client.upload_file(str(path), "lake", key)
        dataset = read("delta+s3://lake/people")
        assert dataset.rows == 5
        again = restore(dataset, output=tmp_path / "again")
        assert again.content == dataset.content
        assert "secret-of-mine" not in dataset.model_dump_json()
    finally:
        server.stop()
