"""How a column of texts is to be read, from counts of what its values could be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.data.number_text import example_format
from penstock.data.spec import NA_VALUES, SourceSpec
from penstock.data.tally import COMMA, GROUPED, KEPT, MOST, PLAIN, POINT_GROUPED, Tally, Way
from penstock.data.texts import Plan
from penstock.data.time_text import is_form
from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Assumption, ColumnType, TextFormat

OVERWHELMING = 0.9
"""Share of numbers from which the rest of a column is taken for mistakes, not for text."""

_DASHES = ("-", "--", "---", "\u2013", "\u2014", ".", "..", "*", "x")
MARKERS = frozenset((*_DASHES, "n.a.", "N.A.", "n.a", "na", "n/d", "N/D", "nd", "missing"))
"""Texts that are written for a missing number, and are no default of `na_values`."""

_PROPOSED = 3
"""Different texts among numbers up to which `init` proposes them as missing values."""


def decimal_marks(tallies: Iterable[Tally]) -> frozenset[str]:
    """Return the decimal marks that columns of a file have for certain."""
    marks = set()
    for tally in tallies:
        full = tally.full()
        if tally.numbers == tally.total > tally.integers + tally.pointed:
            marks.add(".")
        elif (
            full
            and PLAIN not in full
            and len({decimal for decimal, _ in full}) == 1
            and tally.whole[full[0]] < tally.total
        ):
            marks.add(full[0][0])
    return frozenset(marks)


def plan_of(
    name: str,
    tally: Tally,
    *,
    source: SourceSpec,
    marks: frozenset[str],
    delimiter: str,
    where: str,
) -> tuple[Plan, list[Assumption]]:
    """Return how to read a column, and what of it is assumed.

    Args:
        name: The column.
        tally: What its values could be.
        source: The settings.
        marks: The decimal marks of the file's columns, where they are certain.
        delimiter: The file's.
        where: The file, for errors.

    Raises:
        InputError: If two readings are possible that give different values.
    """
    declared = source.types.get(name)
    if name in source.formats:
        return _by_format(name, source.formats[name], declared, where=where), []
    if declared == "string":
        return Plan("string", declared=True), []
    if declared == "boolean":
        return Plan("boolean", declared=True), []
    iso = tally.naive + tally.zoned == tally.total
    if declared == "datetime" or (declared is None and tally.times and not iso):
        found = _time_plan(name, tally, declared=declared is not None, where=where)
        if found is not None:
            return found
    if declared is not None and declared != "datetime":
        way, notes = _way(name, tally, source, marks, delimiter, where)
        return Plan(declared, _written(name, way or PLAIN, tally), declared=True), notes
    return _inferred(name, tally, source, marks, delimiter, where)


def _inferred(
    name: str,
    tally: Tally,
    source: SourceSpec,
    marks: frozenset[str],
    delimiter: str,
    where: str,
) -> tuple[Plan, list[Assumption]]:
    """Return the narrowest type for all values."""
    if not tally.total:
        return Plan(None), []
    way, notes = _way(name, tally, source, marks, delimiter, where)
    if way is not None:
        # As floats, long identifiers would become equal to one another.
        if way == PLAIN and not tally.affix and tally.integers == tally.total and tally.too_large:
            return Plan("string"), []
        whole = tally.whole[way] == tally.total
        given = bool(source.decimal or source.thousands)
        kind: ColumnType = "integer" if whole else "number"
        if tally.dates == tally.total:
            notes = [*notes, _could_be_dates(name)]
        return Plan(kind, _written(name, way, tally), given=given), notes
    if tally.booleans == tally.total:
        return Plan("boolean"), []
    if tally.naive + tally.zoned == tally.total:
        return _iso_plan(name, tally)
    return Plan("string"), _about_text(name, tally, source)


def _way(
    name: str,
    tally: Tally,
    source: SourceSpec,
    marks: frozenset[str],
    delimiter: str,
    where: str,
) -> tuple[Way | None, list[Assumption]]:
    """Return how a column's numbers are written, None if they are not all numbers."""
    full = [
        way
        for way in tally.full()
        if source.decimal in ("", way[0])
        and (not source.thousands or way[1] in ("", source.thousands))
    ]
    if source.thousands and len(full) > 1:
        full = [way for way in full if way[1] == source.thousands or way == PLAIN]
    if not full:
        return None, []
    given = bool(source.decimal or source.thousands)
    if PLAIN in full:
        short = tally.integers - tally.long
        doubtful = tally.pointed > 0 and tally.pointed + tally.integers == tally.total
        if given or not doubtful or not (short or "," in marks):
            return PLAIN, _about_way(name, PLAIN, tally)
        if "," in marks or (delimiter != "," and not tally.long):
            raise _ambiguous(name, where, mark=".")
        return PLAIN, [
            _assumed(
                "medium",
                name,
                "every point stands before exactly three digits and was read as the decimal mark",
                "decimal: '.' keeps it, thousands: '.' makes it the thousands separator",
            )
        ]
    if given or len(full) == 1:
        return full[0], [] if given else _about_way(name, full[0], tally)
    if COMMA in full and GROUPED in full:
        if tally.long or ("," in marks and "." not in marks):
            raise _ambiguous(name, where, mark=",")
        return GROUPED, _about_way(name, GROUPED, tally, sure=False)
    if GROUPED in full and POINT_GROUPED in full:
        raise _ambiguous(name, where, mark=",")
    return full[0], _about_way(name, full[0], tally)


