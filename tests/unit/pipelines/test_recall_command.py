"""`penstock recall` where it cannot do what it is asked: a sentence, and the exit code of usage."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from penstock.monitoring.store import collect
from penstock.monitoring.store.collect import Reading
from penstock.pipelines import cli


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project.yaml"
    raw = {"name": "loans", "target": "paid", "source": {"uri": "loans.csv"}}
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "nothing is being served of it"),
        (
            ("--set", "deployment.router=kserve"),
            "recalls for a service of this machine, and deployment.router is kserve. On a cluster "
            "the monitor's runs recall, with monitoring.retrain: automatic (docs/monitoring.md).",
        ),
    ],
)
def test_there_must_be_a_service_here(
    project: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["recall", str(project), "--compare", *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "the monitor has found no change, so it is not known which rows count"),
        (("--since", "yesterday"), "'yesterday' is not a valid timestamp"),
    ],
)
def test_it_must_be_known_which_rows_count(
    project: Path,
    options: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A proxy and a server would be minutes of starting for a sentence about an argument.
    monkeypatch.setattr(collect, "reading_here", lambda *_: Reading(version=2, counted={}))
    assert cli.main(["recall", str(project), "--compare", *options]) == 2
    assert said in capsys.readouterr().err
