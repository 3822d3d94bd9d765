"""Bad input and bad luck, as somebody meets it who runs `penstock monitor --once`.

Each time a sentence, an exit code, and a state from which the next look goes on. What served is on
disk alone: no server runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from running_process import until
from watched_shop import COLUMNS, Shop, known

from penstock.monitoring import look
from penstock.monitoring.store.state import MonitorFolder
from penstock.pipelines import cli
from penstock.records.model import FILE_NAME as MODEL_FILE
from penstock.records.model import Model
from penstock.records.monitoring import MonitorState
from penstock.rollout.backends.local.state import LocalState, ServerArm

PROJECT = (
    "{name: NAME, target: buys, source: {uri: none.csv}, tracking_uri: 'http://127.0.0.1:9', "
    "monitoring: {attribution_rows: 0}, notify: {file: told.jsonl}}"
)
UNREACHABLE = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


@dataclass
class Stranger:
    """A project whose service answered rows, and its monitor."""

    folder: Path
    shop: Shop
    capsys: pytest.CaptureFixture[str]

    def once(self, name: str = "shop") -> tuple[int, str]:
        """Look once; return the exit code and all that was said."""
        code = cli.main(["monitor", "--once", str(self.folder / f"{name}.yaml")])
        said = self.capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, said.out + said.err

    def healthy(self) -> None:
        """Answer usual rows, and have them found healthy."""
        self.shop.serve()
        code, said = self.once()
        assert code == 0, said

    @property
    def state(self) -> MonitorState:
        return MonitorFolder(self.folder / ".penstock").read(service="shop")[0]

    @property
    def told(self) -> list[str]:
        path = self.folder / "told.jsonl"
        return [json.loads(line)["state"] for line in path.read_text().splitlines()]


@pytest.fixture
def stranger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Stranger:
    monkeypatch.setenv(UNREACHABLE, "0")
    shop = Shop(tmp_path / "shop")
    # Its rows are of this hour: the monitor has the machine's clock.
    monkeypatch.setattr("watched_shop.BEGIN", datetime.now(UTC) - timedelta(hours=1))
    home = tmp_path / ".penstock"
    serving = home / "serving" / "shop"
    folder = serving / "models" / "1"
    folder.mkdir(parents=True)
    arm = ServerArm(version=1, uri="models:/shop/1", model="sha256:0", folder=str(folder))
    LocalState(service="shop", port=1, stable=arm).write(serving / "state.json")
    Model(
        name="shop", task="binary", target="buys", classes=("no", "yes"), positive="yes",
        threshold=0.5, columns=COLUMNS, metric="accuracy", score=0.9, parameters={}, seed=1,
        dataset="xxh3:0", libraries={}, trusted_types=(),
    ).write(folder / MODEL_FILE)  # fmt: skip
    shop.reference.write(folder / "reference.json")
    known().write(home / "monitor" / "known-1.json")
    shop.captures = serving / "captures" / "version-1"
    for name in ("shop", "other"):
        (tmp_path / f"{name}.yaml").write_text(PROJECT.replace("NAME", name))
    return Stranger(tmp_path, shop, capsys)


@contextmanager
def clock(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> Iterator[None]:
    """Set the monitor's clock ahead or back: the machine's own cannot be set by a test."""

    class Set(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + ahead

    with monkeypatch.context() as patch:
        patch.setattr(look, "datetime", Set)
        yield


def test_nothing_was_captured(stranger: Stranger) -> None:
    code, said = stranger.once()
    assert code == 6
    assert "No rows were captured" in said
    assert stranger.told == ["blind"]
    stranger.healthy()
    assert stranger.told == ["blind", "recovered"]


def test_a_segment_is_torn(stranger: Stranger) -> None:
    stranger.healthy()
    stranger.shop.serve()
    newest = max(stranger.shop.captures.glob("predictions-*.jsonl*"))
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2] + b'{"torn')
    code, said = stranger.once()
    assert code == 6
    assert "rows were lost before they were read" in said
    assert stranger.state.totals.rows + stranger.state.totals.lost == 4000
    stranger.healthy()


def test_labels_are_of_rows_that_nobody_knows(stranger: Stranger) -> None:
    stranger.healthy()
    stranger.shop.serve(labels=True)
    for path in stranger.shop.captures.glob("feedback-*.jsonl"):
        path.write_text(path.read_text().replace('"request_id":"2-', '"request_id":"nobodys-'))
    code, said = stranger.once()
    assert code == 0, said
    assert "labels" in said
    assert stranger.state.last.performance.labels == 0
    stranger.healthy()


def test_two_monitors_at_once(stranger: Stranger) -> None:
    stranger.shop.serve()
    command = [
        sys.executable,
        "-m",
        "penstock.pipelines",
        "monitor",
        str(stranger.folder / "shop.yaml"),
    ]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: stranger.state.number == 1, seconds=120)
        code, said = stranger.once()
        assert code == 1
        assert f"process {first.pid} on " in said
        assert "has been watching it since 20" in said
        assert "One monitor is enough." in said
    finally:
        first.kill()
        first.communicate()
    stranger.healthy()
    assert stranger.state.totals.rows == 4000


def test_two_projects_in_one_folder(stranger: Stranger) -> None:
    stranger.healthy()
    before = stranger.state
    code, said = stranger.once("other")
    assert code == 1
    assert "it watches 'shop', not 'other'" in said
    assert "to a folder of its own" in said
    assert stranger.state == before
    stranger.healthy()


@pytest.mark.parametrize("ahead", [timedelta(days=3), timedelta(days=-3)], ids=["ahead", "back"])
def test_the_clock_is_set(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    stranger.healthy()
    stranger.shop.serve()
    with clock(monkeypatch, ahead):
        code, said = stranger.once()
    # Rows of three days ago are old; rows of the future are looked at.
    assert code == (6 if ahead > timedelta() else 0), said
    assert stranger.state.totals.rows == 4000
    # Set right again nothing is counted twice, and what was noted is not of the future.
    stranger.healthy()
    state = stranger.state
    assert state.totals.rows == 6000
    now = datetime.now(UTC)
    times = [state.time, state.judged, state.changed, *(one.time for one in state.actions)]
    assert all(one is None or one <= now for one in times)


def test_a_version_without_a_baseline(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "penstock.monitoring.store.collect.registry_of", lambda *_, **__: lambda _: None
    )
    (stranger.folder / ".penstock/monitor/known-1.json").unlink()
    stranger.shop.serve()
    code, said = stranger.once()
    assert code == 6
    assert "Nothing is kept of how version 1 scored the holdout" in said
    assert "release it again" in said
    stranger.shop.serve(shift=1.0)
    code, said = stranger.once()
    assert code == 5
    assert "amount" in said


def test_the_registry_is_down(stranger: Stranger) -> None:
    (stranger.folder / ".penstock/monitor/known-1.json").unlink()
    stranger.shop.serve()
    code, said = stranger.once()
    assert code == 6
    assert "The performance of version 1 on the holdout cannot be read" in said
    assert "127.0.0.1:9" in said
    assert stranger.state.totals.rows == 2000
    known().write(stranger.folder / ".penstock/monitor/known-1.json")
    stranger.healthy()
    assert stranger.state.totals.rows == 4000
