"""The journal: what was written before it was acted on is what a later controller reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.errors import InputError, IntegrityError
from penstock.records.rollout import ArmSummary, Finding, Interval, Rollout
from penstock.rollout.journal import Journal, journals
from penstock.rollout.store import FolderStore

FOUND = Finding(rule="errors", verdict="pass", value=0.001, bound=0.02, sentence="Few errors.")


def planned(**changes: object) -> Rollout:
    fields = {
        "identity": "2-abc",
        "service": "s",
        "router": "local",
        "url": "http://127.0.0.1:1",
        "candidate": 2,
        "stable": 1,
        "uri": "models:/s/2",
        "model": "sha256:1",
        "decision": "sha256:2",
        "started": datetime.now(UTC),
        "plan": {},
    }
    return Rollout.model_validate(fields | changes)


def begun(folder: Path) -> Journal:
    journal = Journal(FolderStore(folder))
    journal.begin(planned(), reason="Approved.")
    return journal


def interval(**changes: object) -> Interval:
    arm = ArmSummary(requests=10, latency={3: 10}, labels={"yes": 4, "no": 6})
    fields = {"started": datetime.now(UTC), "seconds": 1.0, "phase": "step", "weight": 10}
    return Interval.model_validate(fields | {"candidate": arm} | changes)


def test_another_reader_sees_what_was_written(tmp_path: Path) -> None:
    journal = begun(tmp_path / "r")
    journal.go("shadow", reason="Ready.")
    journal.saw(interval())
    journal.go("step", reason="Passed.", step=0, weight=10, findings=(FOUND,))

    read = Journal(FolderStore(tmp_path / "r")).rollout

    assert read == journal.rollout
    assert [t.phase for t in read.transitions] == ["deploy", "shadow", "step"]
    assert [t.sequence for t in read.transitions] == [0, 1, 2]
    assert read.last.findings == (FOUND,)
    assert read.intervals == journal.rollout.intervals
    assert read.outcome is None


@pytest.mark.parametrize(
    ("last", "outcome"), [("promote", "promoted"), ("rollback", "rolled_back")]
)
def test_the_outcome_is_what_was_last_done(tmp_path: Path, last: str, outcome: str) -> None:
    journal = begun(tmp_path / "r")
    journal.go("promote", reason="All passed.")
    if last == "rollback":
        journal.go("rollback", reason="The registry did not answer.")
    journal.go("done", reason="It serves.")

    read = Journal(FolderStore(tmp_path / "r")).rollout

    assert read.outcome == outcome
    assert read.reason == journal.rollout.transitions[-2].reason


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_line_was_not_acted_on(tmp_path: Path, cut: int) -> None:
    begun(tmp_path / "r").go("shadow", reason="Ready. " * 40)
    path = tmp_path / "r" / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])

    torn = Journal(FolderStore(tmp_path / "r"))
    assert torn.rollout.last.phase == "deploy"
    torn.go("rollback", reason="Killed.")

    read = Journal(FolderStore(tmp_path / "r")).rollout
    assert [t.phase for t in read.transitions] == ["deploy", "rollback"]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    begun(tmp_path / "r").go("shadow", reason="Ready.")
    path = tmp_path / "r" / "journal.jsonl"
    path.write_text(path.read_text().replace('"phase":"deploy"', '"phase":"party"'))

    with pytest.raises(IntegrityError, match=r"line 1 of the journal is damaged.*penstock status"):
        _ = Journal(FolderStore(tmp_path / "r")).rollout


def test_a_journal_that_never_began_does_not_exist(tmp_path: Path) -> None:
    journal = Journal(FolderStore(tmp_path / "r"))
    assert not journal.exists
    with pytest.raises(InputError, match="no rollout has begun"):
        _ = journal.rollout
    begun(tmp_path / "r")
    (tmp_path / "r" / "journal.jsonl").write_bytes(b'{"rollout"')
    assert not Journal(FolderStore(tmp_path / "r")).exists
    assert journals(FolderStore.all_below(tmp_path / "rollouts")) == []


def test_rollouts_are_listed_oldest_first(tmp_path: Path) -> None:
    for name in ("z", "a"):
        begun(tmp_path / "rollouts" / name)
    found = journals(FolderStore.all_below(tmp_path / "rollouts"))
    assert [journal.name for journal in found] == ["z", "a"]


def test_a_kill_between_two_lines_loses_neither(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from penstock.rollout.journal import Journal
from penstock.rollout.store import FolderStore
from test_journal import planned
journal = Journal(FolderStore(Path({str(tmp_path / "r")!r})))
journal.begin(planned(), reason="Approved.")
journal.go("shadow", reason="Ready.")
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment)
    assert ended.returncode == -signal.SIGKILL
    assert Journal(FolderStore(tmp_path / "r")).rollout.last.phase == "shadow"


def test_words_of_people_are_kept_beside_it(tmp_path: Path) -> None:
    journal = begun(tmp_path / "r")
    assert journal.approval_of(0) is None
    assert journal.abort_asked is None
    journal.approve(0, by="ada")
    journal.ask_to_abort("enough")
    again = Journal(FolderStore(tmp_path / "r"))
    assert again.approval_of(0) == "ada"
    assert again.approval_of(1) is None
    assert again.abort_asked == "enough"
