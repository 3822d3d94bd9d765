"""A repository of Git and DVC, and what answers as lakeFS does."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest


class Repository:
    """A repository of Git and DVC, whose file `data/people.csv` is tracked by DVC."""

    def __init__(self, folder: Path) -> None:
        from dvc.repo import Repo

        folder.mkdir()
        self.folder = folder
        self._git("init", "--quiet", "--initial-branch=main")
        (folder / "data").mkdir()
        Repo.init(str(folder)).close()
        # A clone has no cache of its own: it reads what was pushed.
        (folder / ".dvc" / "config").write_text(
            f"[core]\n    remote = store\n['remote \"store\"']\n    url = {folder}.remote\n"
        )
        self._dvc = Repo(str(folder))

    def commit(self, rows: str) -> str:
        """Commit a table of these rows; return the commit."""
        table = self.folder / "data" / "people.csv"
        table.write_text(f"age,city\n{rows}")
        self._dvc.add(str(table))
        self._dvc.push()
        self._git("add", "--all")
        self._git("-c", "user.name=n", "-c", "user.email=e@x", "commit", "--quiet", "-m", "rows")
        return self.head()

    def head(self) -> str:
        """Return the commit that is checked out."""
        return self._git("rev-parse", "HEAD")

    def track(self, path: Path) -> None:
        """Have DVC track a file; the next commit has it."""
        self._dvc.add(str(path))

    def _git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def tag(self, name: str) -> None:
        self._git("tag", name)

    def branch(self, name: str) -> None:
        self._git("branch", name)

    def remove_branch(self, name: str) -> None:
        self._git("branch", "-D", name)


class LakeFs:
    """lakeFS's two faces on one port: its API's answer on commits, and moto for its S3 gateway."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.commits: dict[str, str] = {}
        self.status = "200 OK"
        self.page = b""
        self._gateway = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith("/api/v1/"):
            return self._gateway(environ, start)
        reference = path.split("/")[-2]
        found = self.commits.get(reference, "")
        status = self.status if found or self.status != "200 OK" else "404 Not Found"
        start(status, [("Content-Type", "application/json")])
        return [self.page or json.dumps({"results": [{"id": found}]}).encode()]


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Iterator[LakeFs]:
    server = LakeFs()
    monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", f"{server.endpoint}/api/v1")
    monkeypatch.setenv("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "lake-reader")
    monkeypatch.setenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", "lake-secret-of-mine")
    yield server
    server.close()
