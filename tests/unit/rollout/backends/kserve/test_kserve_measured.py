"""Who is asked what by the replay through a gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from running_process import served, until

from penstock.rollout.backends.kserve.measured import Measured, Steering
from penstock.rollout.backends.kserve.prober import VERSION_HEADER

ROWS = [f'{{"instances": [{{"row": {row}}}]}}'.encode() for row in range(10)]


class Gateway(ThreadingHTTPServer):
    """Answers as the version that a request asks for, and counts which row it was asked about."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: dict[str, Counter[bytes]] = {"1": Counter(), "2": Counter()}


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def do_POST(self) -> None:
        version = self.headers["x-arm"]
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked[version][body] += 1
        self.send_response(200)
        self.send_header(VERSION_HEADER, version)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with served(Gateway()) as server:
        yield server


@pytest.mark.long
def test_rows_that_go_round_reach_both_versions_alike(gateway: Gateway) -> None:
    """Ten rows at 30 %: dealt in turn, three of them would be the candidate's for ever."""
    measured = Measured(f"http://127.0.0.1:{gateway.server_address[1]}/")
    headers = {1: {"x-arm": "1"}, 2: {"x-arm": "2"}}
    measured.steer(Steering(headers=headers, stable=1, candidate=2, weight=30))
    with measured.replay(ROWS, rate=2000):
        until(lambda: gateway.asked["2"].total() >= 600, seconds=120)
    seen = {version: measured.observe().arms[version].requests for version in (1, 2)}
    assert seen == {1: gateway.asked["1"].total(), 2: gateway.asked["2"].total()}
    # 30 % of about 2,000: six standard deviations to each side.
    assert 0.24 < seen[2] / (seen[1] + seen[2]) < 0.36
    for counts in gateway.asked.values():
        assert set(counts) == set(ROWS)


def test_nobody_whom_a_gateway_names_gets_the_rows(gateway: Gateway) -> None:
    sent: list[str] = []

    class Elsewhere(_Answers):
        def do_POST(self) -> None:
            sent.append(self.path)
            self.send_response(307)
            self.send_header("location", f"http://127.0.0.1:{gateway.server_address[1]}/")
            self.send_header("content-length", "0")
            self.end_headers()

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)) as server:
        measured = Measured(f"http://127.0.0.1:{server.server_port}/")
        measured.steer(Steering(headers={1: {"x-arm": "1"}}, stable=1))
        with measured.replay(ROWS, rate=200):
            until(lambda: len(sent) >= 3)
    assert gateway.asked["1"].total() == 0
