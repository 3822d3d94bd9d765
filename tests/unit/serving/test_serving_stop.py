"""A server that is told to stop answers what it accepted, then ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from serving_process import ROW, Server, Start

from penstock.captures import lines as kept_lines

BODY = json.dumps({"instances": [ROW] * 3}).encode()


class Client(threading.Thread):
    """Asks one after another on one connection, and on a new one only when told to leave."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self.answered: list[int] = []
        self.lost: list[str] = []
        self.told_to_leave = False

    def run(self) -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)
            try:
                connection.connect()
            except OSError:
                return
            first = True
            while True:
                try:
                    connection.request("POST", "/v1/models/adult:predict", body=BODY)
                    response = connection.getresponse()
                    response.read()
                except OSError as error:
                    # What the kernel had queued when the server stopped listening was not accepted.
                    if not first:
                        self.lost.append(repr(error))
                    break
                first = False
                self.answered.append(response.status)
                if response.getheader("connection") == "close":
                    self.told_to_leave = True
                    connection.close()
                    break


@pytest.mark.slow
def test_no_accepted_request_is_lost(start_onnx: Start, tmp_path: Path) -> None:
    server = start_onnx("--capture", str(tmp_path / "kept"))
    clients = [Client(server) for _ in range(4)]
    for client in clients:
        client.start()
    while sum(len(client.answered) for client in clients) < 60:
        time.sleep(0.01)
    os.kill(server.process.pid, signal.SIGTERM)
    for client in clients:
        client.join(60)
    assert server.process.wait(60) == 0
    assert [client.lost for client in clients] == [[]] * 4
    assert {status for client in clients for status in client.answered} == {200}
    assert all(client.told_to_leave for client in clients)
    rows = list(kept_lines.read(tmp_path / "kept"))
    assert len(rows) == 3 * sum(len(client.answered) for client in clients)


def test_a_request_that_is_worked_on_is_answered(start_onnx: Start) -> None:
    server = start_onnx(fault="slow")
    body = json.dumps({"instances": [ROW] * 10_000}).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = "POST /v1/models/adult:predict HTTP/1.1\r\nhost: x\r\ncontent-length: "
        connection.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body[:-10])
        time.sleep(0.3)
        os.kill(server.process.pid, signal.SIGTERM)
        # One that waited for nobody would be gone.
        time.sleep(0.6)
        assert server.process.poll() is None
        connection.sendall(body[-10:])
        answer = b""
        while block := connection.recv(1 << 20):
            answer += block
    assert answer.startswith(b"HTTP/1.1 200")
    assert server.process.wait(60) == 0


def test_it_is_not_ready_while_it_stops(start_onnx: Start) -> None:
    server = start_onnx()
    assert server.client.get("/v2/health/ready").status_code == 200
    server.process.terminate()
    answers = []
    while not answers or answers[-1].status_code == 200:
        answers.append(server.client.get("/v2/health/ready"))
    assert answers[-1].status_code == 503
    assert answers[-1].json() == {"ready": False}
    assert server.process.wait(60) == 0
