"""One monitor at a time, and its folder is whole whatever is torn, killed or set back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from monitor_parts import BEGIN, HOUR, drift, signal

from penstock.errors import InputError, IntegrityError, ServiceError
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.store.state import MonitorFolder, following
from penstock.monitoring.verdict.judge import judge
from penstock.records.monitoring import Looked, MonitorState, Progress, Verdict


def looked(number: int, *, rows: int = 1000, **fields) -> Looked:
    progress = Progress(cursor={"positions": {"a": {"rows": 1000 * number}}})
    return Looked(
        service="loans",
        version=1,
        number=number,
        time=BEGIN + number * HOUR,
        rows=rows,
        progress=progress,
        **{"drift": drift(0.0)} | fields,
    )


def watch(folder: MonitorFolder, looks: int, **fields) -> MonitorState:
    """Keep so many looks as the monitor does."""
    state = MonitorState(service="loans")
    for number in range(1, looks + 1):
        seen = looked(number, **fields)
        folder.keep(seen)
        verdict = judge(seen, state=state, spec=MonitoringSpec())
        folder.keep(verdict)
        state = following(state, seen, verdict)
        folder.write(state)
    return state


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = MonitorFolder(tmp_path)
    assert folder.read(service="loans") == (MonitorState(service="loans"), [])
    state = watch(folder, 2)
    assert folder.read(service="loans") == (state, [])
    assert state.totals.rows == 2000
    assert [one.number for one in folder.recent(Verdict, most=9)] == [1, 2]


def test_a_second_monitor_is_told_who_watches_and_since_when(tmp_path: Path) -> None:
    code = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path;"
        "from penstock.monitoring.store.state import MonitorFolder;"
        "folder = MonitorFolder(Path(sys.argv[1]))\n"
        "with folder.held(now=datetime(2026, 11, 1, tzinfo=UTC)):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(ServiceError) as refused, MonitorFolder(tmp_path).held(now=BEGIN):
            pass
        assert f"process {first.pid} on " in str(refused.value)
        assert "since 2026-11-01T00:00:00+00:00" in str(refused.value)
        # What was killed holds nothing any more.
        first.kill()
        first.wait()
        with MonitorFolder(tmp_path).held(now=BEGIN):
            pass
    finally:
        first.kill()
        first.communicate()


@pytest.mark.parametrize("torn", ["", "{", '{"record": "penstock/monitor", "schema_version": 1}'])
def test_a_torn_state_is_put_aside_and_nothing_is_read_twice(tmp_path: Path, torn: str) -> None:
    folder = MonitorFolder(tmp_path)
    state = watch(folder, 3, drift=drift(9, signal()))
    (folder.path / "state.json").write_text(torn)
    again, notes = folder.read(service="loans")
    assert (again.number, again.version, again.progress) == (3, 1, state.progress)
    assert again.verdict == state.verdict
    assert again.verdict.drift is not None
    assert "state.json.torn" in notes[0]
    assert (folder.path / "state.json.torn").read_text() == torn


def test_a_torn_state_goes_on_with_a_window_that_was_not_judged(tmp_path: Path) -> None:
    folder = MonitorFolder(tmp_path)
    watch(folder, 2)
    folder.keep(looked(3))
    (folder.path / "state.json").write_text("")
    again, _ = folder.read(service="loans")
    assert again.number == 2
    assert folder.window(3).rows == 1000


def test_a_torn_window_is_put_aside_and_seen_again(tmp_path: Path) -> None:
    folder = MonitorFolder(tmp_path)
    watch(folder, 1)
    folder.keep(looked(2))
    (path,) = folder.path.glob("windows/00000002-*.json")
    path.write_text(path.read_text()[:100])
    assert folder.window(2) is None
    assert path.with_name(f"{path.name}.torn").exists()


def test_a_state_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    folder = MonitorFolder(tmp_path)
    watch(folder, 1)
    path = folder.path / "state.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 9', 1))
    with pytest.raises(IntegrityError):
        folder.read(service="loans")
    assert '"schema_version": 9' in path.read_text()


def test_the_folder_of_another_service_is_refused(tmp_path: Path) -> None:
    folder = MonitorFolder(tmp_path)
    watch(folder, 1)
    with pytest.raises(InputError, match="it watches 'loans', not 'fraud'"):
        folder.read(service="fraud")


def test_the_oldest_looks_are_deleted(tmp_path: Path) -> None:
    folder = MonitorFolder(tmp_path)
    watch(folder, 5)
    (folder.path / "windows" / ".00000004-x.json.abc").touch()
    folder.prune(keep=2)
    assert [one.number for one in folder.recent(Looked, most=9)] == [4, 5]
    assert len(list((folder.path / "windows").iterdir())) == 2


def test_names_say_the_look_and_the_time(tmp_path: Path) -> None:
    folder = MonitorFolder(tmp_path)
    watch(folder, 1)
    (path,) = folder.path.glob("windows/*")
    assert path.name == "00000001-20261101T010000Z.json"
