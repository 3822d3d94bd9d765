"""What a destination refuses: two commands at a time, another table, a plan without a source."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_process import until
from scored_tables import source_of
from serving_process import ROW

from penstock.captures.places import LocalPlace, RemotePlace, digest_of, place_at
from penstock.data.spec import SourceSpec
from penstock.errors import InputError
from penstock.processes.supervisor import hold_port
from penstock.scoring.destination import FolderDestination
from penstock.scoring.score import score
from penstock.scoring.sql_destination import SqlDestination

ROWS = [ROW | {"age": 20 + at} for at in range(5)]


def test_a_source_that_cannot_be_read_leaves_no_plan(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    version = registered()
    data = source_of("jsonl", ROWS, tmp_path)
    for wrong, words in (
        (version.order(SourceSpec(uri=str(tmp_path / "gone")), tmp_path / "out"), "gone"),
        (version.order(data, tmp_path / "out", keep=("nothing",)), "nothing"),
    ):
        with pytest.raises(InputError, match=words):
            score(wrong)
        assert not (tmp_path / "out").exists()
    database = f"sqlite:///{tmp_path}/scores.db"
    with pytest.raises(InputError, match="nothing"):
        score(version.order(data, database, run="today", keep=("nothing",)))
    assert score(version.order(data, database, run="today", keep=("id",))).scored == 5


def test_another_table_is_another_scoring(registered: Callable[..., Any], tmp_path: Path) -> None:
    version = registered()
    bad = source_of("jsonl", [*ROWS, ROW | {"age": 30.5}], tmp_path)
    order = version.order(bad, f"sqlite:///{tmp_path}/scores.db", run="today", part_rows=2)
    with pytest.raises(InputError, match="the server would refuse this row"):
        score(order)
    with pytest.raises(InputError, match="another table: scores, now others"):
        score(replace(order, table="others"))


def test_two_commands_at_a_time_are_kept_apart(tmp_path: Path) -> None:
    place = LocalPlace(tmp_path / "out")
    first, second = (FolderDestination(place, form="csv", shown="out") for _ in range(2))
    first.prepare([])
    with pytest.raises(InputError, match=r"process \d+ on .* scores into this destination"):
        second.prepare([])
    first.close()
    second.prepare([])
    second.close()


def test_what_was_begun_meanwhile_is_not_begun_again(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    bad = source_of("jsonl", [*ROWS, ROW | {"age": 30.5}], tmp_path)
    for out in (tmp_path / "out", f"sqlite:///{tmp_path}/scores.db"):
        order = registered().order(bad, out, run="today", part_rows=2)
        with pytest.raises(InputError, match="the server would refuse this row"):
            score(order)
        local = isinstance(out, Path)
        late: Any = (
            FolderDestination(LocalPlace(out), form="parquet", shown="out")
            if local
            else SqlDestination(str(out), table="scores", run="today")
        )
        with contextlib.closing(late):
            plan = late.begun()
            with pytest.raises(InputError, match="another command has begun to score"):
                late.begin(plan)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An address in a store that speaks S3's protocol."""
    with contextlib.closing(hold_port(0)) as kept:
        port = kept.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    settings = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    patch = pytest.MonkeyPatch()
    for name, value in settings.items():
        patch.setenv(name, value)
    try:
        until(lambda: _answers(url), what="the store does not answer", seconds=60)
        place = place_at("s3://scored/x")
        assert isinstance(place, RemotePlace)
        place.system.call_s3(
            "create_bucket",
            Bucket="scored",
            CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        )
        yield "s3://scored"
    finally:
        server.terminate()
        server.wait()
        patch.undo()


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url).status_code < 500
    return False


def test_a_store_gets_what_a_folder_gets_also_in_two_goes(
    registered: Callable[..., Any], tmp_path: Path, bucket: str
) -> None:
    version = registered()
    jobs = ["a/b %41 = \u00e4", None, "clerk"]
    data = source_of(
        "jsonl", [row | {"job": jobs[at % 3]} for at, row in enumerate(ROWS)], tmp_path
    )
    options = {"keep": ("id", "job"), "part_rows": 2, "run": "today", "partition_by": ("job",)}
    local = score(version.order(data, tmp_path / "out", **options))

    class Killed(BaseException):
        pass

    def dying(self: Any, folder: str, name: str, data: bytes) -> None:
        if (folder, name) == ("progress", "part-00001.json"):
            raise Killed
        written(self, folder, name, data)

    order = version.order(data, f"{bucket}/day", **options)
    written = RemotePlace.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RemotePlace, "write", dying)
        with pytest.raises(Killed):
            score(order)
    place = place_at(f"{bucket}/day")
    assert place.names("progress") == ["part-00000.json", "plan.json", "writer"]
    remote = score(order)
    assert (remote.input_content, remote.output_content) == (
        local.input_content,
        local.output_content,
    )
    assert [part.files for part in remote.parts] == [part.files for part in local.parts]
    for one in (one for part in remote.parts for one in part.files):
        assert digest_of(place.read(*one.file.rsplit("/", 1))) == one.digest
    assert sum(len(names) for names in place.folders().values()) == 5 + 3 + 3
    with pytest.raises(InputError, match="a scoring that is whole is there already"):
        score(order)


def test_a_command_that_was_taken_over_notes_no_further_part(
    registered: Callable[..., Any], tmp_path: Path, bucket: str
) -> None:
    data = source_of("jsonl", ROWS, tmp_path)
    order = registered().order(data, f"{bucket}/twice", part_rows=2, run="today")
    written = RemotePlace.write

    def overtaken(self: Any, folder: str, name: str, data: bytes) -> None:
        written(self, folder, name, data)
        if name == "part-00001.parquet":
            written(self, "progress", "writer", b"another")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RemotePlace, "write", overtaken)
        with pytest.raises(InputError, match="another command has begun to score"):
            score(order)
    assert place_at(f"{bucket}/twice").names("progress") == [
        "part-00000.json",
        "plan.json",
        "writer",
    ]
