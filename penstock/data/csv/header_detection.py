"""Whether the first row of a table of texts holds the names of its columns."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["names", "data", "unsure"]
Kind = Literal["number", "date", "text", "missing"]

LOOKED_AT = 200
"""Rows below the first that it is compared with."""

_NEARLY = 0.9
"""Share of numbers from which the rest of a column is taken for mistakes."""

_SCALE = 5
"""Numbers that make a scale if they increase from column to column."""

_DATE = re.compile(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}([ T].*)?")
_NUMBER = re.compile(
    r"[-+(]*[$€£¥]? ?([0-9][0-9.,' \u00a0\u202f]*|[.,][0-9]+)([eE][-+]?[0-9]+)? ?[%€$£¥]?\)?"
)
_WHOLE = re.compile(r"[0-9]+")
_UNIT = re.compile(r"[\[(].*[\])]|[^0-9]*[A-Za-z°µμ%‰Ω€$£]+[^ ]{0,6}")
_MISSING = frozenset({"", "-", "--", ".", "..", "n.a.", "na", "n/a", "nan", "null", "none", "?"})


def kind_of(cell: str, na_values: Collection[str] = ()) -> Kind:
    """Return what a cell looks like, whatever the marks in its numbers mean."""
    text = cell.strip()
    if text.lower() in _MISSING or text in na_values:
        return "missing"
    if _DATE.fullmatch(text):
        return "date"
    return "number" if _NUMBER.fullmatch(text) else "text"


def verdict(
    first: Sequence[str], body: Sequence[Sequence[str]], na_values: Collection[str] = ()
) -> Verdict:
    """Return whether a table's first row holds names, or values like the rows below it.

    A text over numbers is a name. A number with a fraction over numbers, a date over dates, or a
    text that its column repeats is a value. Whole numbers can be both: years as names are.
    """
    kinds = [kind_of(cell, na_values) for cell in first]
    rows = [row for row in body if len(row) == len(first)]
    if not rows:
        only = all(kind in ("number", "date") for kind in kinds)
        return "data" if only and not all(map(_WHOLE.fullmatch, first)) else "names"
    seen = _seen(first, kinds, rows, na_values)
    fractions = seen.dates + sum(not _WHOLE.fullmatch(cell) for cell in seen.numbers)
    if seen.names or fractions:
        if seen.is_scale():
            return "names"
        return (
            "unsure" if seen.names == fractions else "names" if seen.names > fractions else "data"
        )
    if seen.numbers:
        whole = [int(cell) for cell in seen.numbers]
        twice = len(set(whole)) < len(whole)
        labels = _are_labels(whole) or seen.is_scale()
        return "data" if seen.repeated or twice else "names" if labels else "unsure"
    if not seen.repeated or 2 * seen.repeated < seen.texts:
        return "names"
    return "data" if seen.repeated > 1 else "unsure"


@dataclass
class _Seen:
    """What indicates names in a first row, and what values."""

    names: int = 0
    """Texts over numbers or dates."""
    dates: int = 0
    """Dates over dates."""
    numbers: list[str] = field(default_factory=list)
    """Numbers over numbers."""
    texts: int = 0
    """Texts over texts."""
    repeated: int = 0
    """Of these, the ones that their column repeats."""

    def is_scale(self) -> bool:
        """Whether numbers increase from column to column, as wavelengths, doses and seconds do.

        Values of one row do not by chance.
        """
        if self.names or self.dates or self.repeated or len(self.numbers) < _SCALE:
            return False
        try:
            values = [float(cell) for cell in self.numbers]
        except ValueError:
            return False
        return all(before < after for before, after in itertools.pairwise(values))


def _seen(
    first: Sequence[str],
    kinds: Sequence[Kind],
    rows: Sequence[Sequence[str]],
    na_values: Collection[str],
) -> _Seen:
    seen = _Seen()
    for cell, kind, column in zip(first, kinds, zip(*rows, strict=True), strict=True):
        below = _column_kind(column, na_values)
        if kind == "missing" or below == "missing":
            continue
        if below == "text":
            seen.texts += kind == "text"
            seen.repeated += cell.strip() in {value.strip() for value in column}
        elif kind != below:
            seen.names += kind == "text" or below == "number"
        elif kind == "date":
            seen.dates += 1
        else:
            seen.numbers.append(cell.strip())
    return seen


def names_numbers(
    first: Sequence[str], body: Sequence[Sequence[str]], na_values: Collection[str] = ()
) -> bool:
    """Whether a text stands over numbers or dates: then the row holds names for sure."""
    rows = [row for row in body if len(row) == len(first)]
    return any(
        kind_of(cell, na_values) == "text" and _column_kind(column, na_values) in ("number", "date")
        for cell, column in zip(first, zip(*rows, strict=True), strict=False)
    )


def holds_units(row: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether the row below the names says in which units the numbers below it are."""
    rows = [other for other in body if len(other) == len(row)]
    if len(rows) < 2:
        return False
    over = [
        cell.strip()
        for cell, column in zip(row, zip(*rows, strict=True), strict=True)
        if _column_kind(column) == "number" and kind_of(cell) != "missing"
    ]
    if not over or any(kind_of(cell) == "number" for cell in over):
        return False
    units = sum(_UNIT.fullmatch(cell) is not None for cell in over)
    enclosed = all(cell[:1] in "[(" for cell in over)
    return units == len(over) and (len(over) > 1 or enclosed)


def words_apart(rows: Sequence[Sequence[str]]) -> int:
    """Return how many columns spaces would make of rows of one cell; 0 if they are no delimiter."""
    words = [row[0].split() for row in rows if row]
    counts = {len(found) for found in words}
    if len(words) < 3 or len(counts) > 1 or counts == {1}:
        return 0
    numbers = sum(kind_of(word) == "number" for found in words[1:] for word in found)
    return counts.pop() if 2 * numbers >= sum(map(len, words[1:])) else 0


def _column_kind(column: Sequence[str], na_values: Collection[str] = ()) -> Kind:
    kinds = [kind_of(cell, na_values) for cell in column]
    present = len(kinds) - kinds.count("missing")
    if not present:
        return "missing"
    for kind in ("number", "date"):
        if kinds.count(kind) >= _NEARLY * present:
            return kind
    return "text"


def _are_labels(numbers: Sequence[int]) -> bool:
    """Whether whole numbers follow each other, as years or places do."""
    following = all(after - before == 1 for before, after in itertools.pairwise(numbers))
    years = all(1800 <= number <= 2200 for number in numbers)
    return years or (following and len(numbers) > 1 and numbers[0] in (0, 1))
