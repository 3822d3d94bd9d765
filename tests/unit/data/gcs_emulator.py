"""A bucket as Google's storage offers it by its JSON interface, to those who read.

A mock, because Google's storage is not where these tests run, and no package that speaks its
protocol is at hand.
"""

from __future__ import annotations

import contextlib
import http.server
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from running_process import served


@contextlib.contextmanager
def offered(folder: Path, *, host: str = "127.0.0.1") -> Iterator[dict[str, str]]:
    """Yield the environment in which gs://bucket is the files of a folder, for anybody to read."""

    class Handler(_Handler):
        root = folder

    with served(http.server.ThreadingHTTPServer((host, 0), Handler)) as server:
        yield {
            "STORAGE_EMULATOR_HOST": f"http://{host}:{server.server_port}",
            "NO_GCE_CHECK": "true",
            "GOOGLE_CLOUD_PROJECT": "penstock-test",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    root: Path

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, _, name = parts.path.partition("/b/bucket/o")
        name = unquote(name.removeprefix("/"))
        asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if path not in ("/storage/v1", "/download/storage/v1"):
            self._say(404, b"{}")
        elif not name:
            self._say(200, json.dumps(self._listed(**asked)).encode())
        elif not (self.root / name).is_file():
            self._say(404, b"{}")
        elif asked.get("alt") == "media":
            self._say(200, (self.root / name).read_bytes())
        else:
            self._say(200, json.dumps(self._object(name)).encode())

    def _listed(self, *, prefix: str = "", delimiter: str = "", **_: str) -> dict[str, Any]:
        names = [path.relative_to(self.root).as_posix() for path in self.root.rglob("*.*")]
        below = [name.removeprefix(prefix) for name in sorted(names) if name.startswith(prefix)]
        folders = {name.partition("/")[0] for name in below if delimiter and "/" in name}
        files = [name for name in below if not (delimiter and "/" in name)]
        return {
            "items": [self._object(prefix + name) for name in files],
            "prefixes": sorted(f"{prefix}{folder}/" for folder in folders),
        }

    def _object(self, name: str) -> dict[str, Any]:
        size = (self.root / name).stat().st_size
        times = dict.fromkeys(("timeCreated", "updated"), "2026-01-01T00:00:00.000Z")
        return {"bucket": "bucket", "name": name, "size": str(size), "generation": "1", **times}

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
