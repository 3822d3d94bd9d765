"""That the harness of the kill tests finds every effect, and does to it what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from killing import Fault, endings, run
from running_process import served

from penstock.common import files
from penstock.errors import InputError
from penstock.processes.loopback import ask
from penstock.rollout.store import FolderStore


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            heard.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_PUT()

        def log_message(self, *_: object) -> None:
            pass

    with served(HTTPServer(("127.0.0.1", 0), Handler)) as found:
        yield found.server_port, heard


def everything(home: Path, port: int, sleeper: int) -> Callable[[], None]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"sqlite:///{home}/store.db")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE found (x INTEGER)"))
    engine.dispose()

    def command() -> None:
        FolderStore(home / "rollout").append(b"a whole line\n")
        files.write_text(home / "note", "text")
        (home / "note").unlink()
        child = subprocess.Popen([sys.executable, "-c", "", str(home)])
        child.wait()
        os.kill(sleeper, signal.SIGCONT)
        ask(port, "GET", "/loopback-get")
        ask(port, "PUT", "/loopback")
        with httpx.Client(trust_env=False, verify=False) as client:
            client.get(f"http://127.0.0.1:{port}/httpx-get")
            client.put(f"http://127.0.0.1:{port}/httpx")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT * FROM found"))
            connection.commit()
            connection.execute(sqlalchemy.text("INSERT INTO found VALUES (1)"))
            connection.commit()

    return command


@pytest.fixture
def command(tmp_path: Path, server: tuple[int, list[str]]) -> Iterator[Callable[[], None]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as sleeper:
        yield everything(tmp_path, server[0], sleeper.pid)
        sleeper.kill()


def words(ending_effects: tuple[str, ...]) -> list[str]:
    return [" ".join(effect.split()[:2]) for effect in ending_effects]


def test_each_effect_is_found(command: Callable[[], None], tmp_path: Path) -> None:
    ending = run(command, below=[tmp_path])
    assert (ending.code, ending.error, ending.hit) == (0, "", False)
    assert words(ending.effects) == [
        *("file: make", "file: write", "file: sync", "file: rename"),
        *("file: write", "file: write", "file: sync", "file: sync"),
        *("file: write", "file: sync", "file: rename", "file: remove"),
        *("process: start", "signal: SIGCONT", "call: PUT", "call: PUT", "commit: sqlite"),
    ]


def test_killed_before_each(
    command: Callable[[], None], tmp_path: Path, server: tuple[int, list[str]]
) -> None:
    found = list(endings(command, Fault.KILL, below=[tmp_path]))
    assert [ending.code for ending in found[:-1]] == [-signal.SIGKILL] * (len(found) - 1)
    assert (found[-1].code, found[-1].hit) == (0, False)
    # Two fewer than in a run that has to make the rollout's folder first.
    assert len(found) == 12
    # Killed before the first call: never heard.
    assert server[1].count("/loopback") == 3


def test_killed_where_a_condition_holds_first(command: Callable[[], None], tmp_path: Path) -> None:
    ending = run(command, when=lambda effect: effect.endswith("/note"), below=[tmp_path])
    assert (ending.code, ending.hit) == (-signal.SIGKILL, True)
    # The file is written beside its place and renamed: that is the first effect on it.
    assert words(ending.effects)[-1] == "file: rename"
    assert run(command, when=lambda _: False, below=[tmp_path]).code == 0


def test_a_line_that_was_not_synced_is_torn(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "rollout")
    store.append(b"first\n")
    for fault in (Fault.KILL, Fault.FULL):
        ending = run(lambda: store.append(b"a second one\n"), fault, at=2, below=[tmp_path])
        assert ending.effects[-1].startswith("file: sync"), ending
        # After a kill half a line is left; where an error can be seen, not even that.
        torn = b"first\na seco" if fault is Fault.KILL else b"first\n"
        assert (tmp_path / "rollout" / "journal.jsonl").read_bytes() == torn
        assert FolderStore(tmp_path / "rollout").lines() == [b"first\n"]


@pytest.mark.long
def test_what_is_refused_is_told(
    command: Callable[[], None], tmp_path: Path, server: tuple[int, list[str]]
) -> None:
    assert run(command, Fault.INTERRUPT, at=4, below=[tmp_path]).interrupted
    full = run(command, Fault.FULL, at=3, below=[tmp_path])
    assert "No space left on device" in full.error
    # What cleans up is hit too: the disk stays full.
    assert "Permission denied" in run(command, Fault.REFUSED, at=2, below=[tmp_path]).error
    del server[1][:]
    for fault, heard in ((Fault.DOWN, 0), (Fault.UNHEARD, 1)):
        for at, path in ((1, "/loopback"), (2, "/httpx")):
            before = server[1].count(path)
            ending = run(command, fault, at=at, below=[tmp_path])
            assert ending.error.startswith(("Connection", "ConnectError", "ReadError")), ending
            assert server[1].count(path) == before + heard
        assert run(command, fault, at=3, below=[tmp_path]).error.startswith("OperationalError")

    def refused() -> None:
        raise InputError("no", remedy="Say yes.")

    ending = run(refused, below=[tmp_path])
    assert (ending.refused, ending.error) == (True, "InputError: no. Say yes.")