def _about_way(name: str, way: Way, tally: Tally, *, sure: bool = True) -> list[Assumption]:
    """Say how numbers were read that are not written the plain way."""
    decimal, thousands = way
    found = []
    if thousands:
        found.append(
            _assumed(
                "medium" if sure else "high",
                name,
                f"{thousands!r}, which always stands before exactly three digits, was read as the "
                f"thousands separator: 2{thousands}137 is 2137",
                f"thousands: {thousands!r} keeps it, decimal: {thousands!r} makes it the decimal "
                "mark",
            )
        )
    if decimal == ",":
        found.append(
            _assumed("medium", name, "the comma was read as the decimal mark", "decimal: '.'")
        )
    if tally.affix:
        found.append(
            _assumed(
                "medium",
                name,
                f"{tally.affix!r} stands with every number and was left out"
                + (": 3.5% is 3.5" if tally.affix == "%" else ""),
                f"types: {{{name}: string}}",
            )
        )
    return found


def _about_text(name: str, tally: Tally, source: SourceSpec) -> list[Assumption]:
    """Say why a column became text that could be something else."""
    if tally.codes and tally.codes + tally.integers == tally.total:
        return [
            _assumed(
                "high" if tally.codes < tally.integers else "medium",
                name,
                f"{tally.codes:,} of {tally.described()} are codes, which begin with a zero or a "
                "plus sign, so the column was read as text",
                f"types: {{{name}: integer}}",
            )
        ]
    found = []
    if tally.like >= MOST * tally.total:
        shown = ", ".join(repr(text)[:40] for text in list(tally.strangers)[:_PROPOSED])
        found.append(
            _assumed(
                "high",
                name,
                f"{tally.like:,} of {tally.described()} look like numbers, but "
                + (f"others do not ({shown})" if shown else "not all are written in one way")
                + ", so the column was read as text",
                f"na_values with the other texts, formats: {{{name}: '1,234.5'}}, or "
                f"types: {{{name}: number}}",
            )
        )
    elif tally.times and max(tally.times.values()) >= MOST * tally.total:
        found.append(
            _assumed(
                "medium",
                name,
                "most values look like times of no one form, so the column was read as text",
                f"formats: {{{name}: '%d/%m/%Y'}}",
            )
        )
    return found + _about_missing(name, tally, source)


def _could_be_dates(name: str) -> Assumption:
    return _assumed(
        "medium",
        name,
        "every whole number could be a date, year first, and was read as a number",
        f"formats: {{{name}: '%Y%m%d'}}",
    )


def _about_missing(name: str, tally: Tally, source: SourceSpec) -> list[Assumption]:
    """Say where a default text for a missing value is a plausible value of its column."""
    if source.na_values != NA_VALUES:
        return []
    words = {text: count for text, count in tally.missing.items() if text.isalpha()}
    if not words:
        return []
    text, count = max(words.items(), key=lambda item: item[1])
    codes = len(text) == 2 and tally.short_codes >= OVERWHELMING * tally.total
    more = ", and the other values are codes of two letters" if codes else ""
    return [
        _assumed(
            "high" if codes else "low",
            name,
            f"{text!r} was read as a missing value in {count:,} rows{more}",
            f"na_values without {text!r}, if it is a value",
        )
    ]


def _iso_plan(name: str, tally: Tally) -> tuple[Plan, list[Assumption]]:
    mixed = tally.naive and tally.zoned
    return Plan("datetime", naive=bool(tally.naive)), [
        _assumed(
            "medium",
            name,
            f"{tally.naive:,} of {tally.described()} have no time zone and were taken for UTC",
            f"types: {{{name}: string}}",
        )
    ] * bool(mixed)


