"""How a column of texts is to be read, from counts of what its values could be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from penstock.data.spec import SourceSpec
from penstock.data.types.assumptions import (
    about_dates,
    about_large,
    about_numbers,
    about_text,
    assumed,
)
from penstock.data.types.numbers import example_format
from penstock.data.types.text_counts import (
    COMMA,
    GROUPED,
    KEPT,
    MOST,
    PLAIN,
    POINT_GROUPED,
    TextCounts,
    Way,
)
from penstock.data.types.texts import Plan
from penstock.data.types.times import is_form
from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Assumption, ColumnType, TextFormat

OVERWHELMING = 0.9
"""Share of numbers from which the rest of a column is taken for mistakes, not for text."""

_DASHES = ("-", "--", "---", "\u2013", "\u2014", ".", "..", "*", "x")
MARKERS = frozenset((*_DASHES, "n.a.", "N.A.", "n.a", "na", "n/d", "N/D", "nd", "missing"))
"""Texts that are written for a missing number, and are no default of `na_values`."""

_PROPOSED = 3
"""Different texts among numbers up to which `init` proposes them as missing values."""


def decimal_marks(text_counts: Iterable[TextCounts]) -> frozenset[str]:
    """Return the decimal marks that columns of a file have for certain."""
    marks = set()
    for counted in text_counts:
        full = counted.full()
        if counted.numbers == counted.total > counted.integers + counted.pointed:
            marks.add(".")
        elif (
            full
            and PLAIN not in full
            and len({decimal for decimal, _ in full}) == 1
            and counted.whole[full[0]] < counted.total
        ):
            marks.add(full[0][0])
    return frozenset(marks)


@dataclass(frozen=True)
class FileFacts:
    """What decides, besides its values, how a column is read.

    Attributes:
        source: The settings.
        marks: The decimal marks of the file's columns, where they are certain.
        delimiter: The file's.
        where: The file, for errors.
    """

    source: SourceSpec
    marks: frozenset[str]
    delimiter: str
    where: str


def plan_of(name: str, counted: TextCounts, file: FileFacts) -> tuple[Plan, list[Assumption]]:
    """Return how to read a column, and what of it is assumed.

    Args:
        name: The column.
        counted: What its values could be.
        file: What is known of the file besides.

    Raises:
        InputError: If two readings are possible that give different values.
    """
    declared = file.source.types.get(name)
    if name in file.source.formats:
        return _by_format(name, file.source.formats[name], declared, where=file.where), []
    if declared == "string":
        return Plan("string", declared=True), []
    if declared == "boolean":
        return Plan("boolean", declared=True), []
    iso = counted.naive + counted.zoned == counted.total
    if declared == "datetime" or (declared is None and counted.times and not iso):
        found = _time_plan(name, counted, declared=declared is not None, where=file.where)
        if found is not None:
            return found
    if declared is not None and declared != "datetime":
        way, notes = _way(name, counted, file)
        return Plan(declared, _written(name, way or PLAIN, counted), declared=True), notes
    return _inferred(name, counted, file)


def _inferred(name: str, counted: TextCounts, file: FileFacts) -> tuple[Plan, list[Assumption]]:
    """Return the narrowest type for all values."""
    if not counted.total:
        return Plan(None), []
    way, notes = _way(name, counted, file)
    if way is not None:
        # As floats, long identifiers would become equal to one another.
        if (
            way == PLAIN
            and not counted.affix
            and counted.integers == counted.total
            and counted.too_large
        ):
            return Plan("string"), [about_large(name)]
        whole = counted.whole[way] == counted.total
        given = bool(file.source.decimal or file.source.thousands)
        kind: ColumnType = "integer" if whole else "number"
        if counted.dates == counted.total:
            notes = [*notes, about_dates(name)]
        return Plan(kind, _written(name, way, counted), given=given), notes
    if counted.booleans == counted.total:
        return Plan("boolean"), []
    if counted.naive + counted.zoned == counted.total:
        return _iso_plan(name, counted)
    return Plan("string"), about_text(name, counted, file.source)


def _way(name: str, counted: TextCounts, file: FileFacts) -> tuple[Way | None, list[Assumption]]:
    """Return how a column's numbers are written, None if they are not all numbers."""
    full = [
        way
        for way in counted.full()
        if file.source.decimal in ("", way[0])
        and (not file.source.thousands or way[1] in ("", file.source.thousands))
    ]
    if file.source.thousands and len(full) > 1:
        full = [way for way in full if way[1] == file.source.thousands or way == PLAIN]
    if not full:
        return None, []
    given = bool(file.source.decimal or file.source.thousands)
    if PLAIN in full:
        short = counted.integers - counted.long
        doubtful = counted.pointed > 0 and counted.pointed + counted.integers == counted.total
        if given or not doubtful or not (short or "," in file.marks):
            return PLAIN, about_numbers(name, PLAIN, counted)
        if "," in file.marks or (file.delimiter != "," and not counted.long):
            raise _ambiguous(name, file.where, mark=".")
        return PLAIN, [
            assumed(
                "medium",
                name,
                "every point stands before exactly three digits and was read as the decimal mark",
                "decimal: '.' keeps it, thousands: '.' makes it the thousands separator",
            )
        ]
    if given or len(full) == 1:
        return full[0], [] if given else about_numbers(name, full[0], counted)
    if COMMA in full and GROUPED in full:
        if counted.long or ("," in file.marks and "." not in file.marks):
            raise _ambiguous(name, file.where, mark=",")
        return GROUPED, about_numbers(name, GROUPED, counted, sure=False)
    if GROUPED in full and POINT_GROUPED in full:
        raise _ambiguous(name, file.where, mark=",")
    return full[0], about_numbers(name, full[0], counted)


