"""The command that shows a project in a browser: `penstock ui`."""

from __future__ import annotations

import argparse
import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import PenstockError, UsageError
from penstock.pipelines.located import Located, add_project_argument, locate
from penstock.redaction import redact

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

PORT = 8790
"""Where the page is, unless it is said or taken: so that it can be a bookmark."""


def add_ui_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
    command = commands.add_parser(
        "ui", help="show the service's whole life in a browser", description=_ui.__doc__
    )
    add_project_argument(command)
    command.add_argument(
        "--port",
        type=int,
        metavar="PORT",
        help=f"on loopback; 0 takes a free one (default: {PORT}, or a free one if that is taken)",
    )
    command.add_argument("--open", action="store_true", help="open it in the browser")
    command.set_defaults(command=_ui)


def _ui(options: argparse.Namespace) -> int:
    """Serve the project's page on this machine, made anew each time that it is looked at.

    It only reads: runs, versions, champions, canaries, captures, what the monitor wrote.
    """
    if options.port is not None and not 0 <= options.port < 2**16:
        raise UsageError(
            f"{options.port} is no port", where="--port", remedy="Name one below 65536."
        )
    page = _Page(options.project)
    with _serving(page.found, page, port=options.port) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        print(f"{page.found.project.name}: {address}  (end it with Ctrl-C)", flush=True)
        if options.open:
            import webbrowser

            webbrowser.open(address)
        server.serve_forever()
    return 0


class _Page:
    """Makes the page, by the project file as it is at that time.

    Args:
        path: The project file.

    Raises:
        InputError: If that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: Located = locate(path)

    def __call__(self) -> str:
        """Return the page; with the project as it was, and a notice, where it cannot be read."""
        from penstock.pipelines.ui.page import project_page
        from penstock.pipelines.ui.seen import see

        notice = ""
        try:
            self.found = locate(self._path)
        except PenstockError as error:
            said = redact(str(error))
            notice = f"The project file cannot be read; this is by what it said before. {said}"
        return project_page(see(self.found), live=True, notice=notice)


@contextlib.contextmanager
def _serving(found: Located, page: _Page, *, port: int | None) -> Iterator[ThreadingHTTPServer]:
    from penstock.pipelines.ui.server import serving

    with contextlib.ExitStack() as stack:

        def begin(port: int) -> ThreadingHTTPServer:
            return stack.enter_context(
                serving(found.home, name=found.project.name, port=port, render=page)
            )

        try:
            server = begin(PORT if port is None else port)
        except OSError as error:
            if port is not None or error.errno != errno.EADDRINUSE:
                raise UsageError(
                    f"port {port or PORT} cannot be taken: {error.strerror}",
                    where="--port",
                    remedy="Name another, or 0 for a free one.",
                ) from error
            server = begin(0)
        yield server
