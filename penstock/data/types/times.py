"""How a time is written: ISO 8601, or a format as in strptime."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[ T][0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
_ZONE = r" ?(?:[Zz]|UTC|[+-][0-9]{1,2}(?::?[0-9]{2})?)"
NAIVE = rf"^{_DATE}(?:{_CLOCK})?$"
"""A date, or a time without a zone; up to nine digits of a second."""

ZONED = rf"^{_DATE}{_CLOCK}{_ZONE}$"
"""A time with its distance from UTC."""

TIMEISH = (
    r"^(?:[0-9]{1,4}[/. -](?:[0-9]{1,2}|[A-Za-z]{3,9})[/. -][0-9]{2,4}|"
    r"[A-Za-z]{3,9} [0-9]{1,2},? [0-9]{4})"
)
"""What could be a time in some way of writing."""

_CLOCKED = r"(?: ([0-9]{1,2}):([0-9]{2})(:[0-9]{2})?( ?[AaPp][Mm])?)?"
_NUMERIC = re.compile(
    rf"([0-9]{{1,4}})([/. -])([0-9]{{1,2}}|[A-Za-z]{{3,9}})\2([0-9]{{4}}|[0-9]{{1,2}}){_CLOCKED}"
)
_NAMED = re.compile(rf"([A-Za-z]{{3,9}}) ([0-9]{{1,2}})(,?) ([0-9]{{4}}){_CLOCKED}")
_PARTS = {
    "%d": "(?:0?[1-9]|[12][0-9]|3[01])",
    "%m": "(?:0?[1-9]|1[0-2])",
    "%Y": "[0-9]{4}",
    "%y": "[0-9]{2}",
    "%b": "[A-Za-z]{3}",
    "%B": "[A-Za-z]{3,9}",
    "%H": "[0-9]{1,2}",
    "%I": "[0-9]{1,2}",
    "%M": "[0-9]{2}",
    "%S": "[0-9]{2}",
    "%p": "[AaPp][Mm]",
}

ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[ T]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?)?"
    r"(?: ?([Zz]|UTC|([+-])([01]?[0-9]|2[0-3])(?::?([0-5][0-9]))?))?)?"
)
"""A time: year to second, digits of a second, and the zone: itself, its sign, hours, minutes."""

_PLAIN_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-][0-9]{2}:[0-5][0-9])?)?"
)
"""The times of ISO 8601 that Python reads as we do, and twice as fast."""

_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999 in microseconds since 1970."""


def is_form(text: str) -> bool:
    """Whether a setting is a form of times, as in strptime."""
    return "%" in text and re.search("[0-9]", text) is None


def forms_of(text: str) -> dict[str, str]:
    """Return the forms in which a time could be written, and the pattern of each.

    With points between its parts the day comes first, as where points are used; otherwise the
    month may.

    Example:
        >>> list(forms_of("05/06/2026 14:30"))
        ['%d/%m/%Y %H:%M', '%m/%d/%Y %H:%M']
    """
    found = _NUMERIC.fullmatch(text)
    if found is None:
        found = _NAMED.fullmatch(text)
        if found is None:
            return {}
        month = "%b" if len(found[1]) == 3 else "%B"
        orders = [f"{month} %d{found[3]} %Y"]
    else:
        first, mark, middle, last = found.groups()[:4]
        if len(first) < 4 and len(last) == 1:
            return {}
        month = "%m" if middle.isdigit() else "%b" if len(middle) == 3 else "%B"
        year = "%Y" if len(last) == 4 else "%y"
        parts = [("%d", month, year)]
        if len(first) == 4:
            parts = [("%Y", month, "%d")]
        elif mark != "." and middle.isdigit():
            parts.append(("%m", "%d", year))
        orders = [mark.join(three) for three in parts]
    hour, _, seconds, half = found.groups()[4:]
    clock = ""
    if hour is not None:
        clock = f" {'%I' if half else '%H'}:%M{':%S' if seconds else ''}"
        clock += f"{' ' if half.startswith(' ') else ''}%p" if half else ""
    return {order + clock: _pattern_of(order + clock) for order in orders}


