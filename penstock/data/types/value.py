"""What one value means in a column, whether a file, a request or MLflow's frame holds it.

`value_of` says it for a single value. `penstock.data.types.columns` and `texts` do the same for
whole columns: of frames and requests, and of the texts of a file. They agree on every value, so
that a file and a client that send the same get the same number, to the bit.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.data.types.numbers import CODE, INTEGER, example_of, is_number, plain_number
from penstock.data.types.times import parse_time
from penstock.records.dataset import Column, ColumnType, Reading, TextFormat

SPACES = " \t"
"""What `strip` removes around a text."""

BOOLEANS = {
    text: value
    for value, words in ((True, "true t yes y 1"), (False, "false f no n 0"))
    for word in words.split()
    for text in (word, word.upper(), word.capitalize())
}
"""What a text of a boolean column may be."""

WRITTEN_OUT = {text: value for text, value in BOOLEANS.items() if text.lower() in ("true", "false")}
"""What a text is from which a column is inferred to be boolean."""

EXPECTED: dict[ColumnType, str] = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "datetime": 'a time in ISO 8601, such as "2026-01-31T12:00:00Z"',
}

_LIMIT = 2**63


class TypeMismatch(Exception):  # noqa: N818 - no error to show
    """A value does not have the type its column was given."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


@dataclass(frozen=True)
class Rules:
    """What the values of one column may be, and how they are read.

    Attributes:
        name: The column.
        kind: Its storage type.
        texts: The source holds texts, so a text stands for a value of any type.
        missing: Texts that stand for a missing value.
        strip: White space around a text does not count.
        written: How numbers and times are written, if not the plain way.
        declared: The texts were declared to be of this type. Otherwise no text is a value of it
            from which nobody would infer it: no number with a leading zero, which is a code, and no
            boolean but true and false.
    """

    name: str
    kind: ColumnType
    texts: bool = False
    missing: frozenset[str] = frozenset()
    strip: bool = False
    written: TextFormat | None = None
    declared: bool = True

    def clean(self, text: str) -> str | None:
        """Return a text as the source's reader sees it, None where it means a missing value."""
        if self.strip:
            text = text.strip(SPACES)
        return None if text in self.missing else text


def rules_of(columns: Iterable[Column], reading: Reading | None) -> dict[str, Rules]:
    """Return the rules of columns by name.

    Args:
        columns: Names and storage types.
        reading: How the texts of their source were read; None for a source with types of its own,
            where a text is that text and stands for nothing else.
    """
    if reading is None:
        return {column.name: Rules(column.name, column.type) for column in columns}
    written = {one.column: one for one in reading.formats}
    missing = frozenset(reading.na_values)
    return {
        column.name: Rules(
            name=column.name,
            kind=column.type,
            texts=True,
            missing=missing,
            strip=reading.strip,
            written=written.get(column.name),
        )
        for column in columns
    }


def value_of(value: Any, rules: Rules) -> bool | int | float | str | dt.datetime | None:
    """Return what a value means in a column: None where it is missing.

    Args:
        value: None, a Python, numpy or pandas scalar; None, NaN, NaT and pandas' NA are missing.
        rules: The column's.

    Returns:
        integer: an int; number: a finite float; boolean: a bool; string: a str; datetime: an aware
        datetime in UTC, of microseconds; a time without a zone is taken for UTC.

    Raises:
        ValueError: If the value is none that the column takes.

    Example:
        >>> reading = Reading(na_values=("NA",), strip=True)
        >>> rules = rules_of([Column(name="n", type="number")], reading)["n"]
        >>> value_of(" 1.50", rules), value_of("NA", rules), value_of(2, rules)
        (1.5, None, 2.0)
    """
    if is_missing(value):
        return None
    found: bool | int | float | str | dt.datetime | None
    if isinstance(value, str):
        text = rules.clean(value)
        found = None if text is None else _FROM_TEXT[rules.kind](text, rules)
    else:
        found = _FROM_VALUE[rules.kind](_plain(value))
    return found


def expected(rules: Rules) -> str:
    """Return in words what a column takes, for an error about a value that it does not."""
    if rules.written is None:
        return EXPECTED[rules.kind]
    form = rules.written.time or example_of(rules.written)
    return f"{EXPECTED[rules.kind]}, or a text written as {form}"


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return bool(value != value) if isinstance(value, float) or hasattr(value, "dtype") else False


def _plain(value: Any) -> Any:
    """Return a numpy scalar as the Python value that it is."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "M":
        return value.astype("datetime64[us]").item()
    return value.item() if kind else value


def _whole(value: Any) -> int:
    number = _finite(value) if not isinstance(value, int) else value
    if isinstance(value, bool) or not -_LIMIT <= number < _LIMIT or number != math.trunc(number):
        raise ValueError(value)
    return int(number)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | decimal.Decimal):
        raise ValueError(value)
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError(value) from error
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool | int | float | decimal.Decimal) or value not in (0, 1):
        raise ValueError(value)
    return bool(value)


def _no_text(value: Any) -> str:
    raise ValueError(value)


def _time(value: Any) -> dt.datetime:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    if not isinstance(value, dt.datetime):
        raise ValueError(value)
    plain = getattr(value, "to_pydatetime", None)
    moment: dt.datetime = value if plain is None else plain(warn=False)
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def _is_number(text: str, rules: Rules) -> bool:
    if not rules.texts or (not rules.declared and re.match(CODE, text)):
        return False
    return is_number(text, rules.written)


def _number_text(text: str, rules: Rules) -> float | None:
    if rules.texts and not text:
        return None
    if not _is_number(text, rules):
        raise ValueError(text)
    number = float(plain_number(text, rules.written))
    return None if math.isnan(number) else _finite(number)


def _integer_text(text: str, rules: Rules) -> int | None:
    if rules.texts and not text:
        return None
    plain = plain_number(text, rules.written) if _is_number(text, rules) else ""
    if not re.fullmatch(INTEGER, plain):
        raise ValueError(text)
    return _whole(int(plain))


def _boolean_text(text: str, rules: Rules) -> bool | None:
    if rules.texts and not text:
        return None
    known = BOOLEANS if rules.declared else WRITTEN_OUT
    if not rules.texts or text not in known:
        raise ValueError(text)
    return known[text]


def _time_text(text: str, rules: Rules) -> dt.datetime | None:
    if rules.texts and not text:
        return None
    if rules.written is not None and rules.written.time:
        try:
            return parse_time(text, rules.written.time)
        except ValueError:
            # JSON has no times: clients write them in ISO 8601, whatever the file does.
            return parse_time(text)
    return parse_time(text)


_FROM_TEXT: Mapping[ColumnType, Callable[[str, Rules], Any]] = {
    "integer": _integer_text,
    "number": _number_text,
    "boolean": _boolean_text,
    "string": lambda text, _: text,
    "datetime": _time_text,
}
_FROM_VALUE: Mapping[ColumnType, Callable[[Any], Any]] = {
    "integer": _whole,
    "number": _finite,
    "boolean": _boolean,
    "string": _no_text,
    "datetime": _time,
}
