"""MLflow's own answers over HTTP, in this process: its whole server takes ten seconds to start."""

from __future__ import annotations

import contextlib
import socketserver
import wsgiref.simple_server
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from running_process import LOOPBACK, served


@contextlib.contextmanager
def mlflow_over_http(
    uri: str, monkeypatch: pytest.MonkeyPatch, *, around: Callable[[Any], Any] = lambda app: app
) -> Iterator[str]:
    """Yield the address of MLflow's application over a store.

    Args:
        uri: The store, a SQLite file.
        monkeypatch: Of the test.
        around: Returns what answers instead, as a proxy before it would; it gets the application.
    """
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", uri)
    from mlflow.server import app, handlers

    monkeypatch.setattr(handlers, "_model_registry_store", None)
    monkeypatch.setattr(handlers, "_tracking_store", None)
    made = wsgiref.simple_server.make_server(
        LOOPBACK, 0, around(app), server_class=_Threading, handler_class=_Silent
    )
    with served(made):
        yield f"http://{LOOPBACK}:{made.server_port}"


class _Silent(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *args: object) -> None: ...


class _Threading(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    # It asks itself for the model that a version is made of.
    daemon_threads = True
