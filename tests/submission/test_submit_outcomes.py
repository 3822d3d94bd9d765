"""`penstock submit --wait`: each way a run can end on Kubeflow, told as it is."""

from __future__ import annotations

import re

import pytest
from kfp_argo import Scenario

from penstock.pipelines.outcomes import ENDINGS
from penstock.pipelines.submit import package
from penstock.project import load

# As it ends on a real KFP 2.17: the launcher and Argo have the last words.
RAISED = """Traceback (most recent call last):
  File x
penstock.errors.{0}
E1121 19:23:03.675548 15 launcher_v2.go:449] Component failed to execute successfully: exit status 1
F1121 19:23:03.765637 15 main.go:59] failed to execute component: exit status 1
time=2026-11-21T19:23:03.973Z level=INFO msg="sub-process exited" argo=true error="exit status 1"
Error: exit status 1
"""


@pytest.fixture
def submitted(kfp_server, project_file, penstock):
    """Submit a run of a scenario, wait for its end, and return what the command did."""

    def run(scenario: Scenario, *options: object):
        kfp_server.scenario = scenario
        return penstock(
            "submit", project_file(), "--host", kfp_server.host, "--wait", "--interval", "0.02",
            *options,
        )  # fmt: skip

    return run


def test_a_run_that_deployed_is_released(submitted, kfp_server) -> None:
    said = {"deploy": "noise\npenstock| Version 4 was promoted after 3 steps.\nmore noise\n"}
    done = submitted(Scenario(logs=said, retried=("ingest",), cached=("split",)))
    assert done.code == 0, done.out + done.err
    assert "RELEASED  Version 4 was promoted after 3 steps." in done.out
    run_id = next(iter(kfp_server.runs))
    assert f"{kfp_server.host}/#/runs/details/{run_id}" in done.out.splitlines()[0]
    steps = [line.split()[1] for line in done.out.splitlines() if line.startswith("ok ")]
    assert steps == [
        "Ingest", "Validate", "Split", "Engineer", "Train", "Evaluate", "Probe", "Decide",
        "Explain", "Register", "Approve", "Deploy",
    ]  # fmt: skip
    assert re.search(r"ok +Split +7\.0 s  from the cache", done.out)
    assert done.err == ""


@pytest.mark.parametrize(
    ("outputs", "task", "code", "words"),
    [
        (
            {"validate": False},
            "data-refused",
            3,
            "REFUSED  The data were refused. amount is too dear",
        ),
        ({"decide": False}, "gate-refused", 3, "REFUSED  The gate refused the candidate. Too weak"),
        (
            {"approve": False},
            "not-approved",
            3,
            "REFUSED  The candidate was not approved. Too early",
        ),
        (
            {"deploy": False},
            "rolled-back",
            4,
            "ROLLED BACK  The candidate was rolled back. 5 % errors",
        ),
    ],
)
def test_a_gate_ends_a_run_with_its_own_code(submitted, outputs, task, code, words) -> None:
    reason = words.partition("  ")[2]
    log = RAISED.format(f"NotApprovedError: {reason}")
    done = submitted(Scenario(outputs=outputs, logs={task: log}))
    assert done.code == code, done.out + done.err
    assert words in done.out
    title = ENDINGS[task].title.upper()
    # It is no fault, and has a name.
    assert re.search(rf"^{title} .*{re.escape(reason)}", done.out, re.MULTILINE)
    assert "FAILED" not in done.out


def test_without_logs_the_outcome_is_the_same(submitted, kfp_server) -> None:
    kfp_server.logs = False
    done = submitted(Scenario(outputs={"decide": False}))
    assert done.code == 3
    assert "REFUSED  The gate refused the candidate; see its log in Kubeflow" in done.out


def test_a_failed_step_is_named_with_its_message(submitted) -> None:
    log = RAISED.format("InputError: s3://bucket/wine.csv: there is no such file.")
    done = submitted(Scenario(fails=("ingest",), retried=("ingest",), logs={"ingest": log}))
    assert done.code == 1
    assert "FAILED  Ingest failed: s3://bucket/wine.csv: there is no such file." in done.out
    assert re.search(r"^FAILED +Ingest ", done.out, re.MULTILINE)


@pytest.mark.long
def test_without_the_workflow_the_outcome_is_still_told(submitted) -> None:
    assert submitted(Scenario(gives_workflow=False)).code == 0
    refused = submitted(Scenario(gives_workflow=False, outputs={"decide": False}))
    assert refused.code == 3
    assert "REFUSED  The gate refused the candidate; see its log in Kubeflow" in refused.out
    failed = submitted(Scenario(gives_workflow=False, fails=("ingest",)))
    assert failed.code == 1
    assert "FAILED  Ingest failed: see its log in Kubeflow" in failed.out


def test_a_killed_step_is_told_in_kubernetes_words(submitted) -> None:
    killed = Scenario(fails=("train",), messages={"train": "main: OOMKilled (exit code 137)"})
    done = submitted(killed)
    assert done.code == 1
    assert "FAILED  Train failed: OOMKilled (exit code 137)" in done.out
    assert "see its log" not in done.out


