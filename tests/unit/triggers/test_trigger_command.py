"""`penstock trigger` as people run it: a real process, HTTP, files."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from cloudevents.http import CloudEvent, to_binary, to_structured
from running_process import LOOPBACK, RunningProcess, until

from penstock.pipelines import cli
from penstock.triggers.store import TriggerStore

PENSTOCK = Path(sys.executable).with_name("penstock")
PROJECT = "{name: shop, target: kind, source: {uri: none.csv}, notify: {file: told.jsonl}}"
TOKEN = "a-token-of-sixteen-and-more"
STRUCTURED = {"content-type": "application/cloudevents+json"}
Start = Callable[..., RunningProcess]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working directory."""
    (tmp_path / "project.yaml").write_text(PROJECT)
    (tmp_path / "drop").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIGGER_TOKEN", TOKEN)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """`start("--listen", ...)` starts a trigger and returns it once it takes events or watches."""
    running: list[RunningProcess] = []

    def begin(*options: str) -> RunningProcess:
        command = [PENSTOCK, "trigger", *options]
        process = RunningProcess(command, log=folder / f"log-{len(running)}", cwd=folder)
        running.append(process)
        process.wait_until(lambda: "End it with Ctrl-C." in process.output())
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()


def client_of(process: RunningProcess, **headers: str) -> httpx.Client:
    found = re.search(r"Taking events at (http://\S+)\.\n", process.output())
    assert found, process.output()
    return httpx.Client(
        base_url=found[1], trust_env=False, headers=headers, timeout=30, verify=False
    )


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": str(number), "source": "/shop", "type": "sold", **more}


def waiting(folder: Path) -> int:
    store = TriggerStore(folder / ".penstock" / "trigger" / "shop" / "trigger.db")
    try:
        return store.waiting().count
    finally:
        store.close()


def test_events_in_each_form_are_on_disk_before_they_are_answered(
    folder: Path, start: Start
) -> None:
    process = start("--listen", "127.0.0.1:0", "--quiet", "1h", "--wait", "2h")
    client = client_of(process)
    for number, form in enumerate((to_binary, to_structured)):
        sent = CloudEvent({"id": str(number), "source": "/sdk", "type": "sold"}, {"rows": 3})
        headers, body = form(sent)
        answer = client.post("/", headers=headers, content=body)
        assert (answer.status_code, answer.json()["taken"]) == (202, 1)
        assert waiting(folder) == number + 1
    batch = {"content-type": "application/cloudevents-batch+json"}
    answer = client.post("/", json=[event(1), event(2), {"id": 7}, event(1)], headers=batch)
    assert answer.status_code == 400
    assert answer.json() == {
        "taken": 2,
        "known": 1,
        "refused": ['event 3: the attribute "specversion" is missing'],
    }
    # Killed, nothing is lost, and what comes again is known.
    process.kill()
    process.wait()
    assert waiting(folder) == 4
    process = start("--listen", "127.0.0.1:0", "--quiet", "1h", "--wait", "2h")
    client = client_of(process)
    answer = client.post("/", json=event(1), headers=STRUCTURED)
    assert (answer.status_code, answer.json()["known"]) == (202, 1)
    assert 'penstock_trigger_waiting_events{service="shop"} 4.0' in client.get("/metrics").text
    assert client.get("/").json() == {"ready": True}
    assert process.stop() == 0
    assert "4 events wait for the next start of this command." in process.output()


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        ({"json": event(1, type="other")}, 422, 'the type "other"; trigger.types has sold'),
        ({"content": b'{"specversion": "1.0", "id'}, 400, "the body is not valid JSON"),
        ({"content": b"x" * (1 << 20) + b"x"}, 413, "larger than the limit of 1,048,576 bytes"),
        ({"json": event(1), "headers": {"origin": "http://evil.example"}}, 403, "a web page may"),
        ({"method": "PUT", "json": event(1)}, 405, "send events by POST"),
    ],
)
def test_what_is_not_taken_is_answered_with_a_sentence(
    folder: Path, shared: httpx.Client, request_: dict[str, Any], status: int, sentence: str
) -> None:
    given = {"method": "POST", "url": "/", **request_}
    given["headers"] = {**STRUCTURED, **given.get("headers", {})}
    answer = shared.request(**given)
    assert answer.status_code == status
    assert sentence in answer.text.replace('\\"', '"')
    text = shared.get("/metrics").text
    assert 'penstock_trigger_waiting_events{service="shop"} 0.0' in text
    if given["method"] == "POST":
        none = 'penstock_trigger_events_total{result="refused",service="shop"} 0.0'
        until(lambda: none not in shared.get("/metrics").text)


def test_the_monitors_port_has_the_triggers_figures(folder: Path, start: Start) -> None:
    start("--watch", "drop", "--quiet", "10m")
    command = [PENSTOCK, "monitor", "--metrics-port", "0"]
    with RunningProcess(command, log=folder / "monitor", cwd=folder) as monitor:
        monitor.wait_until(lambda: "Figures for Prometheus:" in monitor.output())
        (url,) = re.findall(r"Figures for Prometheus: (\S+)", monitor.output())
        text = httpx.get(url, trust_env=False, timeout=30, verify=False).text
    assert 'penstock_trigger_at_work{service="shop"} 1.0' in text
    assert 'penstock_monitor_looks_total{service="shop"}' in text


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A trigger that takes one type."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "project.yaml").write_text(PROJECT)
    command = [PENSTOCK, "trigger", "--listen", "127.0.0.1:0", "--type", "sold"]
    with RunningProcess(command, log=folder / "log", cwd=folder) as process:
        process.wait_until(lambda: "Taking events" in process.output())
        with client_of(process) as client:
            yield client


def test_a_token_is_needed_where_one_is_set(folder: Path, start: Start) -> None:
    process = start("--listen", "127.0.0.1:0", "--set", "trigger.token=${env:TRIGGER_TOKEN}")
    for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": TOKEN}):
        with client_of(process, **headers) as client:
            answer = client.post("/", json=event(1), headers=STRUCTURED)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "events need the header `authorization: Bearer TOKEN`" in answer.text
    with client_of(process, authorization=f"bearer {TOKEN}") as client:
        assert client.post("/", json=event(1), headers=STRUCTURED).status_code == 202
    assert TOKEN not in process.output()


def test_files_and_events_start_one_run_and_its_end_is_noted(folder: Path, start: Start) -> None:
    process = start("--watch", "drop", "--listen", "127.0.0.1:0", "--every", "1s", "--quiet", "3s")
    (folder / "drop" / "new.csv").write_text("a")
    (folder / "drop" / "half.csv.part").write_text("a")
    client_of(process).post("/", json=event(1), headers=STRUCTURED)
    process.wait_until(lambda: "Release 1 begins" in process.output())
    assert "for 2 events: io.penstock.file.dropped (1), sold (1)" in process.output()
    # The run is its own process: it ends, and is noted, although the trigger is killed.
    process.kill()
    process.wait()
    store = TriggerStore(folder / ".penstock" / "trigger" / "shop" / "trigger.db")
    until(lambda: store.open_release() is None, seconds=120)
    release = store.release(1)
    assert (release.outcome, release.exit_code) == ("failed", 1)
    assert "none.csv: there is no such file or folder" in release.reason
    process = start("--watch", "drop", "--quiet", "3s")
    process.wait_until(lambda: "Release 1: shop: not released" in process.output())
    assert process.stop(signal.SIGINT) == 0
    said = [json.loads(line)["text"] for line in (folder / "told.jsonl").read_text().splitlines()]
    # The trigger notifies, and the run's own step leaves it to the trigger.
    assert len(said) == 1
    assert said[0].startswith("shop: not released, the run failed. Ingest failed: ")


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--watch", "absent"], 1, "absent: there is no such folder, so nothing can be dropped"),
        (["--watch", "ftq://a/b"], 1, "addresses of the kind ftq:// are not known"),
        (["--listen", "8093"], 2, "'8093' is not an address: write HOST:PORT"),
        (["--listen", "0.0.0.0:0"], 2, "other machines reach 0.0.0.0, and senders of events need"),
        (["--listen", "192.0.2.1:0", "--set", "trigger.token=${env:TRIGGER_TOKEN}"], 2, "cannot"),
        (["--set", "trigger.token=short"], 2, "the token has fewer than 16 characters"),
        (["--set", "trigger.token=${env:NOT_SET}"], 1, "the environment variable NOT_SET is not"),
        (["--quiet", "1h"], 2, "wait (15m) must not be shorter than quiet (1h)"),
        (["--every", "soon"], 2, "'soon' is not a duration"),
        (["--marker", "a/b"], 2, "marker is the name of a file, not a path"),
    ],
)
def test_what_cannot_be_is_said_before_it_begins(
    options: Sequence[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["trigger", *options]) == code
    said = capsys.readouterr()
    assert sentence in said.err
    assert "End it with" not in said.out


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["trigger", "--listen", f"127.0.0.1:{port}"]) == 2
    said = capsys.readouterr().err
    assert f"127.0.0.1:{port} cannot be taken: Address already in use. Name another port" in said


def test_a_second_trigger_and_the_status(
    folder: Path, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["trigger", "--status"]) == 0
    assert capsys.readouterr().out == "No trigger of shop has been started yet.\n"
    process = start("--watch", "drop", "--quiet", "10m")
    assert cli.main(["trigger", "--watch", "drop"]) == 1
    said = capsys.readouterr().err
    assert f"process {process.pid} on " in said
    assert "is a trigger of this project already" in said
    assert cli.main(["trigger", "--status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"process {process.pid} on " in lines[0]
    assert lines[1:] == [
        "No event waits.",
        "Events written down: 0; known already: 0.",
        f"Watched: {folder / 'drop'}, 0 files have counted or were there before.",
    ]
    process.stop()
    assert cli.main(["trigger", "--resume"]) == 0
    assert "had not been stopped" in capsys.readouterr().out
    assert cli.main(["trigger", "--status"]) == 0
    assert "no trigger is running" in capsys.readouterr().out


def test_a_folder_that_goes_away_is_said_once_and_watched_again(folder: Path, start: Start) -> None:
    process = start("--watch", "drop", "--every", "1s", "--quiet", "10m")
    (folder / "drop").rename(folder / "away")
    process.wait_until(lambda: "there is no such folder" in process.output())
    (folder / "away").rename(folder / "drop")
    (folder / "drop" / "new.csv").write_text("a")
    process.wait_until(lambda: "1 file was dropped" in process.output())
    assert process.output().count("there is no such folder") == 1
