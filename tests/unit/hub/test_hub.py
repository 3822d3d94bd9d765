"""Kubeflow Hub says what the registry says, whatever was in between, and fails no release."""

from __future__ import annotations

import contextlib
import json
import re
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from documented import Walk
from fresh_store import fresh_store
from hub_server import RECORDED, HubServer, hub_server
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from running_process import silent_port

from penstock.errors import IntegrityError, PenstockError, ServiceError
from penstock.hub.sync import sync, tell_hub
from penstock.notification import HubSpec
from penstock.pipelines.cli import main
from penstock.records.approval import Identity
from penstock.records.release import Registration
from penstock.registry import approvals, audit, versions
from penstock.registry.audit import Actor
from penstock.registry.champion import set_champion


@dataclass
class Registry:
    """A real MLflow store and audit log with versions as `register` leaves them, without models."""

    uri: str

    def store(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def registered(self, depth: int = 2) -> str:
        """Register one more version, the challenger; return its model's digest."""
        store = self.store()
        kinds = versions.REGISTERED_TAGS
        digests = {kind: f"sha256:{kind}-{depth}" for kind in kinds}
        tags = {tag: digests[kind] for kind, tag in kinds.items()}
        with contextlib.suppress(MlflowException):
            store.create_registered_model("adult")
        made = store.create_model_version("adult", f"s3://models/{depth}", tags=tags)
        audit.record(
            store,
            "adult",
            event=audit.REGISTERED,
            uri=f"models:/adult/{made.version}",
            actor=Actor(name="register", digests=digests),
        )
        store.set_registered_model_alias("adult", versions.CHALLENGER, made.version)
        return digests["model"]

    def promote(self, version: int) -> None:
        actor = Actor(name=audit.CANARY)
        set_champion("adult", version, tracking_uri=self.uri, event="promoted", actor=actor)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(fresh_store(tmp_path))


def bring(registry: Registry, hub: HubServer, token: str = "") -> Any:
    return sync("adult", hub=HubSpec(address=hub.address, token=token), tracking_uri=registry.uri)


def states(hub: HubServer) -> dict[str, str]:
    return {
        name: hub.said("model_versions", name)["penstock.state"]
        for name in hub.named("model_versions")
    }


@pytest.mark.long
def test_the_server_of_these_tests_answers_as_the_recorded_one() -> None:
    recorder = runpy.run_path(str(RECORDED / "record.py"))
    with hub_server() as hub:
        answered = recorder["asked"](hub.address)
    assert answered == json.loads((RECORDED / "answers.json").read_text())


@pytest.mark.parametrize("dialect", ["v1", pytest.param("v1alpha3", marks=pytest.mark.long)])
def test_it_says_state_digests_and_place_of_each_version(registry: Registry, dialect: str) -> None:
    first, second = registry.registered(2), registry.registered(3)
    registry.promote(1)
    with hub_server(dialect=dialect) as hub:
        written = bring(registry, hub)
        assert (written.dialect, written.versions) == (dialect, 2)
        assert states(hub) == {"1": "champion", "2": "challenger"}
        said = hub.said("model_versions", "2")
        assert said[versions.MODEL_DIGEST] == second
        assert said[versions.DECISION_DIGEST] == "sha256:decision-3"
        assert said["penstock.uri"] == "models:/adult/2"
        artifact = hub.named("model_artifacts")["adult-1"]
        assert artifact["uri"] == "s3://models/2"
        assert hub.said("model_artifacts", "adult-1") == {versions.MODEL_DIGEST: first}
        assert hub.said("registered_models", "adult") == {"penstock.champion": "1"}

        # The same again writes nothing; a promotion and a rejection are told.
        hub.writes.clear()
        again = bring(registry, hub)
        assert (again.created, again.changed, hub.writes) == ((), (), [])
        registry.promote(2)
        by = Identity(name="ann", means="stated")
        approvals.give(
            "models:/adult/1", verdict="rejected", by=by, reason="Harm.", tracking_uri=registry.uri
        )
        assert len(bring(registry, hub).changed) == 3
        assert states(hub) == {"1": "rejected", "2": "champion"}
        assert artifact["state"] == "LIVE"


def test_what_was_cut_short_is_made_good_and_what_others_wrote_stays(registry: Registry) -> None:
    registry.registered()
    registry.promote(1)
    for kept in range(1, 5):
        with hub_server(dies_after=kept) as hub:
            notify = {"hub": {"address": hub.address}}
            told = tell_hub("adult", notify=notify, tracking_uri=registry.uri)
            assert ("503: out of order" in told) == (kept < 4)
            hub.broken = hub.dies_after = 0
            theirs = {"metadataType": "MetadataStringValue", "string_value": "blue"}
            hub.named("registered_models")["adult"]["customProperties"]["team"] = theirs
            bring(registry, hub)
            assert states(hub) == {"1": "champion"}
            assert set(hub.named("model_artifacts")) == {"adult-1"}
            said = hub.said("registered_models", "adult")
            assert said == {"penstock.champion": "1", "team": "blue"}


def test_many_versions_come_in_pages(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.hub.server._PAGE", 1)
    for depth in (2, 3, 4):
        registry.registered(depth)
    with hub_server() as hub:
        bring(registry, hub)
        assert bring(registry, hub).created == ()
        assert sorted(states(hub)) == ["1", "2", "3"]


def test_an_empty_list_may_be_null(registry: Registry) -> None:
    registry.registered()
    with hub_server(empty=None) as hub:
        assert bring(registry, hub).versions == 1
        assert states(hub) == {"1": "challenger"}


def test_another_model_of_that_name_is_not_written_over(registry: Registry) -> None:
    registry.registered()
    with hub_server() as hub:
        bring(registry, hub)
        properties = hub.named("model_versions")["1"]["customProperties"]
        properties[versions.MODEL_DIGEST]["string_value"] = "sha256:another"
        hub.writes.clear()
        with pytest.raises(IntegrityError, match=r"adult/1: .* of the model sha256:another"):
            bring(registry, hub)
        del properties["penstock.uri"], properties[versions.MODEL_DIGEST]
        with pytest.raises(IntegrityError, match="not Penstock's"):
            bring(registry, hub)
        assert not hub.writes


def test_tags_that_the_log_does_not_have_are_not_repeated(registry: Registry) -> None:
    registered = registry.registered()
    with hub_server() as hub:
        bring(registry, hub)
        store = registry.store()
        store.set_model_version_tag("adult", "1", versions.MODEL_DIGEST, "sha256:edited")
        bring(registry, hub)
        said = hub.said("model_versions", "1")
        assert said["penstock.state"] == "not trusted"
        assert said[versions.MODEL_DIGEST] == registered
        assert "sha256:edited" in said["penstock.problem"]
        store.set_model_version_tag("adult", "1", versions.MODEL_DIGEST, registered)
        store.set_registered_model_alias("adult", "champion", "1")
        bring(registry, hub)
        assert states(hub) == {"1": "challenger"}
        said = hub.said("registered_models", "adult")
        assert said["penstock.champion"] == "none"
        assert "set by hand" in said["penstock.problem"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"token": "secret-of-the-hub"}, r"lets nobody in .* \(403\): RBAC: access denied"),
        ({"broken": 401}, r"lets nobody in .* \(401\)"),
        ({"dialect": "v2"}, "neither /api/model_registry/v1 nor /v1alpha3"),
        ({"broken": 503}, "refuses GET registered_models with 503: out of order"),
    ],
)
def test_why_it_was_not_told_is_said(
    registry: Registry, settings: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.registered()
    with hub_server(**settings) as hub:
        with pytest.raises(ServiceError, match=words):
            bring(registry, hub, token="wrong-token-of-ours")
        notify = {"hub": {"address": hub.address, "token": "wrong-token-of-ours"}}
        told = tell_hub("adult", notify=notify, tracking_uri=registry.uri)
    assert re.search(words, told)
    assert told in capsys.readouterr().out.replace("\n", " ")
    assert "penstock hub sync" in told


def test_one_that_is_away_or_is_something_else(registry: Registry) -> None:
    registry.registered()
    with silent_port() as port:
        away = f"http://127.0.0.1:{port}"
        with pytest.raises(ServiceError, match="does not answer"):
            sync("adult", hub=HubSpec(address=away), tracking_uri=registry.uri)
    for address in ("nowhere", "http://[", "ftp://hub"):
        with pytest.raises(PenstockError, match=r"Hub|address"):
            sync("adult", hub=HubSpec(address=address), tracking_uri=registry.uri)
        assert tell_hub("adult", notify={"hub": {"address": address}}, tracking_uri=registry.uri)


def test_the_command_says_what_it_wrote(
    registry: Registry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.registered()
    monkeypatch.setenv("HUB_TOKEN", "secret-of-the-hub")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    monkeypatch.chdir(tmp_path)
    with hub_server(token="secret-of-the-hub") as hub:
        told = f"address: '{hub.address}', token: '${{env:HUB_TOKEN}}'"
        project = tmp_path / "project.yaml"
        project.write_text(
            f"{{name: adult, target: y, source: {{uri: a.csv}}, notify: {{hub: {{{told}}}}}}}"
        )
        with Walk("docs/hub.md", tmp_path) as walk:
            command = walk.words("penstock hub sync")
        assert main(command) == 0
        out = capsys.readouterr().out
        assert "created  models:/adult/1\n" in out
        assert main([*command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["created"] == []
    assert main(command) == 1
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.long
def test_the_step_that_waits_for_people_tells_it_and_never_fails(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from kfp import dsl

    from penstock.components.approve import approve

    digest = registry.registered()
    Registration(
        name="adult",
        version=1,
        uri="models:/adult/1",
        model=digest,
        decision="sha256:decision-2",
        dataset="",
        mlflow_run="",
    ).write(tmp_path / "registration")

    def step(hub: HubServer) -> bool:
        return approve.python_func(
            registration=dsl.Artifact(uri=str(tmp_path / "registration")),
            outcome=dsl.Artifact(uri=str(tmp_path / "outcome")),
            notify={"hub": {"address": hub.address}},
            tracking_uri=registry.uri,
        )

    with hub_server() as hub:
        assert step(hub) is True
        assert states(hub) == {"1": "challenger"}
        hub.broken = 500
        assert step(hub) is True
    assert "Kubeflow Hub was not told of adult" in capsys.readouterr().out
