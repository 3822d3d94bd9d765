"""Releases of a trigger, as real processes: one at a time, each once, whatever is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from running_process import until
from trigger_parts import Shop, with_path

from penstock.errors import ServiceError
from penstock.pipelines import trigger_status
from penstock.processes.identity import is_alive, this
from penstock.triggers.events import Event
from penstock.triggers.process import run
from penstock.triggers.spec import TriggerSpec


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    with_path(monkeypatch)
    return Shop(tmp_path)


def _goes_on(shop: Shop) -> bool:
    release = shop.store.open_release()
    return release is not None and release.process is not None and bool(shop.begun)


def test_a_release_begins_once_it_is_quiet_and_is_noted_with_its_exit_code(shop: Shop) -> None:
    now = time.time()
    shop.store.take([Event("/shop", "1", "sold")], now=now)
    assert shop.trigger.releases.step(now=now + 0.9) is None
    assert shop.trigger.releases.step(now=now + 1.1) is not None
    shop.settle()
    (release,) = shop.store.recent(most=9)
    assert (release.outcome, release.exit_code) == ("released", 0)
    assert (release.reason, release.link) == ("It was released.", "file:///page")
    assert json.loads(shop.notified)["text"] == (
        "shop: released. It was released. Started by 1 event: sold (1). Page: file:///page"
    )
    shop.trigger.step()
    assert shop.notified.count("\n") == 1
    assert 'penstock_trigger_releases_total{outcome="released",service="shop"} 1.0' in (
        shop.folder.metrics.read_text()
    )


def test_a_stream_of_events_that_does_not_end_is_not_waited_for(shop: Shop) -> None:
    now = time.time()
    for number in range(4):
        assert shop.trigger.releases.step(now=now + number * 0.9) is None
        shop.store.take([Event("/shop", str(number), "sold")], now=now + number * 0.9)
    assert shop.trigger.releases.step(now=now + 3.1) is not None
    shop.settle()


def test_a_clock_that_is_set_back_keeps_nothing_waiting(shop: Shop) -> None:
    shop.store.take([Event("/shop", "1", "sold")], now=time.time() + 86_400)
    shop.settle()
    assert shop.begun == ["1"]


def test_events_during_a_release_start_one_more_after_it(shop: Shop) -> None:
    (shop.home / "hold").touch()
    shop.send(1)
    shop.step_until(lambda: _goes_on(shop))
    for number in (2, 3, 1):
        shop.send(number)
        shop.trigger.step()
    assert shop.begun == ["1"]
    (shop.home / "hold").unlink()
    shop.settle()
    assert shop.begun == ["1", "2"]
    assert [one.events for one in shop.store.recent(most=9)] == [2, 1]


def test_three_refusals_in_a_row_stop_until_a_person_has_looked(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop.home / "outcome").write_text("refused")
    for number in range(3):
        shop.send(number)
        shop.settle()
    shop.send("more")
    for _ in range(3):
        shop.trigger.step()
    assert shop.begun == ["1", "2", "3"]
    lines = [json.loads(line) for line in shop.notified.splitlines()]
    assert [line["state"] for line in lines] == ["refused"] * 3 + ["waiting"]
    assert "3 releases in a row were refused" in lines[-1]["text"]
    trigger_status.status(shop.folder, service="shop")
    shown = capsys.readouterr().out
    assert "1 event waits, the first since" in shown
    assert "Stopped: 3 releases in a row were refused or rolled back, so none is started" in shown
    assert re.search(r"^Release 3 .* refused, exit code 3, for 1 event: sold \(1\)", shown, re.M)
    # Neither a new start of the trigger nor a new event changes that.
    shop.start()
    shop.send("and more")
    shop.trigger.step()
    assert shop.begun == ["1", "2", "3"]
    assert shop.notified.count("waiting") == 1
    (shop.home / "outcome").write_text("released")
    trigger_status.resume(shop.folder, service="shop")
    assert capsys.readouterr().out == "Releases of shop start again; 2 events wait.\n"
    shop.settle()
    assert shop.begun == ["1", "2", "3", "4"]
    assert shop.store.recent(most=1)[0].events == 2


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("crash", "It ended with exit code 1. Its log ends: RuntimeError: out of luck"),
        ("failed", "It was failed."),
    ],
)
def test_a_run_that_fails_is_noted_and_the_next_one_begins(
    shop: Shop, outcome: str, reason: str
) -> None:
    (shop.home / "outcome").write_text(outcome)
    shop.send(1)
    shop.settle()
    shop.trigger.step()
    (release,) = shop.store.recent(most=9)
    assert (release.outcome, release.exit_code, release.reason) == ("failed", 1, reason)
    assert "not released, the run failed" in shop.notified
    (shop.home / "outcome").write_text("released")
    shop.send(2)
    shop.settle()
    assert shop.store.recent(most=1)[0].outcome == "released"


def test_what_cannot_be_started_is_noted_with_what_was_printed(shop: Shop) -> None:
    shop.module = "no_such_module"
    shop.send(1)
    shop.settle()
    release = shop.store.release(1)
    assert (release.outcome, release.exit_code) == ("failed", 1)
    assert "No module named no_such_module" in release.reason


def test_a_release_goes_on_while_the_trigger_is_away(shop: Shop) -> None:
    (shop.home / "hold").touch()
    shop.send(1)
    shop.step_until(lambda: _goes_on(shop))
    shop.start()
    shop.send(2)
    shop.trigger.step()
    (shop.home / "hold").unlink()
    # It notes its own end.
    until(lambda: shop.store.open_release() is None)
    assert shop.store.release(1).exit_code == 0
    shop.settle()
    assert shop.begun == ["1", "2"]


def test_a_release_whose_process_was_killed_is_not_begun_again(shop: Shop) -> None:
    (shop.home / "hold").touch()
    shop.send(1)
    shop.step_until(lambda: _goes_on(shop))
    release = shop.store.release(1)
    assert release.process is not None
    os.kill(release.process.pid, signal.SIGKILL)
    shop.start()
    shop.settle()
    shop.send(1)
    shop.trigger.step()
    assert shop.begun == ["1"]
    ended = shop.store.release(1)
    assert (ended.outcome, ended.exit_code) == ("failed", None)
    assert ended.reason.startswith("Its process was ended before it was through")
    assert "begin one with: penstock run" in shop.notified


def test_one_that_was_killed_after_its_run_had_ended_is_noted_as_it_ended(shop: Shop) -> None:
    shop.send(1)
    release = shop.store.begin(now=time.time())
    assert release is not None
    shop.store.claim(1, this().model_copy(update={"ticks": 1}))
    shop.folder.releases.mkdir(parents=True)
    summary = {"outcome": "rolled_back", "reason": "Too slow.", "link": ""}
    (shop.folder.releases / "000001.json").write_text(json.dumps(summary))
    shop.settle()
    assert (shop.store.release(1).outcome, shop.store.release(1).reason) == (
        "rolled_back", "Too slow.",
    )  # fmt: skip
    assert shop.begun == []


def test_one_that_can_be_gone_on_with_is_after_a_kill(shop: Shop) -> None:
    shop.resumable = True
    (shop.home / "hold").touch()
    shop.send(1)
    for attempt in (1, 2):
        shop.step_until(lambda: len(shop.begun) == attempt)  # noqa: B023
        release = shop.store.release(1)
        assert release.process is not None
        os.kill(release.process.pid, signal.SIGKILL)
        until(lambda: not is_alive(release.process))  # noqa: B023
    (shop.home / "hold").unlink()
    shop.settle()
    assert shop.begun == ["1", "1", "1"]
    assert shop.store.release(1).outcome == "released"
    assert shop.store.release(1).attempts == 3


def test_what_nobody_expected_ends_the_trigger_and_says_so(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    steps = iter([ServiceError("the disk is full"), ServiceError("the disk is full"), OSError("x")])

    def step() -> list[str]:
        raise next(steps)

    monkeypatch.setattr(shop.trigger, "step", step)
    assert not run(shop.trigger, TriggerSpec(), token="", listener=None, say=said.append)
    assert said == ["penstock: the disk is full."]
    assert "OSError: x" in capfd.readouterr().err


def test_old_logs_are_deleted_and_those_of_another_store_left(shop: Shop) -> None:
    shop.folder.releases.mkdir(parents=True)
    for number in (1, 2, 3, 900):
        shop.trigger.releases.log(number).touch()
    shop.trigger.releases.prune(2)
    assert sorted(path.name for path in shop.folder.releases.iterdir()) == [
        "000003.log", "000900.log",
    ]  # fmt: skip


def test_what_a_run_leaves_must_fit_its_exit_code(shop: Shop, tmp_path: Path) -> None:
    module = tmp_path / "modules" / "liar.py"
    module.parent.mkdir()
    source = "import sys, pathlib\npathlib.Path(sys.argv[3]).write_text('{}')\nsys.exit({})\n"
    module.write_text(source.replace("{}", '{"outcome": "released"}', 1).replace("{}", "7"))
    os.environ["PYTHONPATH"] += os.pathsep + str(module.parent)
    shop.module = "liar"
    shop.send(1)
    shop.settle()
    release = shop.store.release(1)
    assert (release.outcome, release.exit_code) == ("failed", 7)
    assert release.reason.startswith("Its exit code 7 does not fit its outcome, released")
