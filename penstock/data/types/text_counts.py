"""Counts of what the texts of a column could be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.data.types.numbers import CODE, NUMBERISH, affix_of, pattern
from penstock.data.types.times import NAIVE, TIMEISH, ZONED, forms_of
from penstock.records.dataset import TextFormat

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 0.5
"""Share of a block's values from which they are looked at as numbers or times."""

KEPT = 6
"""Different texts that are no numbers and are kept."""

_INTEGER = r"^[+-]?[0-9]+$"
_LONG = r"^[+-]?[1-9][0-9]{3,}$"
_POINTED = r"^[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+$"
_DATE = r"^(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])$"
_BOOLEAN = r"^(true|false|True|False|TRUE|FALSE)$"
_TYPED = f"{_BOOLEAN}|{NAIVE}|{ZONED}"

Way = tuple[str, str]
"""Decimal mark and mark between groups of digits."""

PLAIN: Way = (".", "")
COMMA: Way = (",", "")
GROUPED: Way = (".", ",")
POINT_GROUPED: Way = (",", ".")
WAYS: tuple[Way, ...] = (
    PLAIN,
    COMMA,
    GROUPED,
    POINT_GROUPED,
    (".", "'"),
    (",", "'"),
    (".", " "),
    (",", " "),
)


@dataclass
class TextCounts:
    """How many values of a column could be read in which way."""

    total: int = 0
    integers: int = 0
    numbers: int = 0
    codes: int = 0
    """Whole numbers with a leading zero, and telephone numbers."""
    booleans: int = 0
    naive: int = 0
    zoned: int = 0
    long: int = 0
    """Whole numbers of four digits or more, without marks between groups."""
    pointed: int = 0
    """Numbers whose every point stands before exactly three digits."""
    dates: int = 0
    """Whole numbers that could be dates, such as 20260131."""
    like: int = 0
    """Values that could be numbers, each in some way."""
    too_large: bool = False
    """An integer has more than 64 bits."""
    affix: str | None = None
    ways: Counter[Way] = field(default_factory=Counter)
    whole: Counter[Way] = field(default_factory=Counter)
    forms: dict[str, str] | None = None
    """Ways to write a time, with their patterns, that the first one allows."""
    times: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    """Values that are no numbers, the first few different ones."""
    others: int = 0
    """How many values are no numbers however they are read."""
    missing: Counter[str] = field(default_factory=Counter)
    sampled: bool = False
    """Only the first rows were looked at."""
    short_codes: int = 0
    """Texts of two capital letters."""

    def add(self, values: pa.Array, counts: npt.NDArray[np.int64]) -> None:
        """Add different texts (none null) and how often each occurs."""
        self.total += int(counts.sum())
        codes = _matches(values, CODE)
        integers = _matches(values, _INTEGER) & ~codes
        numbers = integers if integers.all() else _matches(values, pattern(None)) & ~codes
        self.codes += int(counts[codes].sum())
        self.integers += int(counts[integers].sum())
        self.numbers += int(counts[numbers].sum())
        self.too_large = self.too_large or not _fit(values, integers)
        self.long += int(counts[_matches(values, _LONG)].sum())
        self.dates += int(counts[_matches(values, _DATE)].sum())
        pointed = 0 if integers.all() else int(counts[_matches(values, _POINTED)].sum())
        self.pointed += pointed
        if numbers.all():
            self._add_plain(int(counts.sum()), int(counts[integers].sum()), pointed)
            return
        self._add_ways(values, counts, numbers)
        self._add_times(values, counts)
        if _matches(values, _TYPED).any():
            self.booleans += int(counts[_matches(values, _BOOLEAN)].sum())
            self.naive += int(counts[_matches(values, NAIVE)].sum())
            self.zoned += int(counts[_matches(values, ZONED)].sum())

    def described(self) -> str:
        """Return how many values were looked at, in words."""
        return f"{'the first ' if self.sampled else ''}{self.total:,} values"

    def full(self) -> list[Way]:
        """Return the ways to write numbers that every value fits."""
        return [way for way in WAYS if self.total and self.ways[way] == self.total]

    def _add_plain(self, numbers: int, integers: int, pointed: int) -> None:
        """Count plain numbers in all the ways that they fit."""
        self.like += numbers
        if self.affix:
            return
        self.affix = ""
        for way in WAYS:
            pointed_too = pointed if way == POINT_GROUPED else 0
            self.ways[way] += numbers if way[0] == "." else integers + pointed_too
            self.whole[way] += integers + pointed_too

    def _add_ways(
        self, values: pa.Array, counts: npt.NDArray[np.int64], numbers: npt.NDArray[np.bool_]
    ) -> None:
        """Count the ways in which values are numbers, where most of them could be."""
        like = numbers | _matches(values, NUMBERISH)
        self.like += int(counts[like].sum())
        if like.any() and self.affix is None:
            self.affix = affix_of(values[int(np.flatnonzero(like)[0])].as_py())
        if counts[like].sum() >= MOST * counts.sum():
            codes = _matches(values, CODE)
            for way in WAYS:
                decimal, thousands = way
                written = TextFormat(
                    column="", decimal=decimal, thousands=thousands, affix=self.affix or ""
                )
                fits = _matches(values, pattern(written)) & ~codes
                self.ways[way] += int(counts[fits].sum())
                whole = fits & _matches(values, pattern(written, fraction=False))
                self.whole[way] += int(counts[whole].sum())
        self._add_unreadable(values, counts, ~like)

    def _add_unreadable(
        self, values: pa.Array, counts: npt.NDArray[np.int64], rest: npt.NDArray[np.bool_]
    ) -> None:
        for place in np.flatnonzero(rest)[: 2 * KEPT].tolist():
            text = values[place].as_py()
            if text in self.unreadable or len(self.unreadable) < KEPT:
                self.unreadable[text] += int(counts[place])
        self.others += int(counts[rest].sum())
        self.short_codes += int(counts[_matches(values, "^[A-Z]{2}$")].sum())

    def _add_times(self, values: pa.Array, counts: npt.NDArray[np.int64]) -> None:
        like = _matches(values, TIMEISH)
        if counts[like].sum() < MOST * counts.sum():
            return
        if self.forms is None:
            self.forms = forms_of(values[int(np.flatnonzero(like)[0])].as_py())
        for form, expression in self.forms.items():
            self.times[form] += int(counts[_matches(values, expression)].sum())


def _matches(values: pa.Array, expression: str) -> npt.NDArray[np.bool_]:
    import pyarrow.compute as pc

    matched: Any = pc.match_substring_regex(values, pattern=expression)
    return arrow.flags(matched)


def _fit(values: pa.Array, integers: npt.NDArray[np.bool_]) -> bool:
    """Whether those values that are integers have at most 64 bits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        chosen = values.filter(arrow.booleans(integers))
        pc.replace_substring_regex(chosen, r"^\+", "").cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True
