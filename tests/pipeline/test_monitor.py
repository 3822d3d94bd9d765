"""The monitor as a stranger meets it: a release, traffic, a change, its labels; real processes."""

from __future__ import annotations

import re
import urllib.request
from html import unescape
from pathlib import Path

import pytest
import yaml

from penstock.examples import traffic
from penstock.monitoring.store.state import MonitorFolder
from penstock.records.monitoring import MonitorState

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("monitor")]

NAME = "simulated-transactions"


@pytest.fixture(scope="module")
def served(shell) -> tuple[Path, str]:
    """A released example, and where it answers."""
    assert shell("example", "watched", "--rows", "6000").returncode == 0
    path = shell.folder / "watched" / "project.yaml"
    project = yaml.safe_load(path.read_text()) | {
        "training": {"trials": 1, "folds": 2, "candidates": ["linear"]},
        "deployment": {"port": 0},
        "gate": {"baseline": {"margin": 0.0}},
        "notify": {"file": "told.jsonl"},
    }
    path.write_text(yaml.safe_dump(project))
    done = shell("run", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    (path.parent / "told.jsonl").unlink()
    return path, re.search(r"Served at +(\S+)", done.stdout)[1]


def state_of(project: Path) -> MonitorState:
    return MonitorFolder(project.parent / ".penstock").read(service=NAME)[0]


def look(shell, project: Path) -> tuple[int, str]:
    done = shell("monitor", str(project), "--once")
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def test_from_a_release_to_degraded(served: tuple[Path, str], shell) -> None:
    project, url = served
    code, said = look(shell, project)
    assert code == 6
    assert "No rows were captured" in said

    sent = shell("example", "watched", "--traffic")
    assert "Sent 10,000 SIMULATED card transactions in 100 requests, and 10,000" in sent.stdout
    code, said = look(shell, project)
    assert (code, state_of(project).verdict.kind) == (0, "healthy"), said
    state = state_of(project)
    assert state.totals.rows == 10_000 == state.last.performance.labels
    assert state.last.operations.requests >= 100

    drifted = traffic.send(url, name=NAME, drift=1.0, seed=30)
    code, said = look(shell, project)
    assert code == 5
    assert re.search(r"DRIFTED +The data of version 1 changed: amount", said), said
    assert re.search(r"amount: [0-9.]+ % \([0-9.]+ % to [0-9.]+ %\) of the rows are at most", said)
    assert "at most 1 a year" in said

    assert traffic.label(url, name=NAME, labels=drifted.labels) == 10_000
    code, said = look(shell, project)
    assert code == 5
    assert re.search(r"DEGRADED +Version 1 predicts worse", said), said
    assert "With labels average_precision is" in said
    assert state_of(project).totals.rows == 20_000

    told = (project.parent / "told.jsonl").read_text().splitlines()
    events = [re.search(r'"state":"(\w+)"', line)[1] for line in told]
    assert events == ["blind", "recovered", "drifted", "suggested", "degraded"]
    index = (project.parent / ".penstock" / "index.html").read_text()
    assert 'href="monitor/index.html"' in index
    shown = " ".join(re.sub(r"<[^>]+>", " ", index).split())
    assert re.search(r"Version 1 serves all requests at http\S+ The monitor's verdict is degraded: "
                     r"Version 1 predicts worse", unescape(shown))  # fmt: skip
    assert re.search(
        r"Pages 1 serves 100 % linear \(C=[0-9.]+\), on \w+:\w+, average_precision", shown
    )
    assert re.search(r"1 none promoted canary \(automatic\)", shown)
    assert re.search(r"Folder 1 20,000 20,000 0 0 [0-9.]+ MB", shown)
    page = (project.parent / ".penstock" / "monitor" / "index.html").read_text()
    assert "<strong>Degraded</strong>" in page
    assert 'href="../index.html"' in page


def test_one_watches_and_serves_figures_and_a_second_is_told(
    served: tuple[Path, str], shell
) -> None:
    project, _ = served
    first = shell.begin("monitor", str(project), "--every", "1h", "--metrics-port", "0")
    try:
        line = first.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/metrics", line)
        assert address, line + first.stdout.read()
        while "Page:" not in line:
            line = first.stdout.readline()
        with urllib.request.urlopen(address[0], timeout=30) as answer:
            figures = answer.read().decode()
        assert f'penstock_monitor_rows_total{{service="{NAME}"}}' in figures
        second = shell("monitor", str(project), "--once")
        assert second.returncode == 1
        assert f"process {first.pid} on " in second.stderr
        assert "has been watching it since 20" in second.stderr
        first.terminate()
        assert first.wait(60) == 0
    finally:
        first.kill()
        first.communicate()
    assert shell("monitor", str(project), "--once").returncode in (0, 5, 6)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--every", "often"), 2, "'often' is not a duration"),
        (("--set", "monitoring.retrain=always"), 2, "monitoring.retrain"),
        (("--set", "deployment.router=kserve"), 1, "KUBECONFIG: no Kubernetes cluster is known"),
        (("--metrics-port", "PORT"), 2, "cannot be taken"),
    ],
)
def test_a_wrong_argument_is_a_sentence(
    served: tuple[Path, str], shell, arguments: tuple[str, ...], code: int, said: str
) -> None:
    # The service itself has that port.
    port = served[1].rpartition(":")[2]
    options = [port if word == "PORT" else word for word in arguments]
    done = shell("monitor", str(served[0]), "--once", *options)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
