"""How an outcome reaches people, and that a lost message is said and changes nothing."""

from __future__ import annotations

import contextlib
import datetime
import email
import email.policy
import http.server
import ipaddress
import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from receivers import Mails, mail_server
from running_process import served

from penstock.errors import InputError
from penstock.notification import Message, NotifySpec, deliver

MESSAGE = Message(
    identity="loans-7-drifted",
    event="drifted",
    service="loans",
    text="loans: drifted. amount: 80 %. Page: file:///monitor",
    time=datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC),
    data={"verdict": {"kind": "drifted"}},
)


class _Hook(http.server.BaseHTTPRequestHandler):
    bodies: list[dict]
    media = ""
    status = 200

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        type(self).media = self.headers["Content-Type"]
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[str, type[_Hook]]]:
    handler = type("Hook", (_Hook,), {"bodies": []})
    with served(http.server.HTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/secret", handler


def test_a_webhook_gets_a_body_that_slack_takes(hook: tuple[str, type[_Hook]]) -> None:
    address, handler = hook
    assert deliver(MESSAGE, to=NotifySpec(webhook=address), folder=Path()) == []
    assert handler.bodies == [{"text": MESSAGE.text}]


def test_the_environment_can_hold_the_address(
    hook: tuple[str, type[_Hook]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_WEBHOOK", hook[0])
    deliver(MESSAGE, to=NotifySpec(), folder=Path())
    assert hook[1].bodies == [{"text": MESSAGE.text}]


def test_what_cannot_be_delivered_is_said_without_the_secret(
    hook: tuple[str, type[_Hook]], tmp_path: Path
) -> None:
    address, handler = hook
    handler.status = 500
    to = NotifySpec(webhook=address, file=str(tmp_path / "a" / ".." / "a" / "log"))
    problems = deliver(MESSAGE, to=to, folder=tmp_path)
    assert len(problems) == 1
    assert "127.0.0.1" in problems[0]
    assert "secret" not in problems[0]
    line = {"state": "drifted", "text": MESSAGE.text}
    assert json.loads((tmp_path / "a" / "log").read_text()) == line


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_no_delivery(status: int) -> None:
    with served(http.server.HTTPServer(("127.0.0.1", 0), _Leads)) as server:
        _Leads.status = status
        address = f"http://127.0.0.1:{server.server_port}/secret"
        problems = deliver(MESSAGE, to=NotifySpec(webhook=address), folder=Path())
    assert len(problems) == 1
    assert f"it responded with {status}, a redirect" in problems[0]
    assert "secret" not in problems[0]


class _Leads(http.server.BaseHTTPRequestHandler):
    """Sends whoever comes elsewhere, where a GET would be answered too."""

    status = 302

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Location", self.path)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_what_the_monitor_found_is_a_cloudevent(
    hook: tuple[str, type[_Hook]], tmp_path: Path
) -> None:
    address, handler = hook
    assert deliver(MESSAGE, to=NotifySpec(cloudevents=address), folder=tmp_path) == []
    assert handler.media == "application/cloudevents+json"
    (event,) = handler.bodies
    assert event["specversion"] == "1.0"
    assert (event["id"], event["type"]) == ("loans-7-drifted", "io.penstock.monitor.drifted")
    assert (event["source"], event["subject"]) == ("/penstock/monitor/loans", "loans")
    assert event["time"] == "2026-11-29T12:00:00+00:00"
    assert event["data"] == {"text": MESSAGE.text, "verdict": {"kind": "drifted"}}


def test_a_message_goes_to_every_place_and_a_lost_one_is_said(
    hook: tuple[str, type[_Hook]], tmp_path: Path
) -> None:
    address, handler = hook
    handler.status = 503
    to = NotifySpec(webhook=address, file="told.jsonl", cloudevents=address)
    problems = deliver(MESSAGE, to=to, folder=tmp_path)
    assert len(handler.bodies) == 2
    assert ["webhook" in problems[0], "receiver of events" in problems[1]] == [True, True]
    assert "secret" not in " ".join(problems)
    assert json.loads((tmp_path / "told.jsonl").read_text())["state"] == "drifted"


def mail_to(server: Mails, **more: object) -> NotifySpec:
    host, port = server.address
    return NotifySpec.parse(
        {"email": {"to": ["ann@example.org"], "server": host, "port": port, **more}},
        where="notify",
    )


def test_a_mail_has_the_cause_and_its_own_identity(tmp_path: Path) -> None:
    with mail_server() as server:
        assert deliver(MESSAGE, to=mail_to(server, security="none"), folder=tmp_path) == []
    mail = email.message_from_string(server.mails[0], policy=email.policy.default)
    assert (mail["Subject"], mail["To"]) == ("loans: drifted", "ann@example.org")
    assert mail["Message-ID"] == "<loans-7-drifted@penstock>"
    assert mail.get_content().strip() == MESSAGE.text


def test_a_mail_that_one_of_two_does_not_get_is_said(tmp_path: Path) -> None:
    with mail_server() as server:
        to = mail_to(server, security="none")
        both = to.email.model_copy(update={"to": ("ann@example.org", "gone@example.org")})
        problems = deliver(MESSAGE, to=to.model_copy(update={"email": both}), folder=tmp_path)
    assert len(server.mails) == 1
    assert len(problems) == 1
    assert "it does not take mail for gone@example.org" in problems[0]


@pytest.mark.parametrize("address", ["ann@", "Ann <", '"'])
def test_an_address_that_is_none_is_said_and_raises_nothing(address: str, tmp_path: Path) -> None:
    to = NotifySpec.parse({"email": {"to": [address]}, "file": "told.jsonl"}, where="notify")
    (problem,) = deliver(MESSAGE, to=to, folder=tmp_path)
    assert "an address of notify.email cannot be read" in problem
    assert (tmp_path / "told.jsonl").exists()


def certificate(folder: Path) -> Path:
    """Make a certificate for loopback, and its key in the same file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def test_a_password_is_sent_to_a_server_that_is_known_and_to_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    monkeypatch.setenv("MAIL_PASSWORD", "tulip-42-tulip")
    login = {"security": "tls", "user": "ann", "password": "${env:MAIL_PASSWORD}"}
    with mail_server(context) as server:
        problems = deliver(MESSAGE, to=mail_to(server, **login), folder=tmp_path)
        assert len(problems) == 1
        assert "certificate" in problems[0].lower()
        assert server.logins == server.mails == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert deliver(MESSAGE, to=mail_to(server, **login), folder=tmp_path) == []
    assert server.logins == ["\0ann\0tulip-42-tulip"]
    assert len(server.mails) == 1


def test_a_server_without_encryption_gets_no_mail_unless_it_is_asked_for(tmp_path: Path) -> None:
    with mail_server() as server:
        (problem,) = deliver(MESSAGE, to=mail_to(server), folder=tmp_path)
    assert "STARTTLS" in problem
    assert server.mails == []


def test_a_password_without_encryption_is_refused() -> None:
    with pytest.raises(InputError, match="not encrypted"):
        NotifySpec.parse({"email": {"security": "none", "password": "${env:X}"}}, where="notify")


class _Drips(socketserver.StreamRequestHandler):
    """Responds a byte at a time, and never to the end."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nX: " + 40 * b"x" + b"\r\n\r\n":
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)


@pytest.mark.parametrize("place", ["webhook", "cloudevents", "email"])
def test_a_receiver_that_answers_a_byte_at_a_time_holds_nobody_up(
    tmp_path: Path, place: str
) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Drips) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        host, port = server.server_address
        address = f"http://{host}:{port}/secret"
        mail = {"to": ["ann@example.org"], "server": host, "port": port, "security": "none"}
        to = NotifySpec.parse({place: mail if place == "email" else address}, where="notify")
        (problem,) = deliver(MESSAGE, to=to, folder=tmp_path, limit=0.3)
        server.shutdown()
    assert "it was not done within 0.3 seconds" in problem
