"""`penstock captures`: what it prints, writes and ends with."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from capture_rows import START, capture_all, label, rows

from penstock.captures.places import LocalPlace
from penstock.captures.reader import read_window
from penstock.captures.shipping import ship
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.monitoring.store.answered import Answered, keys_of_rows
from penstock.monitoring.store.state import MonitorFolder
from penstock.pipelines import cli
from penstock.processes.supervisor import hold_port

PROJECT = "{name: shop, target: bought, source: {uri: none.csv}}"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working directory, and where its servers would capture."""
    (tmp_path / "project.yaml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".penstock" / "serving" / "shop" / "captures"


def test_a_list_of_what_was_captured(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["captures", "list"]) == 0
    assert "Nothing was captured at" in capsys.readouterr().out
    capture_all(project / "version-3", rows("a"), rows("b", time=START + 60))
    label(project / "version-3", ("a", 0, "yes"))
    assert cli.main(["captures", "list"]) == 0
    line = capsys.readouterr().out.splitlines()[1].split("  ")
    assert line[:8] == ["version-3", "3", "2", "2", "1", "0", "0", "0"]
    assert line[8:] == ["2027-01-15T08:00:00", "2027-01-15T08:01:00"]


def test_an_export_that_ingest_takes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture_all(project / "version-3", rows("a"), rows("b"))
    label(project / "version-3", ("a", 0, "yes"))
    assert cli.main(["captures", "export", "--output", "out", "--labelled"]) == 0
    assert "1 rows, 1 of them with the true label. 0 rows were lost" in capsys.readouterr().out
    assert ingest(SourceSpec(uri="out"), output=Path("dataset")).column("bought") is not None
    assert cli.main(["captures", "export", "--output", "out"]) == 1
    assert "already holds files" in capsys.readouterr().err


def test_an_erasure_says_how_much(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture_all(project / "version-3", rows("a"), rows("b"))
    assert cli.main(["captures", "erase", "--request", "a"]) == 0
    assert capsys.readouterr().out == "Erased 1 rows and 0 labels in 1 files.\n"
    assert cli.main(["captures", "erase", "--where", "city=Köln"]) == 0
    assert read_window(project, after=None).rows == 0
    assert cli.main(["captures", "erase"]) == 2
    assert "Give either --request ID or --where" in capsys.readouterr().err
    assert cli.main(["captures", "erase", "--where", "city"]) == 2


def test_what_the_monitor_kept_is_erased_too(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture_all(project / "version-3", rows("a"), rows("b"), rows("c"))
    answered = Answered(MonitorFolder(Path(".penstock")).storage)
    keys = keys_of_rows([("a", 0), ("b", 0), ("c", 0), ("gone", 0), ("gone", 1)])
    answered.keep(
        1,
        keys=keys,
        scores=np.linspace(0.1, 0.5, 5),
        times=np.arange(5.0),
        codes=np.arange(5)[:, None],
    )
    assert cli.main(["captures", "erase", "--request", "gone"]) == 0
    assert "and 2 scores that the monitor kept" in capsys.readouterr().out
    assert answered.join(1, keys, groups=1).scores == pytest.approx([0.1, 0.2, 0.3])
    assert cli.main(["captures", "erase", "--where", "city=Köln"]) == 0
    assert "and 3 scores that the monitor kept" in capsys.readouterr().out
    assert not len(answered.join(1, keys, groups=1).places)
    (path,) = Path(".penstock/monitor/answered").glob("*.npz")
    with np.load(path) as kept:
        assert not kept["keys"].any()
        assert np.isnan(kept["scores"]).all()
        assert (kept["codes"] == -1).all()


@pytest.mark.parametrize("port", ["taken", "99999"])
def test_a_sink_that_cannot_listen_promises_nothing(
    capsys: pytest.CaptureFixture[str], port: str
) -> None:
    with contextlib.closing(hold_port(0)) as held:
        held.listen()
        port = str(held.getsockname()[1]) if port == "taken" else port
        assert cli.main(["captures", "sink", "--port", port]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"127.0.0.1:{port} cannot be taken" in said.err


def test_shipped_rows_are_pruned_by_the_settings(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture_all(project, rows("a", time=START - 4e8))
    ship(project, LocalPlace(Path("there").absolute()), pod="p")
    prune = ["captures", "prune", "--at", "there"]
    assert cli.main(prune) == 2
    assert "nothing says how much is kept" in capsys.readouterr().err
    settings = "deployment: {kserve: {captures: {days: 90}}}"
    Path("project.yaml").write_text(f"{PROJECT[:-1]}, {settings}}}")
    assert cli.main(prune) == 0
    assert "Removed 1 segments with 1 rows" in capsys.readouterr().out
    assert cli.main(["captures", "list", "--at", "there"]) == 0


def test_a_cluster_that_captures_nothing_says_what_to_set(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("project.yaml").write_text(f"{PROJECT[:-1]}, deployment: {{router: kserve}}}}")
    assert cli.main(["captures", "list"]) == 1
    assert "deployment.kserve.captures.destination" in capsys.readouterr().err
