"""Files of a DVC repository and of lakeFS, read at a commit, and read again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from versioned_files import LakeFs, Repository
from versioned_files import lake as lake

from penstock.data.restore import restore
from penstock.errors import InputError, IntegrityError, ServiceError
from penstock.records.dataset import Dataset

Read = Callable[..., Dataset]
Refuse = Callable[..., str]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "loans")


def test_a_revision_of_dvc_is_resolved_to_its_commit_and_read_by_that(
    repository: Repository, tmp_path: Path, read: Read, refuse: Refuse
) -> None:
    uri = f"dvc://{repository.folder}//data/people.csv"
    first = repository.commit("31,Bonn\n47,Kiel\n")
    repository.tag("audit")
    # Copies that a process left when it was killed go with the next one.
    left = [tmp_path / "results/.dataset.source-abcdefgh", tmp_path / ".again.restored-abcdefgh"]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "people.csv").write_text("age,city\n31,Bonn\n")
    dataset = read(uri)
    assert dataset.origin
    assert dataset.origin.reference
    assert dataset.origin.reference.named == {"kind": "dvc", "locator": uri, "resolved": first}
    assert dataset.origin.reference.asked == "HEAD"
    assert [(one.name, one.type) for one in dataset.columns] == [
        ("age", "integer"),
        ("city", "string"),
    ]
    # The branch moves on; the working tree is changed and not committed.
    second = repository.commit("31,Bonn\n47,Kiel\n58,Ulm\n")
    (repository.folder / "data" / "people.csv").write_text("age,city\n1,Trier\n")
    assert restore(dataset, output=tmp_path / "again").content == dataset.content
    assert not [folder for folder in left if folder.exists()]
    shutil.rmtree(tmp_path / "results")
    moved = read(uri, version="main")
    assert moved.origin
    assert moved.origin.reference
    assert (moved.rows, moved.origin.reference.resolved) == (3, second)
    shutil.rmtree(tmp_path / "results")
    assert read(f"dvc+file://{repository.folder}//data", version="audit").rows == 2
    shutil.rmtree(tmp_path / "results")

    # A branch of the commit's name would be read instead of it.
    repository.branch(first)
    for version in (first, "audit"):
        assert "is called like the commit" in refuse(uri, InputError, version=version)
    repository.remove_branch(first)
    assert "no such revision: unknown Git revision 'nope'" in refuse(
        uri, InputError, version="nope"
    )
    assert "no such file" in refuse(f"dvc://{repository.folder}//data/no.csv", InputError)
    assert "names no path in a repository" in refuse("dvc:///loans", InputError)
    assert "no repository of Git and DVC" in refuse(f"dvc://{tmp_path}//data", InputError)
    away = refuse("dvc+http://127.0.0.1:9/loans.git//data", ServiceError)
    assert "cannot be cloned" in away
    for kept in (repository.folder / ".dvc" / "cache").rglob("*"):
        if kept.is_file():
            kept.chmod(0o644)
            kept.write_text(kept.read_text().replace("Bonn", "Trier"))
    assert "other bytes than its commit names" in refuse(uri, IntegrityError)
    shutil.rmtree(repository.folder / ".dvc" / "cache")
    shutil.rmtree(f"{repository.folder}.remote")
    with pytest.raises(InputError, match="neither its cache nor a remote has it any more"):
        restore(dataset, output=tmp_path / "gone")


def _put(lake: LakeFs, commit: str, rows: str, *, repository: str, folder: str = "data") -> None:
    import boto3

    client = boto3.client(
        "s3", endpoint_url=lake.endpoint, region_name="us-east-1",
        aws_access_key_id="a", aws_secret_access_key="b",
    )  # fmt: skip
    client.create_bucket(Bucket=repository)
    client.put_object(Bucket=repository, Key=f"{commit}/{folder}/people.csv", Body=rows.encode())


def test_a_branch_of_lakefs_is_resolved_to_its_commit_and_read_by_that(
    lake: LakeFs, tmp_path: Path, read: Read, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = "a1" * 32, "b2" * 32
    _put(lake, first, "age,city\n31,Bonn\n", repository="loans")
    _put(lake, second, "age,city\n31,Bonn\n47,Kiel\n", repository="loans")
    lake.commits = {"main": first, first: first, second: second}
    uri = "lakefs://loans/main/data/people.csv"
    dataset = read(uri)
    assert dataset.origin
    assert dataset.origin.reference
    assert dataset.origin.reference.named == {
        "kind": "lakefs", "locator": "lakefs://loans/data/people.csv", "resolved": first,
    }  # fmt: skip
    assert dataset.source_text == f"{uri}, lakefs commit {first} (asked for: main)"
    assert "lake-secret-of-mine" not in dataset.model_dump_json()
    lake.commits["main"] = second
    assert restore(dataset, output=tmp_path / "again").content == dataset.content
    shutil.rmtree(tmp_path / "results")

    # What the address refers to is nowhere in the record.
    monkeypatch.setenv("LAKE_PATH", "a-folder-nobody-may-know")
    _put(lake, second, "age\n31\n", repository="loans", folder="a-folder-nobody-may-know")
    referred = read("lakefs://loans/main/${env:LAKE_PATH}/people.csv")
    assert "nobody-may-know" not in referred.model_dump_json()
    shutil.rmtree(tmp_path / "results")

    assert "no repository loans with the reference dev" in refuse(
        "lakefs://loans/dev/data/people.csv", InputError
    )
    assert "no such file" in refuse("lakefs://loans/main/data/none.csv", InputError)
    assert "has the reference itself" in refuse(uri, InputError, version="main")
    assert "names no path" in refuse("lakefs://loans/main", InputError)
    lake.status = "401 Unauthorized"
    assert "lakeFS refuses (401)" in refuse(uri, ServiceError)
    lake.status = "500 Internal Server Error"
    assert "does not name the commit" in refuse(uri, ServiceError)
    lake.status, lake.page = "200 OK", b"<html>Log in</html>"
    assert "does not name the commit" in refuse(uri, ServiceError)
    monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "Connection refused" in refuse(uri, ServiceError)
    monkeypatch.delenv("LAKECTL_SERVER_ENDPOINT_URL")
    assert "does not say LAKECTL_SERVER_ENDPOINT_URL" in refuse(uri, InputError)
