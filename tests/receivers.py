"""What receives notifications in tests: a webhook, CloudEvents, a mail server, a file."""

from __future__ import annotations

import base64
import contextlib
import email
import email.policy
import http.server
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from running_process import served

from penstock.notification import NotifySpec


@dataclass
class Mails:
    """What a mail server of the tests was sent."""

    address: tuple[str, int] = ("", 0)
    mails: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)


class _Speaks(socketserver.StreamRequestHandler):
    """SMTP (RFC 5321) that takes anybody's password (RFC 4954)."""

    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline().decode().strip():
            self.say(self.answer(*line.split()))
            if line.upper() == "QUIT":
                return

    def answer(self, word: str, *rest: str) -> str:
        seen: Mails = self.server.seen
        if word.upper() == "EHLO":
            return "250-here\r\n250 AUTH PLAIN"
        if word.upper() == "AUTH":
            seen.logins.append(base64.b64decode(rest[1]).decode())
            return "235 in"
        if word.upper() == "RCPT" and "gone@" in rest[0]:
            return "550 no such mailbox"
        if word.upper() == "DATA":
            self.say("354 go on")
            lines = iter(self.rfile.readline, b".\r\n")
            # A line that begins with a dot comes with one more (section 4.5.2).
            mail = b"".join(line[1:] if line.startswith(b".") else line for line in lines)
            seen.mails.append(mail.decode())
        return "221 bye" if word.upper() == "QUIT" else "250 fine"

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def get_request(self):
        connection, address = super().get_request()
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True)
        return connection, address


@contextlib.contextmanager
def mail_server(context: ssl.SSLContext | None = None) -> Iterator[Mails]:
    with _MailServer(("127.0.0.1", 0), _Speaks) as server:
        server.context, server.seen = context, Mails(server.server_address)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.seen
        server.shutdown()


@dataclass
class Received:
    """What each place was sent.

    Attributes:
        spec: The places.
        hooks: Bodies of the webhook.
        events: CloudEvents.
        server: The mail server.
        file: The file.
        away: Paths of `/hook` and `/events` that take nothing now.
    """

    spec: NotifySpec
    hooks: list[dict[str, Any]]
    events: list[dict[str, Any]]
    server: Mails
    file: Path
    away: set[str] = field(default_factory=set)

    @property
    def mails(self) -> list[EmailMessage]:
        return [
            email.message_from_string(text, policy=email.policy.default)
            for text in self.server.mails
        ]

    @property
    def types(self) -> list[str]:
        """The types of the events, in their order."""
        return [event["type"].removeprefix("io.penstock.") for event in self.events]

    def require_same(self, *, file: bool = True, since: int = 0) -> None:
        """Require that each place got every message, with one text and one identity.

        Args:
            file: Of the file too.
            since: Messages before this one are not looked at.
        """
        events, mails = self.events[since:], self.mails[since:]
        texts = [event["data"]["text"] for event in events]
        assert [body["text"] for body in self.hooks[since:]] == texts
        assert [mail.get_content().strip() for mail in mails] == texts
        if file:
            assert [line["text"] for line in self.lines[since:]] == texts
        identities = [f"<{event['id']}@penstock>" for event in events]
        assert [mail["Message-ID"] for mail in mails] == identities

    @property
    def lines(self) -> list[dict[str, Any]]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [json.loads(line) for line in lines]


class _Receives(http.server.BaseHTTPRequestHandler):
    """Takes a webhook's bodies at /hook and CloudEvents at /events."""

    found: dict[str, list[dict[str, Any]]]
    away: set[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path not in self.away:
            self.found[self.path].append(body)
        self.send_response(503 if self.path in self.away else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def receivers(folder: Path) -> Iterator[Received]:
    """Yield one of each, and the section `notify` that names them."""
    found: dict[str, list[dict[str, Any]]] = {"/hook": [], "/events": []}
    away: set[str] = set()
    handler = type("Receives", (_Receives,), {"found": found, "away": away})
    with served(http.server.HTTPServer(("127.0.0.1", 0), handler)) as http_, mail_server() as mail:
        url = f"http://127.0.0.1:{http_.server_port}"
        host, port = mail.address
        spec = NotifySpec.parse(
            {
                "webhook": f"{url}/hook",
                "cloudevents": f"{url}/events",
                "file": str(folder / "received.jsonl"),
                "email": {
                    "to": ["ann@example.org"], "server": host, "port": port, "security": "none"
                },
            },
            where="notify",
        )  # fmt: skip
        file = folder / "received.jsonl"
        yield Received(spec, found["/hook"], found["/events"], mail, file, away)
