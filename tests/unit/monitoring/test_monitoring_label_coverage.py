"""Labels that have come, and those that should have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from penstock.monitoring.label_coverage import label_coverage

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def coverage(days: list[float], labelled: list[bool]):
    now = np.datetime64(NOW.replace(tzinfo=None), "us")
    times = now - (np.array(days) * 86_400e6).astype("timedelta64[us]")
    return label_coverage(times, np.array(labelled, dtype=bool), now=NOW, delay=timedelta(days=2))


def test_only_old_rows_are_due() -> None:
    found = coverage([5, 3, 2, 1, 0], [True, False, False, True, False])
    assert (found.rows, found.labelled, found.due, found.overdue) == (5, 2, 3, 2)
    assert found.share == 1 / 3
    assert found.sentence == ("2 of 5 rows have a label; 2 of 3 that should have one do not.")


def test_a_row_of_the_future_is_not_due() -> None:
    assert coverage([-10], [False]).due == 0


def test_without_rows_nothing_is_missing() -> None:
    found = coverage([], [])
    assert (found.share, found.sentence) == (1.0, "No row was answered.")