def test_an_exit_code_alone_is_no_reason(submitted) -> None:
    done = submitted(Scenario(fails=("train",)))
    assert "FAILED  Train failed: see its log in Kubeflow" in done.out


# As KFP's driver ends: a line of glog at its level F.
FATAL = "F1130 21:00:00.000000      15 main.go:127] KFP driver: {0}\nError: exit status 1\n"


def test_a_step_whose_pod_was_never_made_is_named(submitted) -> None:
    done = submitted(Scenario(driver_fails=("train",)))
    assert done.code == 1
    assert "FAILED  Train failed: see its log in Kubeflow" in done.out
    log = FATAL.format("resolving input parameter task: no such artifact")
    told = submitted(Scenario(driver_fails=("train",), logs={"train-driver": log}))
    assert "Train failed: KFP driver: resolving input parameter task: no such artifact" in told.out


def test_a_condition_that_could_not_be_looked_at_is_named_by_its_title(
    submitted, project_file
) -> None:
    spec = package(load(project_file())).spec
    name = next(
        name
        for component in (spec["root"], *spec["components"].values())
        for name, task in component.get("dag", {}).get("tasks", {}).items()
        if task["taskInfo"]["name"] == "data is valid"
    )
    log = FATAL.format("no condition")
    done = submitted(Scenario(driver_fails=(name,), logs={f"{name}-driver": log}))
    assert done.code == 1
    assert "FAILED  'data is valid' failed: KFP driver: no condition" in done.out


def test_a_lost_notice_is_not_called_a_release(submitted) -> None:
    done = submitted(Scenario(fails=("notify",)))
    assert done.code == 1
    assert "FAILED  Notify failed" in done.out


def test_a_service_account_that_is_not_there_is_suspected(submitted) -> None:
    done = submitted(Scenario(never_starts=True), "--service-account", "nobody")
    assert done.code == 1
    assert "could not start the first step" in done.out
    assert "service account nobody" in done.out
    forbidden = 'pods "x" is forbidden: serviceaccount "nobody" not found'
    told = submitted(Scenario(never_starts=True, messages={"root-driver": forbidden}))
    assert f"FAILED  Kubeflow could not start the first step: {forbidden}" in told.out


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        # The gate is skipped with everything behind it, and KFP is content.
        pytest.param(Scenario(skipped=("gate approves",)), "deployed nothing", id="gate"),
        pytest.param(
            Scenario(skipped=("data is valid",)), "deployed nothing", id="data", marks=LONG
        ),
        # deploy rolled the candidate back, and what should have said so was skipped.
        pytest.param(
            Scenario(outputs={"deploy": False}, skipped=("rolled back",)),
            "never came to 'rolled back'",
            id="rollback",
        ),
        pytest.param(
            Scenario(skipped=("gate refuses",)),
            "never came to 'gate refuses'",
            id="refusal",
            marks=LONG,
        ),
        pytest.param(Scenario(skipped=("deploy",)), "deployed nothing", id="no-deploy", marks=LONG),
        pytest.param(Scenario(cached=("deploy",)), "deployed nothing", id="cached-deploy"),
        # Both conditions on the decision were looked at, and neither held.
        pytest.param(
            Scenario(outputs={"decide": None}), "deployed nothing", id="neither", marks=LONG
        ),
    ],
)
def test_success_without_a_deployment_is_never_released(submitted, scenario, words) -> None:
    done = submitted(scenario)
    assert done.code == 1, done.out
    assert "RELEASED" not in done.out
    assert "Kubeflow reports success" in done.out
    assert words in done.out


def test_the_names_that_tell_the_outcome_are_the_pipelines_own(project_file) -> None:
    spec = package(load(project_file())).spec
    ends = {
        name: task
        for component in (spec["root"], *spec["components"].values())
        for name, task in component.get("dag", {}).get("tasks", {}).items()
        if name in ENDINGS
    }
    assert not any(task["cachingOptions"].get("enableCache") for task in ends.values())
    titles = {name: task["taskInfo"]["name"] for name, task in ends.items()}
    assert titles == {
        "rolled-back": "Rolled back",
        "not-approved": "Not approved",
        "gate-refused": "Refused by the gate",
        "data-refused": "Refused data",
    }
    assert {name: title for name, (_, title, _) in ENDINGS.items()} == titles
    assert [outcome for outcome, *_ in ENDINGS.values()] == ["rolled_back", *["refused"] * 3]


def test_a_terminated_run_is_told_as_such(kfp_server, project_file, start_penstock, penstock):
    kfp_server.scenario = Scenario(hangs_at="train")
    process = start_penstock(
        "submit", project_file(), "--host", kfp_server.host, "--wait", "--interval", "0.05"
    )
    run_id = re.search(r"Run (\S+):", process.stdout.readline())[1]
    assert penstock("terminate", run_id, "--host", kfp_server.host).code == 0
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "FAILED  The run was terminated" in out
    gone = penstock("terminate", "nope", "--host", kfp_server.host)
    assert gone.code == 1
    assert "Run nope not found" in gone.err