def _iso_plan(name: str, counted: TextCounts) -> tuple[Plan, list[Assumption]]:
    mixed = counted.naive and counted.zoned
    return Plan("datetime", naive=bool(counted.naive)), [
        assumed(
            "medium",
            name,
            f"{counted.naive:,} of {counted.described()} have no time zone and were taken for UTC",
            f"types: {{{name}: string}}",
        )
    ] * bool(mixed)


def _time_plan(
    name: str, counted: TextCounts, *, declared: bool, where: str
) -> tuple[Plan, list[Assumption]] | None:
    full = [form for form, count in counted.times.items() if count == counted.total]
    if not full:
        return _iso_plan(name, counted) if declared else None
    if len(full) > 1:
        raise InputError(
            f"the times can be read as {' or as '.join(full)}: no value shows which",
            where=f"{where}: column {name!r}",
            remedy=f"Say which by formats: {{{name}: '{full[0]}'}}, or types: {{{name}: string}}.",
        )
    written = TextFormat(column=name, time=full[0])
    note = assumed(
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


def _written(name: str, way: Way, counted: TextCounts) -> TextFormat | None:
    affix = counted.affix or ""
    if way == PLAIN and not affix:
        return None
    decimal = "," if way[0] == "," else "."
    return TextFormat(column=name, decimal=decimal, thousands=way[1], affix=affix)


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


def misread(
    name: str, counted: TextCounts, *, source: SourceSpec
) -> tuple[str, tuple[str, ...]] | None:
    """Return a text that hinders a column from being numbers, and what to take as missing.

    None where the column is read as it is. The texts to take as missing are empty where they are
    too many to be proposed.
    """
    if name in source.types or name in source.formats or not counted.total:
        return None
    best = max(max(counted.ways.values(), default=0), counted.integers + counted.codes)
    if best == counted.total or not counted.unreadable:
        return None
    named = tuple(counted.unreadable) if best + counted.others == counted.total else ()
    signs = named and MARKERS.issuperset(named) and len(named) < KEPT
    if best < (MOST if signs else OVERWHELMING) * counted.total:
        return None
    # A text with a digit may be a number that was mistyped, or written in another way.
    safe = signs or (
        len(named) <= _PROPOSED and not any(char.isdigit() for text in named for char in text)
    )
    return next(iter(counted.unreadable)), named if safe else ()


def misread_error(
    name: str, counted: TextCounts, *, source: SourceSpec, missing: tuple[str, ...], where: str
) -> InputError:
    """Return the error for a column of numbers with a few other values, at the first of those."""
    text = next(iter(counted.unreadable))
    what = f"{counted.others:,} of {counted.described()} are not numbers; the first is {text!r:.80}"
    place = f"{where}: column {name!r}"
    remedy = (
        f"If it stands for a missing value, add {text!r:.80} to na_values; if the column is text, "
        f"declare types: {{{name}: string}}."
    )
    if not missing:
        return InputError(what, where=place, remedy=remedy)
    proposal = {"na_values": [*source.na_values, *missing]}
    return ReadingError(what, where=place, remedy=remedy, proposal=proposal)
