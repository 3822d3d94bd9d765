"""MLflow with workspaces of its own: what is registered in one is not seen from another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_over_http import mlflow_over_http

from penstock import tracking
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.registry import versions
from penstock.registry.approval_wait import _Served
from penstock.registry.champion import checked_champion
from penstock.registry.glance import glance

NAME = "adult"
URI = f"models:/{NAME}/1"


@pytest.fixture
def server(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """MLflow's application as `mlflow server --enable-workspaces` has it, with two of them."""
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(tmp_path / "artifacts"))
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    monkeypatch.delenv("MLFLOW_WORKSPACE", raising=False)
    from mlflow.server import workspace_helpers

    monkeypatch.setattr(workspace_helpers, "_workspace_store", None)
    with mlflow_over_http(uri, monkeypatch) as address:
        client = MlflowClient(tracking_uri=address, registry_uri=address)
        for name in ("risk", "sales"):
            client.create_workspace(name)
        yield address


def refused(call: Callable[[], object], kind: type[PenstockError] = ServiceError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_a_version_is_seen_from_its_workspace_and_from_no_other(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole release into one is in tests/pipeline/test_workspace_release.py."""
    monkeypatch.setenv("MLFLOW_WORKSPACE", "risk")
    client = tracking.client(server)
    client.create_registered_model(NAME)
    tags = {versions.MODEL_DIGEST: "sha256:1"}
    client.create_model_version(NAME, source="s3://bucket/model", tags=tags)
    client.set_registered_model_alias(NAME, versions.CHAMPION, "1")
    seen = glance(NAME, tracking_uri=server)
    assert seen
    assert seen.aliases == {versions.CHAMPION: 1}
    assert versions.registered(URI, tracking_uri=server).model == "sha256:1"

    monkeypatch.setenv("MLFLOW_WORKSPACE", "sales")
    assert checked_champion(NAME, tracking_uri=server).version is None
    assert glance(NAME, tracking_uri=server) is None
    for uri in (URI, f"models:/{NAME}@champion"):
        said = refused(partial(versions.registered, uri, tracking_uri=server), InputError)
        assert "MLflow was asked in the workspace sales" in said

    monkeypatch.delenv("MLFLOW_WORKSPACE")
    assert glance(NAME, tracking_uri=server) is None


@pytest.mark.parametrize("workspace", ["nobodys", "No_Name"])
def test_an_absent_workspace_is_a_sentence_and_no_absent_model(
    server: str, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_WORKSPACE", workspace)
    for call in asked(server):
        said = refused(call)
        assert f"{workspace}'" in said
        assert f"The workspace of the request is {workspace}: set MLFLOW_WORKSPACE" in said


def test_a_server_without_workspaces_says_so(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with mlflow_over_http(uri, monkeypatch) as address:
        monkeypatch.setenv("MLFLOW_WORKSPACE", "risk")
        for call in asked(address):
            said = refused(call)
            assert "A server without workspaces takes none" in said


def asked(address: str) -> list[Callable[[], object]]:
    """Each of our ways to ask MLflow: its library, and the two that do without it."""
    return [
        lambda: tracking.client(address),
        lambda: glance(NAME, tracking_uri=address),
        lambda: _Served(address, NAME, 1).read(),
    ]
