"""Rows since a change with their labels, and their two halves; real captures."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from watched_shop import Shop

from penstock.monitoring.intervention import half_of
from penstock.monitoring.labelled import rows_since


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
    assert {half_of(name) for name in choice.rows["request_id"].to_pylist()} == {"choice"}
    # Whose answers they are not cannot be compared with its scores.
    assert found.to_choose(2).labels == []
