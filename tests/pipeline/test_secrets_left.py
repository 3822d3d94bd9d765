"""Secrets planted in the fields of a project, and a search of all that commands leave behind."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from running_process import mlflow_server, served
from test_release import GATE, QUICK

from penstock.pipelines.cli import main

pytestmark = pytest.mark.slow

PASSWORD = "MARKED-p@ss/1"
"""What a password may be: it has to be percent-encoded, and is easily read wrongly."""

SECRETS = {
    "source": PASSWORD,
    "token": "MARKED-token2",
    "store": "MARKED-store3",
    "webhook": "T0/MARKED-hook4",
}


@dataclass
class Site:
    """A folder in which everything lies: project, home, temporary files, what was printed."""

    folder: Path
    said: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        temporary, home = self.folder / "tmp", self.folder / "home"
        for made in (temporary, home):
            made.mkdir(exist_ok=True)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "PENST"))}
        done = subprocess.run(
            [str(Path(sys.executable).with_name("penstock")), *arguments],
            cwd=self.folder,
            env=clean | {"TMPDIR": str(temporary), "HOME": str(home)} | self.variables,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        self.said += [done.stdout, done.stderr]
        return done

    def leaks(self, *ours: Path) -> list[str]:
        """Return where a secret is, in any form; `ours` are the files that we wrote it into."""
        found = [f"printed: {text}" for text in self.said if _holds(text.encode())]
        for path in self.folder.rglob("*"):
            if path in ours or not path.is_file():
                continue
            if _holds(path.read_bytes()):
                found.append(str(path))
            if _holds(str(path).encode()):
                found.append(f"name of {path}")
        return found


def _holds(content: bytes) -> bool:
    pairs = [f"{user}:{secret}" for user in ("me", "tracker") for secret in SECRETS.values()]
    encoded = [base64.b64encode(pair.encode()) for pair in pairs]
    # Fragments of a password that was taken apart, too.
    return any(form in content for form in (b"MARKED", b"p@ss", b"p%40ss", *encoded))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    for project in tmp_path.glob("*.yaml"):
        made.run("stop", str(project))


def fields(address: str, store: str, hook: str, *, clear: bool) -> dict[str, Any]:
    """Return the fields of a project that may hold a secret, with it or with a reference."""
    names = ("source", "token", "store")
    source, token, tracker = (quote(SECRETS[name], safe="") for name in names)
    webhook = SECRETS["webhook"]
    if not clear:
        source, token, tracker = "${env:DB_PASSWORD}", "${env:TOKEN}", "${file:%s}"
        webhook = "${env:HOOK}"
    return {
        "source": {"uri": f"http://me:{source}@{address}/table.csv?token={token}"},
        "tracking_uri": f"http://tracker:{tracker}@{store}",
        "notify": {"webhook": f"http://{hook}/services/{webhook}"},
    }


VARIABLES = {
    "DB_PASSWORD": SECRETS["source"],
    "TOKEN": SECRETS["token"],
    "HOOK": SECRETS["webhook"],
}


@pytest.mark.long
@pytest.mark.parametrize("clear", [True, False], ids=["clear", "by reference"])
def test_no_command_that_fails_leaves_or_prints_a_secret(site: Site, clear: bool) -> None:
    nobody = "127.0.0.1:1"
    project = site.folder / "project.yaml"
    secret = site.folder / "secret"
    secret.write_text(SECRETS["store"])
    text = yaml.safe_dump(
        {"name": "loans", "target": "paid"} | fields(nobody, nobody, nobody, clear=clear)
    )
    project.write_text(text.replace("%s", str(secret)) if not clear else text)
    site.variables = {} if clear else VARIABLES
    failed = site.run("run", str(project))
    assert failed.returncode == 1
    assert "Ingest failed" in failed.stdout
    compiled = site.run("compile", str(project), "-o", "release.yaml")
    assert compiled.returncode == (1 if clear else 0), compiled.stderr
    site.run("compile", str(project), "-o", "manifest.yaml", "--kubernetes-manifest")
    assert (site.folder / "release.yaml").exists() is not clear
    assert (site.folder / "manifest.yaml").exists() is not clear
    assert site.leaks(project, secret) == []
    (log,) = [p for p in site.folder.rglob("kfp.log") if "ingest" in p.read_text()][:1]
    assert log.stat().st_mode & 0o077 == 0
    assert "${" in log.read_text()


def test_no_error_of_a_command_repeats_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = "127.0.0.1:1"
    project = tmp_path / "project.yaml"
    project.write_text(
        yaml.safe_dump(
            {"name": "loans", "target": "paid"} | fields(nobody, nobody, nobody, clear=True)
        )
    )
    monkeypatch.chdir(tmp_path)
    for name in ("SOURCE_URI", "TRACKING_URI", "NOTIFY_WEBHOOK"):  # Gone when the test is over.
        monkeypatch.setenv(f"PENSTOCK_SECRET_{name}", "")
    token, webhook = SECRETS["token"], SECRETS["webhook"]
    for arguments in (
        ("approve",),
        ("verify", "models:/loans/1"),
        ("audit",),
        ("gate",),
        ("submit", "--host", f"http://{nobody}"),
        ("submit", "--host", f"http://{nobody}", "--parameter", f"uri=https://h/t?sig={token}"),
        ("run", "--set", f"tracking_uri=http://tracker:{token}@{nobody}", "--set", "task=none"),
        ("compile", "--set", f"notify.webhook=https://hooks.slack.com/services/{webhook}"),
        ("verify", "models:/loans/1", "--tracking-uri", f"http://tracker:{token}@{nobody}"),
        ("init", f"postgresql://me:{token}@{nobody}/db", "--query", "q", "--target", "t",
         "--force"),
        ("init", f"postgresql://me:{PASSWORD}:x@{nobody}/db", "--query", "q", "--target", "t",
         "-o", "other.yaml"),
        ("init", f"http://{token}@{nobody}/t.csv", "--target", "t", "-o", "other.yaml"),
        ("init", f"nosuch://me:{token}@{nobody}/t.csv", "--target", "t", "-o", "other.yaml"),
        ("no-such-command", f"http://me:{token}@h"),
    ):  # fmt: skip
        with contextlib.suppress(SystemExit):
            assert main(arguments), arguments
    printed = capsys.readouterr()
    assert "***" in printed.err
    site = Site(tmp_path, said=[printed.out, printed.err])
    assert site.leaks(project) == []


class _World(http.server.SimpleHTTPRequestHandler):
    """Serves the table to who shows the password and the token, and takes what is posted."""

    posted: list[str]

    def do_GET(self) -> None:
        shown = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        given = self.headers.get("authorization", "")
        if given != f"Basic {shown}" or f"token={SECRETS['token']}" not in self.path:
            self.send_error(401)
            return
        super().do_GET()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str], Path]]:
    folder = tmp_path_factory.mktemp("world")
    posted: list[str] = []
    handler = type("World", (_World,), {"posted": posted})
    in_folder = functools.partial(handler, directory=str(folder))
    with served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), in_folder)) as server:
        yield f"127.0.0.1:{server.server_port}", posted, folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """A tracking server whose database, artifacts and log lie in the folder that is searched."""
    folder = tmp_path / "mlflow"
    folder.mkdir()
    options = ["--artifacts-destination", folder / "artifacts"]
    with mlflow_server(folder, store=f"sqlite:///{folder}/mlflow.db", options=options) as address:
        yield address.removeprefix("http://")


@pytest.mark.long
@pytest.mark.parametrize("clear", [True, False], ids=["clear", "by reference"])
def test_a_release_leaves_no_secret_behind(
    site: Site, world: tuple[str, list[str], Path], store: str, clear: bool
) -> None:
    address, posted, folder = world
    assert site.run("example", "example", "--rows", "6000").returncode == 0
    (site.folder / "example/simulated-transactions.csv").rename(folder / "table.csv")
    raw = yaml.safe_load((site.folder / "example/project.yaml").read_text())
    secret = site.folder / "secret"
    secret.write_text(SECRETS["store"])
    planted = fields(address, store, address, clear=clear)
    raw |= planted | {
        "training": QUICK, "gate": GATE, "deployment": {"port": 0},
    }  # fmt: skip
    project = site.folder / "project.yaml"
    text = yaml.safe_dump(raw)
    project.write_text(text if clear else text.replace("%s", str(secret)))
    site.variables = {} if clear else VARIABLES
    done = site.run("run", str(project), timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert posted == [f"/services/{SECRETS['webhook']}"]
    logs = [path.read_text() for path in site.folder.rglob("kfp.log")]
    assert [log for log in logs if f"***@{store}" in log]  # MLflow's "View run at".
    orders = list(site.folder.rglob("journal.jsonl"))
    assert orders
    for private in (*orders, *site.folder.rglob("kfp.log")):
        assert private.stat().st_mode & 0o077 == 0
    for command in (["verify", f"models:/{raw['name']}/1"], ["audit"], ["status"]):
        assert site.run(*command).returncode == 0
    assert [path for path in site.folder.rglob("manifest.json") if "evidence" in str(path)]
    assert site.leaks(project, secret) == []
