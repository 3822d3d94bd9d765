"""A trigger whose releases run on Kubeflow, and what it needs of `penstock submit`."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import httpx
import pytest
from kfp_argo import Scenario
from kfp_server import Fault
from running_process import RunningProcess, until

from penstock.processes.identity import is_alive
from penstock.triggers.store import TriggerStore

RUNS = "/apis/v2beta1/runs"
METHODS = ("GET", "POST")


def test_a_run_of_a_name_is_begun_once(kfp_server, project_file, penstock, tmp_path) -> None:
    project, summary = project_file(), tmp_path / "summary.json"
    kfp_server.scenario = Scenario(outputs={"decide": False})

    def submit(name: str, *options: object):
        return penstock(
            "submit", project, "--host", kfp_server.host, "--once", "--run-name", name,
            "--wait", "--interval", "0.02", "--summary", summary, *options,
        )  # fmt: skip

    first = submit("a")
    assert first.code == 3, first.out + first.err
    said = json.loads(summary.read_text())
    assert (said["outcome"], said["notified"]) == ("refused", True)
    assert said["link"] in first.out
    for name, runs in (("b", 2), ("b", 2), ("a", 2)):
        again = submit(name)
        assert again.code == 3
        assert len(kfp_server.runs) == runs
    assert again.out.splitlines()[0] == first.out.splitlines()[0]
    # What is begun once is tried again through an outage.
    kfp_server.faults = [Fault(2, status=503, method=method, path=RUNS) for method in METHODS]
    assert submit("e").code == 3
    assert len(kfp_server.runs) == 3
    # Another project's experiment is another place.
    submit("a", "--experiment", "other")
    assert len(kfp_server.runs) == 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(["--once"], "--once goes with --run-name"), (["--summary", "x"], "--summary goes with")],
)
def test_options_that_do_not_go_alone(project_file, penstock, options, sentence) -> None:
    done = penstock("submit", project_file(), "--host", "http://localhost:1", *options)
    assert done.code == 2
    assert sentence in done.err


@pytest.mark.long
def test_killed_with_its_process_it_goes_on_with_the_run_that_was_submitted(
    kfp_server, project_file, tmp_path: Path
) -> None:
    project = project_file()
    kfp_server.scenario = scenario = Scenario(hangs_at="ingest")
    command = [
        Path(sys.executable).with_name("penstock"), "trigger", project, "--submit",
        "--host", kfp_server.host, "--listen", "127.0.0.1:0", "--quiet", "1s",
    ]  # fmt: skip
    first = RunningProcess(command, log=tmp_path / "first", cwd=tmp_path)
    with first:
        first.wait_until(lambda: "Taking events" in first.output())
        address = re.search(r"Taking events at (\S+)\.\n", first.output())[1]
        event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "sold"}
        headers = {"content-type": "application/cloudevents+json"}
        answer = httpx.post(address, json=event, headers=headers, trust_env=False)
        assert answer.status_code == 202
        first.wait_until(lambda: kfp_server.runs)
        first.kill()
        first.wait()
    store = TriggerStore(tmp_path / ".penstock" / "trigger" / "wine" / "trigger.db")
    process = store.release(1).process
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: not is_alive(process))
    with RunningProcess(command, log=tmp_path / "second", cwd=tmp_path) as second:
        second.wait_until(lambda: store.release(1).attempts == 2)
        scenario.hangs_at = ""
        second.wait_until(lambda: "Release 1: wine: released" in second.output())
    assert len(kfp_server.runs) == 1
    (run,) = kfp_server.runs.values()
    assert run["display_name"] == f"wine trigger {store.identity}-1"
    release = store.release(1)
    assert (release.outcome, release.exit_code, release.posted) == ("released", 0, True)
    assert release.link.endswith(f"/#/runs/details/{run['run_id']}")
