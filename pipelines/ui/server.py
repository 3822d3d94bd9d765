"""A small server of a project's page on this machine: it only reads, and only what the page links.

It listens on loopback. A page of another site cannot reach it by a name of its own that it has
pointed at this machine (DNS rebinding): a request whose header `Host` is not a loopback name is
refused. Other users of this machine can read what it shows.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from penstock.errors import PenstockError
from penstock.pipelines.outputs import INDEX, PAGES
from penstock.pipelines.ui.experiments import FOLDER
from penstock.pipelines.ui.runs import LOG
from penstock.processes.loopback import LOOPBACK
from penstock.reports.page import with_navigation

REFRESH = 10
"""Seconds after which a browser asks for the page again, unless it was asked not to."""

_NAMES = frozenset({LOOPBACK, "localhost", "[::1]"})
_SECONDS = 10
"""A connection that sends nothing for so long is closed."""

_HTML, _TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"
_SERVED: tuple[tuple[str, str], ...] = (
    (rf"runs/[0-9][-0-9T.]*/reports/({'|'.join(PAGES)})\.html", _HTML),
    (rf"runs/[0-9][-0-9T.]*/{re.escape(LOG)}", _TEXT),
    (r"monitor/index\.html", _HTML),
    (rf"{FOLDER}/[0-9A-Za-z][-0-9A-Za-z_.]*\.html", _HTML),
)
"""The files of a project's home that are served, as regular expressions, and what they are."""

_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)  # fmt: skip


@contextlib.contextmanager
def serving(
    home: Path, *, name: str, port: int, render: Callable[[], str]
) -> Iterator[ThreadingHTTPServer]:
    """Yield a server that listens; the caller has it answer with `serve_forever`.

    Args:
        home: The project's; nothing outside of it is served.
        name: What the project is called.
        port: On loopback; 0 takes a free one.
        render: Returns the project's page, made anew.

    Raises:
        OSError: If the port cannot be taken.
    """

    class Handler(_Handler):
        project = _Project(home.resolve(), name, render)

    with _Server((LOOPBACK, port), Handler) as server:
        yield server


class _Project:
    def __init__(self, home: Path, name: str, render: Callable[[], str]) -> None:
        self.home, self.name, self.render = home, name, render

    def file(self, path: str) -> tuple[Path, str] | None:
        """Return the file of a path of an address and its type; None: it is not served."""
        for pattern, kind in _SERVED:
            if re.fullmatch(pattern, path, flags=re.ASCII):
                found = (self.home / path).resolve()
                # A link in the home may lead out of it.
                inside = found.is_relative_to(self.home)
                return (found, kind) if inside and found.is_file() else None
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over a browser that leaves before it has its answer."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    project: _Project
    timeout = _SECONDS
    server_version = "Penstock"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with a page."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer as to GET, without the page."""
        self._answer()

    def _refuse(self) -> None:
        if self._is_local():
            said = "This server only shows: it takes GET and HEAD."
            self._say(HTTPStatus.METHOD_NOT_ALLOWED, said, Allow="GET, HEAD")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = _refuse  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing for each request."""

    def _is_local(self) -> bool:
        host = (self.headers.get("Host") or "").strip().lower()
        if re.sub(r":[0-9]*$", "", host) in _NAMES:
            return True
        self._say(
            HTTPStatus.FORBIDDEN,
            f"This page is for this machine: ask for http://{LOOPBACK}:"
            f"{self.connection.getsockname()[1]}/.",
        )
        return False

    def _answer(self) -> None:
        if not self._is_local():
            return
        address = urlsplit(self.path)
        path = unquote(address.path).removeprefix("/")
        if path in ("", INDEX):
            self._page(still=parse_qs(address.query).get("refresh") == ["0"])
            return
        found = self.project.file(path)
        if found is None:
            self._say(HTTPStatus.NOT_FOUND, "There is no such page here.")
            return
        self._send(*found)

    def _page(self, *, still: bool) -> None:
        try:
            text = self.project.render()
        except (OSError, PenstockError) as error:
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, f"The page cannot be made: {error}")
            return
        choice = (
            (f"Refresh every {REFRESH} s", f"{INDEX}")
            if still
            else (f"Refreshes every {REFRESH} s: stop", f"{INDEX}?refresh=0")
        )
        text = with_navigation(text, links=[(self.project.name, ""), choice])
        more = {} if still else {"Refresh": str(REFRESH)}
        self._begin(HTTPStatus.OK, _HTML, len(body := text.encode()), **more)
        self._write(body)

    def _send(self, path: Path, kind: str) -> None:
        try:
            with path.open("rb") as stream:
                self._begin(HTTPStatus.OK, kind, None)
                if self.command != "HEAD":
                    shutil.copyfileobj(stream, self.wfile)
        except PermissionError as error:
            self._say(HTTPStatus.FORBIDDEN, f"It cannot be read: {error.strerror}.")

    def _say(self, status: HTTPStatus, text: str, **headers: str) -> None:
        body = f"{text}\n".encode()
        self._begin(status, _TEXT, len(body), **headers)
        self._write(body)

    def _begin(self, status: HTTPStatus, kind: str, length: int | None, **headers: str) -> None:
        self.send_response(status)
        for name, value in (*_HEADERS, ("Content-Type", kind), *headers.items()):
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _write(self, body: bytes) -> None:
        if self.command != "HEAD":
            self.wfile.write(body)
