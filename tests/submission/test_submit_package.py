"""What is sent to Kubeflow: names, parameters, caching; by us and by the plain kfp client."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import kfp
import pytest
import yaml
from kfp_argo import Scenario
from kfp_contract import ContractError, check

from penstock.pipelines.parameters import starter

RUNS = "/apis/v2beta1/runs"


def sent(server) -> dict:
    return server.asked("POST", RUNS)[-1]


def test_names_and_accounts_have_defaults(kfp_server, project_file, penstock) -> None:
    assert penstock("submit", project_file(), "--host", kfp_server.host).code == 0
    assert re.fullmatch(r"wine \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", sent(kfp_server)["display_name"])
    assert [e["display_name"] for e in kfp_server.experiments.values()] == ["wine"]
    assert "service_account" not in sent(kfp_server)
    assert sent(kfp_server)["runtime_config"]["parameters"] == {"requested_by": starter()}
    assert kfp_server.pipelines == {}, "nothing is uploaded"


def test_the_file_says_and_the_options_say_better(kfp_server, project_file, penstock) -> None:
    project = project_file(cluster={"service_account": "runner", "experiment": "nightly"})
    command = ("submit", project, "--host", kfp_server.host)
    assert penstock(*command).code == 0
    assert sent(kfp_server)["service_account"] == "runner"
    done = penstock(
        *command, "--service-account", "other", "--experiment", "tries", "--run-name", "first"
    )
    assert done.code == 0, done.err
    assert sent(kfp_server)["service_account"] == "other"
    assert sent(kfp_server)["display_name"] == "first"
    assert {e["display_name"] for e in kfp_server.experiments.values()} == {"nightly", "tries"}


def test_kfps_own_variable_names_the_experiment_also_when_a_run_is_looked_for(
    kfp_server, project_file, penstock, monkeypatch
) -> None:
    monkeypatch.setenv("KF_PIPELINES_OVERRIDE_EXPERIMENT_NAME", "everyone")
    command = ("submit", project_file(), "--host", kfp_server.host, "--run-name", "n", "--once")
    first, second = penstock(*command), penstock(*command)
    assert first.out == second.out, second.err
    assert len(kfp_server.runs) == 1
    assert [e["display_name"] for e in kfp_server.experiments.values()] == ["everyone"]


def test_parameters_have_the_types_of_the_pipeline(kfp_server, project_file, penstock) -> None:
    done = penstock(
        "submit", project_file(), "--host", kfp_server.host, "--parameter", "uri=s3://b/x=y.csv",
        "-p", 'training={"trials": 5}', "-p", 'expectations=[]', "-p", "positive=1",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert sent(kfp_server)["runtime_config"]["parameters"] == {
        "uri": "s3://b/x=y.csv",
        "training": {"trials": 5},
        "expectations": [],
        "positive": "1",
        "requested_by": starter(),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trials=5", "'trials' is not a parameter of the pipeline. Write name=value; the names are "
         "card, contract, deployment, evaluation, "),
        ("training", "no = in 'training'"),
        ("training=5", "--parameter training: '5' is not a JSON object"),
        ("training={trials: 5}", "is not a JSON object"),
        ('training={"a": NaN}', "is not a JSON object"),
        ('expectations={"a": 1}', "is not a JSON list"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_here(kfp_server, project_file, penstock, text, words) -> None:
    done = penstock("submit", project_file(), "--host", kfp_server.host, "-p", text)
    assert done.code == 2
    assert words in done.err
    assert kfp_server.requests == []


@pytest.mark.parametrize(
    "source",
    [
        {"uri": "wine.csv"},
        {"uri": "/data/wine.csv"},
        {"uri": "file:///data/wine.csv"},
        {"uri": "sqlite:///wine.db", "query": "select * from wine"},
        {"uri": "duckdb:////data/wine.db", "query": "select * from wine"},
    ],
)
def test_a_table_of_this_machine_is_refused(kfp_server, project_file, penstock, source) -> None:
    project = project_file(source=source)
    done = penstock("submit", project, "--host", kfp_server.host)
    assert done.code == 2
    assert f"the table, {source['uri']}, is on this machine" in done.err
    assert "--parameter uri=" in done.err
    assert kfp_server.requests == []
    given = penstock("submit", project, "--host", kfp_server.host, "-p", "uri=s3://b/wine.csv")
    assert given.code == 0, given.err


def test_a_tracking_store_of_this_machine_is_refused(kfp_server, project_file, penstock) -> None:
    project = project_file(tracking_uri="sqlite:///mlflow.db")
    done = penstock("submit", project, "--host", kfp_server.host)
    assert done.code == 2
    assert "the MLflow store, sqlite:///mlflow.db, is on this machine" in done.err


def tasks(spec: dict) -> dict[str, dict]:
    return {
        name: task
        for component in (spec["root"], *spec["components"].values())
        for name, task in component.get("dag", {}).get("tasks", {}).items()
        if "dag" not in spec["components"][task["componentRef"]["name"]]
    }


def test_no_cache_reaches_the_steps_inside_conditions(kfp_server, project_file, penstock) -> None:
    # kfp's own enable_caching changes the outermost tasks alone, which here are none of the steps.
    command = ("submit", project_file(), "--host", kfp_server.host)
    assert penstock(*command).code == 0
    cached = {
        name
        for name, task in tasks(sent(kfp_server)["pipeline_spec"]).items()
        if task["cachingOptions"].get("enableCache")
    }
    assert {"split", "train", "validate"} <= cached
    assert not cached & {
        "ingest",
        "evaluate",
        "register",
        "deploy",
        "rolled-back",
        "not-approved",
        "gate-refused",
        "data-refused",
    }
    assert penstock(*command, "--no-cache").code == 0
    for task in tasks(sent(kfp_server)["pipeline_spec"]).values():
        assert not task["cachingOptions"].get("enableCache")


FULL = {
    "image_pull_secrets": ["registry"],
    "secrets": [{"name": "s3", "environment": {"key": "AWS_SECRET_ACCESS_KEY"}}],
    "environment": {"MLFLOW_TRACKING_URI": "http://mlflow:5000"},
}


def test_the_plain_client_does_the_same_with_the_compiled_file(
    kfp_server, project_file, penstock, tmp_path: Path
) -> None:
    project = project_file(cluster=FULL)
    assert penstock("submit", project, "--host", kfp_server.host, "--run-name", "one").code == 0
    assert penstock("compile", project, "-o", tmp_path / "release.yaml").code == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = kfp.Client(host=kfp_server.host)
    run = client.create_run_from_pipeline_package(
        str(tmp_path / "release.yaml"),
        arguments={"requested_by": starter()},
        run_name="one",
        experiment_name="wine",
    )
    ours, theirs = kfp_server.asked("POST", RUNS)
    assert ours == theirs
    assert "platform_spec" in theirs["pipeline_spec"]
    kfp_server.pace = 10**4
    ended = client.wait_for_run_completion(run.run_id, timeout=60, sleep_duration=1)
    assert ended.state == "SUCCEEDED"
    version = client.upload_pipeline(str(tmp_path / "release.yaml"), pipeline_name="wine")
    assert version.pipeline_id in kfp_server.pipelines


def test_the_plain_client_gives_parameters_and_sees_a_refusal(
    kfp_server, project_file, penstock, tmp_path: Path
) -> None:
    kfp_server.scenario = Scenario(outputs={"decide": False})
    kfp_server.pace = 10**4
    table = project_file(source={"uri": "here.csv"})
    compiled = penstock("compile", table, "-o", tmp_path / "release.yaml")
    assert compiled.code == 0
    assert "give the parameter uri" in compiled.out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = kfp.Client(host=kfp_server.host)
    run = client.create_run_from_pipeline_package(
        str(tmp_path / "release.yaml"), arguments={"uri": "s3://b/t.csv", "training": {"trials": 2}}
    )
    ended = client.wait_for_run_completion(run.run_id, timeout=60, sleep_duration=1)
    assert ended.state == "FAILED"
    failed = {t.display_name for t in ended.run_details.task_details if t.state == "FAILED"}
    assert {"gate-refused", "executor"} <= failed
    assert not failed & {"rolled-back", "not-approved", "data-refused", "deploy"}


def test_the_server_holds_kfps_contract(kfp_server, project_file, penstock) -> None:
    """The test server refuses what KFP's own models do not have."""
    import httpx

    made = httpx.post(f"{kfp_server.host}{RUNS}", json={"displayname": "typo"})
    assert made.status_code == 400
    assert "V2beta1Run has no field 'displayname'" in made.json()["message"]
    for kind, body in (
        ("V2beta1Run", {"state": "DONE"}),
        ("V2beta1Run", {"run_details": {"task_details": [{"pod": "x"}]}}),
        ("V2beta1RecurringRun", {"max_concurrency": 1}),
    ):
        with pytest.raises(ContractError):
            check(kind, body)
    penstock("submit", project_file(), "--host", kfp_server.host)
    body = json.loads(json.dumps(sent(kfp_server)))
    body["runtime_config"] = {"parameters": {"uri": 5}}
    refused = httpx.post(f"{kfp_server.host}{RUNS}", json=body)
    assert refused.status_code == 400
    assert yaml.safe_load(refused.text)["code"] == 3
