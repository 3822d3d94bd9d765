"""Rows since a change with their labels, and their two halves; real captures."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from watched_shop import Shop

from penstock.captures.reader import read_window
from penstock.monitoring.interventions.intervention import half_of
from penstock.monitoring.interventions.labelled import rows_since


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_rows_since_a_change_in_two_halves(shop: Shop) -> None:
    shop.serve(400, labels=True)
    shop.look()
    change = shop.state.time
    shop.serve(600, labels=True)
    shop.serve(300)
    source = shop.captures
    every = rows_since(source, change - timedelta(days=30))
    assert (len(every.labels), every.labelled) == (1300, 1000)
    found = rows_since(source, change)
    assert (len(found.labels), found.labelled) == (900, 600)
    choice = found.to_choose(1)
    assert choice.labelled + found.gate == found.labelled
    assert 0 < found.gate < found.labelled
    rarest = found.rarest(("no", "yes"))
    assert rarest is not None
    assert 0 < rarest <= found.gate / 2
    assert found.rarest(("no", "yes", "perhaps")) == 0
    assert found.rarest(()) is found.rarest(("other",)) is None
    assert {half_of(name) for name in choice.rows["request_id"].to_pylist()} == {"choice"}
    # Whose answers they are not cannot be compared with its scores.
    assert found.to_choose(2).labels == []


def test_a_label_is_of_the_first_answer_to_an_id(shop: Shop) -> None:
    for _ in range(2):
        shop.serve(50, labels=True)
        # The same ids come again.
        shop.count = 0
        shop.hours += 1
    found = rows_since(shop.captures, shop.monitor.now() - timedelta(days=1))
    assert (len(found.labels), found.labelled) == (100, 50)
    assert None not in found.labels[:50]


def test_rows_before_the_change_take_no_memory(shop: Shop) -> None:
    for _ in range(6):
        shop.serve(3000)
        shop.hours += 1
    change = shop.monitor.now()
    shop.serve(500)

    def peak(read: Callable[[], object]) -> int:
        tracemalloc.start()
        read()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    every = read_window(shop.captures, after=None)
    since = read_window(shop.captures, after=None, since=change)
    assert (every.rows, since.rows, since.lost) == (18_500, 500, 0)
    assert since.cursor == every.cursor
    whole = peak(lambda: read_window(shop.captures, after=None))
    assert peak(lambda: rows_since(shop.captures, change)) < whole / 2
