"""What answers as Feast's feature server does, from a table that a test lays down.

Feast does not go with the libraries of these tests. The form is that of `RECORDED`, which a server
of Feast 0.67 said; tests/unit/feature_store/test_feast.py asks a real one.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from running_process import LOOPBACK, served

RECORDED = (
    b'{"results":[{"values":[1,2,3,9],"statuses":["PRESENT","PRESENT","PRESENT","PRESENT"],'
    b'"event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z","1970-01-01T00:00:00Z",'
    b'"1970-01-01T00:00:00Z"]},{"values":["Bonn","Kiel","Ulm",null],"statuses":["PRESENT",'
    b'"PRESENT","PRESENT","NOT_FOUND"],"event_timestamps":["2026-11-10T00:00:00Z",'
    b'"2026-11-02T00:00:00Z","2026-11-20T00:00:00Z","1970-01-01T00:00:00Z"]},'
    b'{"values":[12.5,0.5,1.5,null],"statuses":["PRESENT","PRESENT","PRESENT","NOT_FOUND"],'
    b'"event_timestamps":["2026-11-10T00:00:00Z","2026-11-02T00:00:00Z","2026-11-20T00:00:00Z",'
    b'"1970-01-01T00:00:00Z"]},{"values":[4,7,1,null],"statuses":["PRESENT","PRESENT","PRESENT",'
    b'"NOT_FOUND"],"event_timestamps":["2026-11-10T00:00:00Z","2026-11-02T00:00:00Z",'
    b'"2026-11-20T00:00:00Z","1970-01-01T00:00:00Z"]},{"values":[true,false,true,null],'
    b'"statuses":["PRESENT","PRESENT","PRESENT","NOT_FOUND"],"event_timestamps":'
    b'["2026-11-10T00:00:00Z","2026-11-02T00:00:00Z","2026-11-20T00:00:00Z",'
    b'"1970-01-01T00:00:00Z"]}],"metadata":{"feature_names":["customer_id","city","spent",'
    b'"orders","active"]}}'
)
NEVER = "1970-01-01T00:00:00Z"


class FeatureServerEmulator(ThreadingHTTPServer):
    """Holds features by the key `customer_id`.

    Attributes:
        rows: By key: each feature's value, or (value, status, time).
        status: Of its answers.
        said: What it says instead of features.
        delay: Seconds before it answers.
        asked: The bodies of its requests.
    """

    daemon_threads = True

    def __init__(self, rows: dict[Any, dict[str, Any]]) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.rows = rows
        self.status = 200
        self.said = b""
        self.delay = 0.0
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server_port}"

    def answer(self, request: dict[str, Any]) -> bytes:
        if self.said or self.status != 200:
            return self.said
        keys = request["entities"]["customer_id"]
        names = sorted({name for row in self.rows.values() for name in row})
        results = [{"values": keys, "statuses": ["PRESENT"] * len(keys)}]
        results[0]["event_timestamps"] = [NEVER] * len(keys)
        for name in names:
            found = [self._value(key, name) for key in keys]
            values, statuses, times = map(list, zip(*found, strict=True))
            results.append({"values": values, "statuses": statuses, "event_timestamps": times})
        metadata = {"feature_names": ["customer_id", *names]}
        return json.dumps({"results": results, "metadata": metadata}).encode()

    def _value(self, key: Any, name: str) -> tuple[Any, str, str]:
        if key not in self.rows:
            return None, "NOT_FOUND", NEVER
        value = self.rows[key][name]
        return value if isinstance(value, tuple) else (value, "PRESENT", "2026-11-10T00:00:00Z")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FeatureServerEmulator

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(request)
        time.sleep(self.server.delay)
        said = self.server.answer(request)
        # Who does not wait is gone by now.
        with contextlib.suppress(BrokenPipeError):
            self.send_response(self.server.status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def feature_server(rows: dict[Any, dict[str, Any]]) -> Iterator[FeatureServerEmulator]:
    """Yield a server that answers."""
    with served(FeatureServerEmulator(rows)) as server:
        yield server
