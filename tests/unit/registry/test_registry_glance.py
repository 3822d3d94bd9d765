"""What a page reads of a registry is what MLflow itself would say, from its file and its server."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow_over_http import mlflow_over_http
from running_process import LOOPBACK, silent_port

from penstock.errors import InputError, ServiceError
from penstock.registry import versions
from penstock.registry.approval_wait import _Served
from penstock.registry.glance import GlancedModel, glance

NAME = "loans"


@pytest.fixture
def store(uri: str) -> MlflowClient:
    """A model with two versions, another of a similar name, and what is deleted."""
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    for name in (NAME, f"{NAME}-2"):
        client.create_registered_model(name, tags={"penstock.audit.x": name})
        for number in (1, 2, 3):
            tags = {versions.MODEL_DIGEST: f"sha256:{number}", "k": name}
            client.create_model_version(name, source="s3://bucket/model", tags=tags)
        client.set_registered_model_alias(name, versions.CHAMPION, "2")
    client.delete_model_version(NAME, "1")
    return client


@pytest.fixture
def server(uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with mlflow_over_http(uri, monkeypatch) as address:
        yield address


def as_mlflow_has_it(store: MlflowClient) -> GlancedModel:
    model = store.get_registered_model(NAME)
    found = store.search_model_versions(f"name = '{NAME}'")
    from datetime import UTC, datetime

    from penstock.registry.glance import GlancedVersion

    return GlancedModel(
        tags=dict(model.tags),
        aliases={alias: int(number) for alias, number in model.aliases.items()},
        versions=tuple(
            GlancedVersion(
                int(one.version),
                dict(one.tags),
                one.run_id or "",
                datetime.fromtimestamp(one.creation_timestamp / 1000, UTC),
            )
            for one in sorted(found, key=lambda one: -int(one.version))
        ),
    )


def test_the_file_says_what_mlflow_says(store: MlflowClient, uri: str) -> None:
    found = glance(NAME, tracking_uri=uri)
    assert found == as_mlflow_has_it(store)
    assert [one.version for one in found.versions] == [3, 2]
    assert found.aliases == {"champion": 2}
    assert glance("nobody", tracking_uri=uri) is None


def test_the_server_says_what_mlflow_says(
    store: MlflowClient, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.registry.glance._PAGE", 1)
    assert glance(NAME, tracking_uri=server) == as_mlflow_has_it(store)
    assert glance("nobody", tracking_uri=server) is None


def test_it_writes_nothing(store: MlflowClient, uri: str) -> None:
    path = Path(uri.removeprefix("sqlite:///"))
    before = path.read_bytes(), sorted(path.parent.iterdir())
    glance(NAME, tracking_uri=uri)
    assert (path.read_bytes(), sorted(path.parent.iterdir())) == before
    with pytest.raises(ServiceError, match="cannot be read"):
        glance(NAME, tracking_uri=f"{uri}.gone")
    assert not Path(f"{path}.gone").exists()


def test_what_is_no_store_of_mlflow_is_a_sentence(tmp_path: Path) -> None:
    torn = tmp_path / "torn.db"
    torn.write_bytes(b"SQLite format 3\x00" + b"x" * 5000)
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (x)").connection.close()
    for path in (torn, other):
        with pytest.raises(ServiceError, match="MLflow's store cannot be read"):
            glance(NAME, tracking_uri=f"sqlite:///{path}")
    with pytest.raises(InputError, match="SQLite file, or from MLflow's server"):
        glance(NAME, tracking_uri="postgresql://me:hidden@db/mlflow")


def test_a_server_that_is_down_is_a_sentence() -> None:
    with silent_port() as port, pytest.raises(ServiceError, match="does not answer"):
        glance(NAME, tracking_uri=f"http://{LOOPBACK}:{port}")


@pytest.mark.parametrize(
    "said",
    [
        b"<html>no such page</html>",
        b"[]",
        b'{"detail": "Not Found"}',
        b'{"error_code": "ENDPOINT_NOT_FOUND", "message": "No such API."}',
        b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Workspace \'x\' not found"}',
    ],
)
def test_a_404_that_is_of_no_model_is_not_taken_for_one(
    uri: str, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    def other(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        start("404 Not Found", [("content-type", "text/plain")])
        return [said]

    with (
        mlflow_over_http(uri, monkeypatch, around=lambda _: other) as address,
        pytest.raises(ServiceError) as caught,
    ):
        glance(NAME, tracking_uri=address)
    assert f"{address}: MLflow refuses (404): {said.decode()}" in str(caught.value)


@pytest.mark.parametrize("nothing", [None, []])
def test_an_empty_list_may_be_null(
    uri: str, monkeypatch: pytest.MonkeyPatch, nothing: list[str] | None
) -> None:
    model = {"name": NAME, "tags": nothing, "aliases": nothing}
    version = {"name": NAME, "version": "1", "tags": nothing}
    listed = {"model_versions": nothing, "next_page_token": None}
    said = {"registered_model": model, "model_version": version, **listed}

    def other(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        start("200 OK", [("content-type", "application/json")])
        return [json.dumps(said).encode()]

    with mlflow_over_http(uri, monkeypatch, around=lambda _: other) as address:
        found = glance(NAME, tracking_uri=address)
        assert found
        assert (found.tags, found.aliases, found.versions) == ({}, {}, ())
        waiting = _Served(address, NAME, 1)
        assert waiting.read() == ({}, {})
        del said["registered_model"]
        with pytest.raises(ServiceError, match="not MLflow: it names no registered_model"):
            waiting.read()


def test_a_model_may_have_any_name(server: str) -> None:
    assert glance("Workspace 'x' not found", tracking_uri=server) is None


def test_mlflow_is_not_imported(uri: str, store: MlflowClient) -> None:
    import subprocess

    code = (
        "import sys; from penstock.registry.glance import glance; "
        f"print(glance({NAME!r}, tracking_uri={uri!r}).aliases, 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'champion': 2} False"
