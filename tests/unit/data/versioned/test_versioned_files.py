"""Files of a DVC repository and of lakeFS, read at a commit, and read again."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.data.restore import restore
from penstock.errors import InputError, IntegrityError, ServiceError
from penstock.records.dataset import Dataset

Read = Callable[..., Dataset]
Refuse = Callable[..., str]


class Repository:
    """A repository of Git and DVC, whose file `data/people.csv` is tracked by DVC."""

    def __init__(self, folder: Path) -> None:
        from dvc.repo import Repo

        folder.mkdir()
        self.folder = folder
        self._git("init", "--quiet", "--initial-branch=main")
        (folder / "data").mkdir()
        Repo.init(str(folder)).close()
        # A clone has no cache of its own: it reads what was pushed.
        (folder / ".dvc" / "config").write_text(
            f"[core]\n    remote = store\n['remote \"store\"']\n    url = {folder}.remote\n"
        )
        self._dvc = Repo(str(folder))

    def commit(self, rows: str) -> str:
        """Commit a table of these rows; return the commit."""
        table = self.folder / "data" / "people.csv"
        table.write_text(f"age,city\n{rows}")
        self._dvc.add(str(table))
        self._dvc.push()
        self._git("add", "--all")
        self._git("-c", "user.name=n", "-c", "user.email=e@x", "commit", "--quiet", "-m", "rows")
        return self._git("rev-parse", "HEAD")

    def _git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def tag(self, name: str) -> None:
        self._git("tag", name)

    def branch(self, name: str) -> None:
        self._git("branch", name)

    def remove_branch(self, name: str) -> None:
        self._git("branch", "-D", name)


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


class LakeFs:
    """lakeFS's two faces on one port: its API's answer on commits, and moto for its S3 gateway."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.commits: dict[str, str] = {}
        self.status = "200 OK"
        self.page = b""
        self._gateway = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith("/api/v1/"):
            return self._gateway(environ, start)
        reference = path.split("/")[-2]
        found = self.commits.get(reference, "")
        status = self.status if found or self.status != "200 OK" else "404 Not Found"
        start(status, [("Content-Type", "application/json")])
        return [self.page or json.dumps({"results": [{"id": found}]}).encode()]


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Iterator[LakeFs]:
    server = LakeFs()
    monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", f"{server.endpoint}/api/v1")
    monkeypatch.setenv("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "lake-reader")
    monkeypatch.setenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", "lake-secret-of-mine")
    yield server
    server.close()


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
