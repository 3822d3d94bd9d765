"""Of a DVC repository and of lakeFS a moved branch is read on from where it was."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from test_incremental import Again, fetches
from test_incremental import again as again
from versioned_files import LakeFs, Repository
from versioned_files import lake as lake


@pytest.mark.long
def test_of_a_repository_of_dvc_only_files_that_came_are_fetched(
    tmp_path: Path, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path / "loans")
    folder = repository.folder / "data"
    uri = f"dvc://{repository.folder}//data"
    (folder / "a.csv").write_text("age,city\n19,Ulm\n")
    repository.track(folder / "a.csv")
    repository.commit("31,Bonn\n47,Kiel\n")
    first, _ = again(uri)
    (folder / "z.csv").write_text("age,city\n58,Kiel\n")
    repository.track(folder / "z.csv")
    repository.commit("31,Bonn\n47,Kiel\n")
    second, increment = again(uri)
    assert increment.before == first.content
    assert (increment.reused_files, increment.new_files, increment.new_rows) == (2, 1, 1)
    assert second.origin
    assert second.origin.reference
    assert second.origin.reference.resolved == repository.head()
    repository.commit("31,Bonn\n47,Ulm\n")
    assert "1 changed: " in again(uri)[1].why_whole


@pytest.mark.parametrize("path", ["data/*.csv", pytest.param("data", marks=pytest.mark.long)])
def test_of_a_branch_of_lakefs_only_files_that_came_are_fetched(
    lake: LakeFs, again: Again, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    client = boto3.client(
        "s3", endpoint_url=lake.endpoint, region_name="us-east-1",
        aws_access_key_id="a", aws_secret_access_key="b",
    )  # fmt: skip
    client.create_bucket(Bucket="loans")

    def commit(number: int, **ages: int) -> None:
        """Move the branch to a commit of these files, all of which it has under its own name."""
        name = f"{number:064x}"
        for file, age in ages.items():
            body = f"age,city\n{age},Bonn\n".encode()
            client.put_object(Bucket="loans", Key=f"{name}/data/{file}.csv", Body=body)
        lake.commits["main"] = lake.commits[name] = name

    uri = f"lakefs://loans/main/{path}"
    commit(1, a=31, b=47)
    again(uri)
    commit(2, a=31, b=47, c=58)
    fetched = fetches(monkeypatch)
    _, increment = again(uri)
    assert increment.why_whole == ""
    assert (increment.reused_files, increment.new_files) == (2, 1)
    assert "".join(fetched) == "ac" + "abc"
    commit(3, a=31, b=48, c=58)
    assert "1 changed: " in again(uri)[1].why_whole
