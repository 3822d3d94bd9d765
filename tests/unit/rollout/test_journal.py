"""The journal: what was written before it was acted on is what a later controller reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.errors import InputError, IntegrityError
from penstock.records.rollout import ArmSummary, Finding, Interval, Rollout
from penstock.rollout.backends.local.target import LocalTarget
from penstock.rollout.journal import Journal, unfinished
from penstock.rollout.store import FolderStore
from penstock.rollout.target import history, newest, prune

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


def test_a_rollout_of_an_earlier_release_still_names_its_fault() -> None:
    raw = planned(fault="slow").payload()
    raw["drill"] = raw.pop("fault")
    assert Rollout.parse(raw, where="w").fault == "slow"
    with pytest.raises(InputError, match="drill: Extra inputs"):
        Rollout.parse(raw | {"fault": "errors"}, where="w")


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


def a_place(home: Path) -> LocalTarget:
    return LocalTarget(home, service="s")


def rollouts(home: Path) -> Path:
    return home / "serving" / "s" / "rollouts"


def ended(folder: Path) -> Journal:
    journal = begun(folder)
    journal.go("rollback", reason="Enough.")
    journal.go("done", reason="Back.")
    return journal


def test_rollouts_are_listed_oldest_first(tmp_path: Path) -> None:
    for name in ("z", "a"):
        begun(rollouts(tmp_path) / name)
    assert [journal.name for journal in history(a_place(tmp_path))] == ["z", "a"]
    last = newest(a_place(tmp_path))
    assert last is not None
    assert last.name == "a"


def test_what_has_ended_is_known_without_its_journal(tmp_path: Path) -> None:
    ended(rollouts(tmp_path) / "old")
    begun(rollouts(tmp_path) / "new")
    # Reading it would fail.
    (rollouts(tmp_path) / "old" / "journal.jsonl").write_text("damaged\n")
    assert [journal.name for journal in unfinished(a_place(tmp_path).stores())] == ["new"]


def test_the_oldest_that_have_ended_are_pruned(tmp_path: Path) -> None:
    names = ["e", "d", "c", "b"]
    for name in names:
        ended(rollouts(tmp_path) / name)
    begun(rollouts(tmp_path) / "a")
    # One whose mark was not taken, as by a disk that was full.
    (rollouts(tmp_path) / "c" / "outcome").unlink()
    for _ in range(2):
        place = a_place(tmp_path)
        with place.router.exclusive():
            prune(place, keep=2)
        assert [journal.name for journal in history(place)] == ["c", "b", "a"]
    assert sorted(path.name for path in rollouts(tmp_path).iterdir()) == ["a", "b", "c"]


def test_what_was_captured_goes_with_the_last_rollout_of_a_version(tmp_path: Path) -> None:
    service = tmp_path / "serving" / "s"
    for number in (1, 2, 3):
        ended(rollouts(tmp_path) / f"{number}-abc")
        (service / "captures" / f"version-{number}").mkdir(parents=True)
        (service / f"version-{number}.log").write_text("...")
    (service / "version-1.txt").write_text("not ours")
    place = a_place(tmp_path)
    with place.router.exclusive():
        prune(place, keep=2)
    assert sorted(path.name for path in (service / "captures").iterdir()) == [
        "version-2",
        "version-3",
    ]
    left = {path.name for path in service.glob("version-*")}
    assert left == {"version-2.log", "version-3.log", "version-1.txt"}


class Small(FolderStore):
    """A store that is crowded from the first look on."""

    crowded = property(lambda _: True)


def test_a_crowded_journal_is_shortened_and_counts_the_same(tmp_path: Path) -> None:
    journal = Journal(Small(tmp_path / "r"))
    journal.begin(planned(), reason="Approved.")
    journal.go("step", reason="Ready.", weight=10)
    for _ in range(600):
        journal.saw(interval())
    journal.go("step", reason="Passed.", step=1, weight=50)
    journal.saw(interval(step=1, weight=50))

    read = Journal(FolderStore(tmp_path / "r")).rollout
    assert len(read.intervals) < 200
    assert read.intervals == journal.rollout.intervals
    assert [t.phase for t in read.transitions] == ["deploy", "step", "step"]
    assert sum(i.candidate.requests for i in read.of_step("step", 0)) == 6000
    assert sum(i.seconds for i in read.of_step("step", 0)) == pytest.approx(600)


def test_a_rollout_begins_with_one_line(tmp_path: Path) -> None:
    begun(tmp_path / "r")
    path = tmp_path / "r" / "journal.jsonl"
    assert len(path.read_bytes().splitlines()) == 1
    assert path.stat().st_mode & 0o077 == 0


def test_a_plan_without_a_transition_has_not_begun(tmp_path: Path) -> None:
    """As an earlier release left it that was killed between the two."""
    folder = tmp_path / "r"
    folder.mkdir()
    line = json.dumps({"rollout": planned().payload()})
    (folder / "journal.jsonl").write_text(line + "\n")
    journal = Journal(FolderStore(folder))
    assert not journal.exists
    journal.begin(planned(), reason="Approved.")
    assert Journal(FolderStore(folder)).rollout.last.phase == "deploy"


def test_a_journal_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    first = {
        "sequence": 0,
        "time": "2026-11-01T00:00:00Z",
        "phase": "deploy",
        "reason": "Approved.",
    }
    lines = [{"rollout": planned().payload()}, {"transition": first}]
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    journal = Journal(FolderStore(folder))
    assert journal.rollout.last.phase == "deploy"
    assert journal.order is None


def test_a_kill_between_two_lines_loses_neither(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from penstock.rollout.journal import Journal, unfinished
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
    assert journal.abort_requested is None
    journal.approve(0, by="ada")
    journal.request_abort("enough")
    again = Journal(FolderStore(tmp_path / "r"))
    assert again.approval_of(0) == "ada"
    assert again.approval_of(1) is None
    assert again.abort_requested == "enough"


def test_rollouts_are_listed_in_order_and_forgotten_whole(tmp_path: Path) -> None:
    for name in ("9-a", "2-b", "3-c"):
        store = FolderStore(tmp_path / name)
        store.append(b"{}\n")
        store.leave("abort", "a note")
        store.append(b"{}\n")
    FolderStore(tmp_path / "2-b").end("promoted")
    found = FolderStore.all_below(tmp_path)
    assert [(one.name, one.number, one.ended) for one in found] == [
        ("9-a", 1, False),
        ("2-b", 2, True),
        ("3-c", 3, False),
    ]
    found[1].forget()
    assert [one.name for one in FolderStore.all_below(tmp_path)] == ["9-a", "3-c"]
    assert not (tmp_path / "2-b").exists()


def test_a_journal_is_rewritten_whole_and_goes_on(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "2-b")
    for _ in range(5):
        store.append(b"a long line\n")
    store.rewrite([b"one\n", b"two\n"])
    assert not store.crowded
    store.append(b"three\n")
    assert (
        store.lines() == FolderStore(tmp_path / "2-b").lines() == [b"one\n", b"two\n", b"three\n"]
    )
    assert [path.name for path in (tmp_path / "2-b").iterdir() if path.suffix == ".part"] == []
