"""Durations, timestamps and cron expressions, as people write them and as Kubeflow expects them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from penstock.common.durations import seconds_of
from penstock.errors import UsageError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_PART = re.compile(r"^(?:(\*|\?)|(\w+)(?:-(\w+))?)(?:/(\d+))?$")


def duration(text: str) -> int:
    """Return the seconds of a duration such as `90s`, `30m`, `12h`, `7d` or `1h30m`.

    Raises:
        UsageError: If it is not one, or is nothing.
    """
    try:
        return seconds_of(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def timestamp(text: str) -> datetime:
    """Return a timestamp such as `2026-12-01` or `2026-12-01T06:00:00+01:00`; without zone, UTC.

    Raises:
        UsageError: If it is not one.
    """
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a valid timestamp", remedy="Write 2026-12-01 or 2026-12-01T06:00:00Z."
        ) from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def cron(text: str) -> str:
    """Return a cron expression with the six fields that Kubeflow reads, seconds first.

    Five fields, as crontab has them, get second 0. Kubeflow itself would read them as second to
    month, and run the pipeline at quite another time.

    Args:
        text: Five or six fields of numbers, names, ranges, lists and steps; Sunday is 0.

    Raises:
        UsageError: If it has another number of fields, or one is out of its range.
    """
    fields = text.split()
    if len(fields) == len(_FIELDS) - 1:
        fields = ["0", *fields]
    if len(fields) != len(_FIELDS):
        raise UsageError(
            f"{text!r} has {len(fields)} fields",
            where="--cron",
            remedy="Write five (minute hour day month weekday) or six with the second first.",
        )
    for field, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        if not all(_fits(part, low, high, names) for part in field.split(",")):
            advice = " Sunday is 0." if name == "day of week" else ""
            raise UsageError(
                f"{field!r} does not fit the {name}",
                where="--cron",
                remedy=f"It goes from {low} to {high}, with - for ranges and / for steps.{advice}",
            )
    return " ".join(fields)


def _fits(part: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    matched = _PART.match(part)
    if not matched or matched[4] == "0":
        return False
    if matched[1]:
        return True
    ends = [_number(text, low, names) for text in (matched[2], matched[3]) if text]
    return all(low <= end <= high for end in ends) and ends == sorted(ends)


def _number(text: str, low: int, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    return int(text) if text.isdigit() else -1
