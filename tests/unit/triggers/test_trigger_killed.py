"""Killed at any write: no event is lost, and none starts two releases."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from killing import Fault, endings
from trigger_parts import HERE, Shop, with_path

from penstock.triggers import child


class _Counted(sqlite3.Connection):
    """Lets what kills see each commit, before it and after it."""

    path = ""

    def execute(self, statement: str, *given: Any) -> sqlite3.Cursor:
        if statement != "COMMIT":
            return super().execute(statement, *given)
        sys.audit("os.truncate", f"{self.path}.before", 0)
        done = super().execute(statement)
        sys.audit("os.truncate", f"{self.path}.after", 0)
        return done


def _count_commits() -> None:
    """In the process that is to be killed."""
    connect = sqlite3.connect

    def counted(path: Any, **options: Any) -> Any:
        made = connect(path, factory=_Counted, **options)
        made.path = str(path)
        return made

    sqlite3.connect = counted  # type: ignore[assignment]


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new home for each life."""
    with_path(monkeypatch)
    monkeypatch.syspath_prepend(str(HERE))
    return (tmp_path / str(number) for number in range(1000))


def _live(home: Path) -> None:
    """What comes in, sent again until it is taken, and what follows."""
    shop = Shop(home)
    with contextlib.closing(shop.store):
        shop.send(1, 2)
        shop.settle()
        shop.send(2, 3)
        shop.settle()
        shop.trigger.step()


def _check(home: Path, *, released: bool = True) -> None:
    shop = Shop(home)
    events = shop.store.database.rows("SELECT id, release FROM events ORDER BY id")
    assert [identity for identity, _ in events] == ["1", "2", "3"]
    releases = {release.number: release for release in shop.store.recent(most=99)}
    assert {release for _, release in events} == set(releases)
    assert max(Counter(shop.begun).values()) == 1, shop.begun
    for release in releases.values():
        assert release.outcome == "released" or not released, release
        assert sum(number == release.number for _, number in events) == release.events
        assert f"{release.number}" in shop.begun
        # A message that was cut short comes again; none is missing.
        assert shop.notified.count(f'"state":"{release.outcome}"') >= 1
    shop.store.close()


@pytest.mark.parametrize("every", [23, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_a_trigger_that_is_killed_loses_nothing_and_begins_nothing_twice(
    homes: Iterator[Path], tmp_path: Path, every: int
) -> None:
    home = next(homes)

    def life() -> None:
        _count_commits()
        _live(home)

    seen: set[str] = set()
    for ending in endings(life, Fault.KILL, every=every, below=[tmp_path]):
        assert not ending.error, ending.trace
        seen |= {
            effect.partition(str(home))[2].partition("/trigger/shop/")[2]
            for effect in ending.effects
        }
        _live(home)
        _check(home)
        home = next(homes)
    assert {"trigger.db.before", "trigger.db.after"} <= seen, seen


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_a_release_that_is_killed_is_begun_once_or_starts_over(
    homes: Iterator[Path], tmp_path: Path, every: int
) -> None:
    home = next(homes)

    def prepare() -> None:
        shop = Shop(home)
        shop.send(1, 2, 3)
        shop.store.begin(now=1)
        shop.folder.releases.mkdir()
        shop.store.close()

    def life() -> None:
        _count_commits()
        summary = home / "trigger" / "shop" / "releases" / "000001.json"
        store = str(home / "trigger" / "shop" / "trigger.db")
        child.main([store, "1", str(summary), "fake_release", str(home), "1", str(summary)])

    ends = set()
    prepare()
    for ending in endings(life, Fault.KILL, every=every, below=[tmp_path]):
        assert not ending.error, ending.trace
        shop = Shop(home)
        shop.settle()
        shop.trigger.step()
        shop.store.close()
        reopened = Shop(home)
        ends.add((reopened.store.release(1).outcome, len(reopened.begun)))
        reopened.store.close()
        home = next(homes)
        prepare()
    # Not begun; begun and not noted; begun, and noted by itself or from its summary.
    assert ends <= {("released", 1), ("failed", 0), ("failed", 1)}
    assert ("released", 1) in ends
    assert ends & {("failed", 0), ("failed", 1)}
