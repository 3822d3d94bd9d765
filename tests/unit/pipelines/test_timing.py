"""Durations, timestamps and cron expressions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from penstock.errors import UsageError
from penstock.pipelines.timing import cron, duration, timestamp


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("7d", 604800)]
)
def test_a_duration_is_seconds(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "1.5h", "-1h", "1h ", "0s", "h", "1w"])
def test_another_text_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        duration(text)


def test_a_timestamp_without_zone_is_utc() -> None:
    assert timestamp("2026-12-01") == datetime(2026, 12, 1, tzinfo=UTC)
    assert timestamp("2026-12-01T06:00:00+02:00").utcoffset() == timedelta(hours=2)
    with pytest.raises(UsageError):
        timestamp("1.12.2026")


@pytest.mark.parametrize(
    ("text", "six"),
    [
        ("0 2 * * *", "0 0 2 * * *"),
        ("*/15 8-18 * * 1-5", "0 */15 8-18 * * 1-5"),
        ("30 0 0 2 * ?", "30 0 0 2 * ?"),
        ("0  0 1,15 JAN-MAR Mon", "0 0 0 1,15 JAN-MAR Mon"),
        ("5/10 0 * * 0", "0 5/10 0 * * 0"),
    ],
)
def test_five_fields_become_six(text: str, six: str) -> None:
    assert cron(text) == six


@pytest.mark.parametrize(
    "text",
    ["", "@daily", "* * * *", "60 * * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "*/0 * * * *",
     "5-1 * * * *", "a * * * *", "1,,2 * * * *", "-1 * * * *", "* * * mon *", "0 0 2 * * * *"],
)  # fmt: skip
def test_what_kubeflow_would_refuse_or_read_otherwise_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        cron(text)
