"""The notes on a column of texts that could have been read otherwise."""

from __future__ import annotations

from typing import Any

from penstock.data.spec import NA_VALUES, SourceSpec
from penstock.data.types.text_counts import MOST, TextCounts, Way
from penstock.records.dataset import Assumption

_CODES = 0.9
"""Share of texts of two capital letters from which a column holds such codes."""

_SHOWN = 3
"""Texts that are named."""


def about_numbers(
    name: str, way: Way, counted: TextCounts, *, sure: bool = True
) -> list[Assumption]:
    """Say how numbers were read that are not written the plain way."""
    decimal, thousands = way
    found = []
    if thousands:
        found.append(
            assumed(
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
            assumed("medium", name, "the comma was read as the decimal mark", "decimal: '.'")
        )
    if counted.affix:
        found.append(
            assumed(
                "medium",
                name,
                f"{counted.affix!r} stands with every number and was left out"
                + (": 3.5% is 3.5" if counted.affix == "%" else ""),
                f"types: {{{name}: string}}",
            )
        )
    return found


def about_text(name: str, counted: TextCounts, source: SourceSpec) -> list[Assumption]:
    """Say why a column became text that could be something else."""
    if counted.codes and counted.codes + counted.integers == counted.total:
        return [
            assumed(
                "high" if counted.codes < counted.integers else "medium",
                name,
                f"{counted.codes:,} of {counted.described()} are codes, which begin with a zero or "
                "a plus sign, so the column was read as text",
                f"types: {{{name}: integer}}",
            )
        ]
    found = []
    if counted.like >= MOST * counted.total:
        shown = ", ".join(repr(text)[:40] for text in list(counted.unreadable)[:_SHOWN])
        found.append(
            assumed(
                "high",
                name,
                f"{counted.like:,} of {counted.described()} look like numbers, but "
                + (f"others do not ({shown})" if shown else "not all are written in one way")
                + ", so the column was read as text",
                f"na_values with the other texts, formats: {{{name}: '1,234.5'}}, or "
                f"types: {{{name}: number}}",
            )
        )
    elif counted.times and max(counted.times.values()) >= MOST * counted.total:
        found.append(
            assumed(
                "medium",
                name,
                "most values look like times of no one form, so the column was read as text",
                f"formats: {{{name}: '%d/%m/%Y'}}",
            )
        )
    return found + _about_missing(name, counted, source)


def about_large(name: str) -> Assumption:
    """Say that whole numbers are text, since 64 bits do not hold them."""
    return assumed(
        "medium",
        name,
        "some whole numbers have more than 64 bits, so the column was read as text, which is exact",
        f"types: {{{name}: number}} rounds them",
    )


def about_dates(name: str) -> Assumption:
    """Say that whole numbers could be dates."""
    return assumed(
        "medium",
        name,
        "every whole number could be a date, year first, and was read as a number",
        f"formats: {{{name}: '%Y%m%d'}}",
    )


def _about_missing(name: str, counted: TextCounts, source: SourceSpec) -> list[Assumption]:
    """Say where a default text for a missing value is a plausible value of its column."""
    if source.na_values != NA_VALUES:
        return []
    words = {text: count for text, count in counted.missing.items() if text.isalpha()}
    if not words:
        return []
    text, count = max(words.items(), key=lambda item: item[1])
    codes = len(text) == 2 and counted.short_codes >= _CODES * counted.total
    more = ", and the other values are codes of two letters" if codes else ""
    return [
        assumed(
            "high" if codes else "low",
            name,
            f"{text!r} was read as a missing value in {count:,} rows{more}",
            f"na_values without {text!r}, if it is a value",
        )
    ]


def assumed(risk: Any, name: str, text: str, setting: str) -> Assumption:
    """Return an assumption about a column."""
    text = f"Column {name!r}: {text}"
    return Assumption(risk=risk, column=name, text=text, setting=setting)
