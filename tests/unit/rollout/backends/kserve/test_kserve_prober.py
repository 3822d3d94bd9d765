"""How long a split is waited for: on a real HTTP server that is slow, or wrong."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from running_process import served

from penstock.errors import InputError, ServiceError
from penstock.rollout.access import AccessSpec, headers_of
from penstock.rollout.backends.kserve.prober import VERSION_HEADER, Prober

ENOUGH = 180
"""Answers in a row after which a share of 5 % would have shown: log(1e-4) / log(0.95)."""


@contextlib.contextmanager
def prober(version: Callable[[int], int], *, pause: float) -> Iterator[tuple[Prober, list[int]]]:
    """Yield a prober of a server whose nth answer is of `version(n)`, and what was answered."""
    answered: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(pause)
            answered.append(version(len(answered)))
            self.send_response(200)
            self.send_header(VERSION_HEADER, str(answered[-1]))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield Prober(f"http://127.0.0.1:{server.server_port}", service="s"), answered


@pytest.mark.parametrize(("percent", "answers"), [(0, 1), (100, 2)])
def test_a_slow_gateway_that_keeps_to_the_weight_is_waited_for(percent: int, answers: int) -> None:
    with prober(lambda _: answers, pause=0.002) as (asking, answered):
        asking.wait_for_weight(2, percent=percent, headers={}, timeout=0.1)
    assert answered == [answers] * ENOUGH


def test_answers_count_from_the_last_wrong_one() -> None:
    with prober(lambda number: 2 if number < 5 else 1, pause=0) as (asking, answered):
        asking.wait_for_weight(2, percent=0, headers={}, timeout=30)
    assert len(answered) == 5 + ENOUGH


def test_a_gateway_that_does_not_keep_to_it_is_given_up_after_the_deadline() -> None:
    with (
        prober(lambda number: 1 if number % 50 else 2, pause=0.002) as (asking, answered),
        pytest.raises(ServiceError, match="does not keep to a weight of 0 % for version 2"),
    ):
        asking.wait_for_weight(2, percent=0, headers={}, timeout=0.3)
    assert answered[-1] == 2


def test_the_version_before_is_not_asked_without_a_pause() -> None:
    with prober(lambda _: 1, pause=0) as (asking, answered):
        with pytest.raises(ServiceError, match="version 2 is not reached through the gateway"):
            asking.wait_for(2, headers={}, timeout=0.5)
        assert 2 <= len(answered) <= 0.5 / 0.1 + 2
        answered.clear()
        with pytest.raises(ServiceError, match="version 2 gets no request at a weight of 1 %"):
            asking.wait_for_weight(2, percent=1, headers={}, timeout=0.5)
        assert 5 <= len(answered) <= 0.5 / 0.02 + 2


@contextlib.contextmanager
def locked(key: Callable[[], str]) -> Iterator[str]:
    """Yield the address of a gateway that lets in who shows the key of the moment."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown = self.headers.get("authorization", "")
            self.send_response(200 if shown == f"Bearer {key()}" else 401)
            if shown == f"Bearer {key()}":
                self.send_header(VERSION_HEADER, "2")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def test_a_gateway_that_asks_for_a_token_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.rollout.backends.kserve.prober._SHUT_OUT", 0.2)
    monkeypatch.setenv("ENDPOINT_KEY", "another-key-of-some-length")
    with locked(lambda: "the-key-of-some-length") as url:
        for token, said in (("", "none is named"), ("${env:ENDPOINT_KEY}", "does not take the")):
            asking = Prober(url, service="s", access=AccessSpec(token=token))
            with pytest.raises(ServiceError, match=f"{said}.*401") as caught:
                asking.wait_for(2, headers={}, timeout=30)
            assert "another-key" not in str(caught.value)


def test_a_token_in_a_file_is_read_anew(tmp_path: Path) -> None:
    file, now = tmp_path / "token", "the-first-key"
    file.write_text(now + "\n")
    with locked(lambda: now) as url:
        asking = Prober(url, service="s", access=AccessSpec(token=f"${{file:{file}}}"))
        assert asking.version() == "2"
        now = "the-second-key"
        assert "401" in asking.version()
        file.write_text(now)
        assert asking.version() == "2"


def test_a_token_that_is_just_being_replaced_is_no_error_in_the_midst(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with locked(lambda: "the-first-key") as url:
        asking = Prober(url, service="s", access=AccessSpec(token=f"${{file:{file}}}"))
        with pytest.raises(InputError, match="No such file"):
            asking.version()
        file.write_text("the-first-key")
        assert asking.version() == "2"
        file.write_text("")
        assert "is empty" in asking.version()


def test_a_certificate_is_checked_however_the_address_is_written(tmp_path: Path) -> None:
    for url in ("HTTPS://127.0.0.1:9", "https://127.0.0.1:9"):
        with pytest.raises(InputError, match="certificates cannot be read"):
            Prober(url, service="s", access=AccessSpec(ca_file=str(tmp_path / "none")))


def test_a_token_is_kept_out_of_what_a_gateway_says_of_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-that-a-gateway-quotes")
    headers_of(AccessSpec(token=f"${{file:{file}}}"))
    assert "quotes" not in str(ServiceError("it says: a-token-that-a-gateway-quotes is no token"))


def test_an_authority_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    for text, said in ((None, "No such file"), ("none", "cannot be read")):
        path = tmp_path / "ca.pem"
        if text is not None:
            path.write_text(text)
        with pytest.raises(InputError, match=said) as caught:
            Prober("https://127.0.0.1:9", service="s", access=AccessSpec(ca_file=str(path)))
        assert "ca_file" in str(caught.value)