def _time_plan(
    name: str, tally: Tally, *, declared: bool, where: str
) -> tuple[Plan, list[Assumption]] | None:
    full = [form for form, count in tally.times.items() if count == tally.total]
    if not full:
        return _iso_plan(name, tally) if declared else None
    if len(full) > 1:
        raise InputError(
            f"the times can be read as {' or as '.join(full)}: no value tells which",
            where=f"{where}: column {name!r}",
            remedy=f"Say which by formats: {{{name}: '{full[0]}'}}, or types: {{{name}: string}}.",
        )
    written = TextFormat(column=name, time=full[0])
    note = _assumed(
        "medium",
        name,
        f"the times are written as {full[0]} and were taken for UTC",
        f"formats: {{{name}: '{full[0]}'}}, or types: {{{name}: string}}",
    )
    return Plan("datetime", written, declared=declared, naive=True), [note]


def _by_format(name: str, form: str, declared: ColumnType | None, *, where: str) -> Plan:
    if is_form(form):
        if declared not in (None, "datetime"):
            raise _contradiction(name, form, declared, where)
        return Plan("datetime", TextFormat(column=name, time=form), declared=True, naive=True)
    written = example_format(name, form, where=where)
    if declared not in (None, "number", "integer"):
        raise _contradiction(name, form, declared, where)
    return Plan(declared or "number", written, declared=True)


def _contradiction(name: str, form: str, declared: ColumnType | None, where: str) -> InputError:
    return InputError(
        f"formats gives {form!r} and types gives {declared}",
        where=f"{where}: column {name!r}",
        remedy="Remove one of the two.",
    )


def _written(name: str, way: Way, tally: Tally) -> TextFormat | None:
    affix = tally.affix or ""
    if way == PLAIN and not affix:
        return None
    decimal = "," if way[0] == "," else "."
    return TextFormat(column=name, decimal=decimal, thousands=way[1], affix=affix)


def _assumed(risk: Any, name: str, text: str, setting: str) -> Assumption:
    text = f"Column {name!r}: {text}"
    return Assumption(risk=risk, column=name, text=text, setting=setting)


def _ambiguous(name: str, where: str, *, mark: str) -> InputError:
    """Return the error for numbers in which a mark may be either."""
    other = "." if mark == "," else ","
    return InputError(
        f"{mark!r} can be the decimal mark or the thousands separator: it always stands before "
        "exactly three digits",
        where=f"{where}: column {name!r}",
        remedy=f"Set decimal to {mark!r} or to {other!r}; or for this column alone "
        f"formats: {{{name}: '1234{mark}5'}} if it is the decimal mark, "
        f"{{{name}: '1{mark}234{other}5'}} if it separates thousands.",
    )


def misread(name: str, tally: Tally, *, source: SourceSpec) -> tuple[str, tuple[str, ...]] | None:
    """Return a text that hinders a column from being numbers, and what to take as missing.

    None where the column is read as it is. The texts to take as missing are empty where they are
    too many to be proposed.
    """
    if name in source.types or name in source.formats or not tally.total:
        return None
    best = max(max(tally.ways.values(), default=0), tally.integers + tally.codes)
    if best == tally.total or not tally.strangers:
        return None
    named = tuple(tally.strangers) if best + tally.others == tally.total else ()
    signs = named and MARKERS.issuperset(named) and len(named) < KEPT
    if best < (MOST if signs else OVERWHELMING) * tally.total:
        return None
    # A text with a digit may be a number that was mistyped, or written in another way.
    safe = signs or (
        len(named) <= _PROPOSED and not any(char.isdigit() for text in named for char in text)
    )
    return next(iter(tally.strangers)), named if safe else ()


def misread_error(
    name: str, tally: Tally, *, source: SourceSpec, missing: tuple[str, ...], where: str
) -> InputError:
    """Return the error for a column of numbers with a few other values, at the first of those."""
    text = next(iter(tally.strangers))
    what = f"{tally.others:,} of {tally.described()} are not numbers; the first is {text!r:.80}"
    place = f"{where}: column {name!r}"
    remedy = (
        f"If it stands for a missing value, add {text!r:.80} to na_values; if the column is text, "
        f"declare types: {{{name}: string}}."
    )
    if not missing:
        return InputError(what, where=place, remedy=remedy)
    proposal = {"na_values": [*source.na_values, *missing]}
    return ReadingError(what, where=place, remedy=remedy, proposal=proposal)