def _pattern_of(form: str) -> str:
    parts = re.split("(%[A-Za-z])", form)
    return "^" + "".join(_PARTS.get(part, re.escape(part)) for part in parts) + "$"


def parse_time(text: str, form: str = "") -> dt.datetime:
    """Return a time in UTC; one without a zone is taken for UTC.

    Args:
        text: The time.
        form: How it is written, as in strptime; empty: ISO 8601, digits beyond the microsecond are
            cut off.

    Raises:
        ValueError: If it is not so written, or no time of the calendar.

    Example:
        >>> parse_time("2026-01-31 12:00:00.1234567+5").isoformat()
        '2026-01-31T07:00:00.123456+00:00'
    """
    if form:
        moment = dt.datetime.strptime(text, form)
        return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    if _PLAIN_ISO.fullmatch(text):
        moment = dt.datetime.fromisoformat(text)
        return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    found = ISO.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r:.80} is not a time in ISO 8601")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    micros = int((found[7] or "")[:6].ljust(6, "0"))
    moment = dt.datetime(year, month, day, hour, minute, second, micros, dt.UTC)
    if found[9] is None:
        return moment
    away = dt.timedelta(hours=int(found[10]), minutes=int(found[11] or 0))
    return moment - away if found[9] == "+" else moment + away


def parse_times(texts: pa.Array, form: str = "") -> pa.Array:
    """Return times, null where missing, as timestamps of microseconds in UTC.

    Raises:
        ValueError: If one is not so written, or no time of the calendar.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    target_type = pa.timestamp("us", "UTC")
    if form:
        encoded = texts.dictionary_encode()
        found = [parse_time(text, form) for text in encoded.dictionary.to_pylist()]
        return pa.array(found, target_type).take(encoded.indices)
    try:
        # Arrow's own cast takes no other form than these, and most tables hold nothing else.
        return of_the_calendar(pc.cast(texts, pa.timestamp("us")).cast(target_type))
    except pa.ArrowInvalid:
        return of_the_calendar(_parse_iso(texts))


def _parse_iso(texts: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    target_type = pa.timestamp("us", "UTC")
    zoned = pc.match_substring_regex(texts, pattern=ZONED)
    if pc.any(zoned).as_py():
        nothing = pa.scalar(None, pa.string())
        away = pc.cast(_canonical(pc.if_else(zoned, texts, nothing)), target_type)
        return pc.coalesce(away, _naive(pc.if_else(zoned, nothing, texts)))
    return _naive(texts)


def of_the_calendar(times: pa.Array) -> pa.Array:
    """Return timestamps of microseconds as they are.

    Raises:
        ValueError: If one is not of the years 1 to 9999, the only ones that a `datetime` holds;
            Arrow goes on to both sides.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    ends = pc.min_max(times.cast(pa.int64())).as_py()
    if ends["min"] is not None and not (ends["min"] >= _FIRST and ends["max"] <= _LAST):
        raise ValueError("a time before the year 1 or after the year 9999")
    return times


def _naive(texts: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pc.all(pc.match_substring_regex(texts, pattern=NAIVE)).as_py() is False:
        raise ValueError("a text is not a time in ISO 8601")
    return pc.cast(_canonical(texts), pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))


def _canonical(texts: pa.Array) -> pa.Array:
    """Return ISO 8601 as Arrow's cast takes it: six digits of a second, +HH:MM."""
    import pyarrow.compute as pc

    texts = pc.replace_substring_regex(texts, r"(\.[0-9]{6})[0-9]{1,3}", r"\1")
    texts = pc.replace_substring_regex(texts, r" ?(?:[zZ]|UTC)$", "Z")
    texts = pc.replace_substring_regex(texts, r"([ T][0-9]{2})($|Z$| ?[+-])", r"\1:00\2")
    texts = pc.replace_substring_regex(
        texts, r"(:[0-9.]+) ?([+-])([0-9])(:?[0-9]{2})?$", r"\1\20\3\4"
    )
    return pc.replace_substring_regex(texts, r"(:[0-9.]+) ?([+-][0-9]{2}):?([0-9]{2})?$", r"\1\2\3")
