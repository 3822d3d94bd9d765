"""The server of the page: for loopback names, only what the page links, and only to be read."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_process import LOOPBACK, RunningProcess, served
from whole_life import project_in

from penstock.pipelines.cli import main
from penstock.pipelines.located import Located
from penstock.pipelines.ui.page import project_page
from penstock.pipelines.ui.seen import see
from penstock.pipelines.ui.server import serving
from penstock.pipelines.ui_command import PORT

CARD = "runs/2026-11-28T10-00-00/reports/decision.html"


@pytest.fixture(scope="module")
def port(whole: Located) -> Iterator[int]:
    with (
        serving(
            whole.home, name="loans", port=0, render=lambda: project_page(see(whole), live=True)
        ) as server,
        served(server),
    ):
        yield server.server_address[1]


def ask(
    port: int, path: str, *, method: str = "GET", host: str | None = LOOPBACK
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body; the path goes out as it is."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/", "/index.html", "/?refresh=10"])
def test_the_page_is_made_anew_and_refreshes_itself(port: int, path: str) -> None:
    status, headers, body = ask(port, path)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers["Refresh"] == "10"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert 'href="index.html?refresh=0">Refreshes every 10 s: stop' in body
    assert "Version 2 is held against version 1" in body
    assert "<script" not in body


def test_it_can_be_kept_still(port: int) -> None:
    _, headers, body = ask(port, "/index.html?refresh=0")
    assert "Refresh" not in headers
    assert 'href="index.html">Refresh every 10 s' in body


def test_every_page_that_it_links_is_served(port: int, whole: Located) -> None:
    _, _, body = ask(port, "/")
    links = {link for link in re.findall(r'href="([^"#]+)"', body) if "refresh" not in link}
    assert {CARD, "monitor/index.html", "runs/2026-11-28T10-00-00/kfp.log"} <= links
    for link in links:
        status, headers, served = ask(port, f"/{link}")
        assert status == 200, link
        assert served == (whole.home / link).read_text()
        assert headers["Content-Type"].startswith(
            "text/plain" if link.endswith("log") else "text/html"
        )
    # From there one comes back.
    assert 'href="../../../index.html"' in ask(port, f"/{CARD}")[2]


@pytest.mark.parametrize(
    "path",
    [
        "/mlflow.db", "/monitor/state.json", "/../project.yaml", "/%2e%2e/project.yaml",
        "/runs/../mlflow.db", "/runs/2026-11-28T10-00-00/../../mlflow.db", "//etc/passwd",
        "/experiments/../mlflow.db", "/runs/2026-11-28T10-00-00/summary.json",
        "/serving/loans/captures/version-2", "/runs/",
        f"/{CARD}%00", f"/{CARD}%0a", "/runs/2026-11-28T10-00-00/reports/unknown.html",
    ],
)  # fmt: skip
def test_nothing_else_is_served(port: int, path: str) -> None:
    status, _, body = ask(port, path)
    assert (status, body) == (404, "There is no such page here.\n")


def test_a_link_that_leads_out_of_the_home_is_not_followed(project: Located) -> None:
    outside = project.folder / "secret.html"
    outside.write_text("secret")
    page = project.home / CARD
    page.unlink()
    page.symlink_to(outside)
    with serving(project.home, name="loans", port=0, render=str) as server, served(server):
        assert ask(server.server_address[1], f"/{CARD}")[0] == 404


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "", None],
)
def test_another_name_for_this_machine_is_refused(port: int, host: str | None) -> None:
    for method, path in (("GET", "/"), ("GET", f"/{CARD}"), ("POST", "/")):
        status, _, body = ask(port, path, method=method, host=host)
        assert status == 403
        assert "This page is for this machine" in body
        assert "loans" not in body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8790", "[::1]:8790"])
def test_a_loopback_name_is_taken_whatever_port_leads_here(port: int, host: str) -> None:
    assert ask(port, "/", host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_it_only_reads(port: int, method: str) -> None:
    status, headers, _ = ask(port, "/", method=method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_head_is_get_without_the_page(port: int) -> None:
    status, headers, body = ask(port, "/", method="HEAD")
    assert (status, body) == (200, "")
    assert int(headers["Content-Length"]) > 1000
    assert ask(port, f"/{CARD}", method="HEAD")[2] == ""


def test_the_command_follows_the_project_file(tmp_path: Path, penstock: Path) -> None:
    project = project_in(tmp_path)
    path = project.folder / "project.yaml"
    log = tmp_path / "ui.log"
    with RunningProcess([penstock, "ui", path, "--port", "0"], log=log) as process:
        process.wait_until(lambda: "(end it with Ctrl-C)" in process.output())
        found = re.search(r"loans: http://127\.0\.0\.1:(\d+)/", process.output())
        assert found
        port = int(found[1])
        assert "No version has been registered yet." in ask(port, "/")[2]
        path.write_text("name: loans\ntarget: other\nsource: {uri: loans.csv}\n")
        assert "<dd>other</dd>" in ask(port, "/")[2]
        path.write_text("name: [")
        body = ask(port, "/")[2]
        assert "The project file cannot be read; this is by what it said before." in body
        assert "<dd>other</dd>" in body
        with RunningProcess([penstock, "ui", path, "--port", port], log=tmp_path / "no") as second:
            assert second.wait(60) == 1  # The project file is wrong.
        project_in(tmp_path)
        with RunningProcess([penstock, "ui", path, "--port", port], log=tmp_path / "no") as second:
            assert second.wait(60) == 2
            assert f"port {port} cannot be taken" in second.output()
    assert not project.home.exists()


def test_what_is_no_port_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", "--port", "99999"]) == 2
    assert "99999 is no port" in capsys.readouterr().err


def test_the_port_of_the_bookmark_gives_way(tmp_path: Path, penstock: Path) -> None:
    path = project_in(tmp_path).folder / "project.yaml"
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # Somebody else has it: as well.
            taken.bind((LOOPBACK, PORT))
            taken.listen()
        with RunningProcess([penstock, "ui", path], log=tmp_path / "ui.log") as process:
            process.wait_until(lambda: "Ctrl-C" in process.output())
            found = re.search(r":(\d+)/", process.output())
    assert found
    assert int(found[1]) != PORT
