"""How the rows of a CSV file are written: delimiter, quotation mark, escapes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.errors import InputError

_NEWLINE, _RETURN = 10, 13

_CANDIDATES = (",", ";", "\t", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_LOOKED_AT = 200
"""Rows from which the dialect is detected."""


@dataclass(frozen=True)
class Dialect:
    """How the rows of a CSV file are written.

    Attributes:
        delimiter: One character.
        quote: The quotation mark.
        escape: A backslash stands before a quotation mark inside quotes, instead of its doubling.
        spaced: White space stands between a delimiter and an opening quotation mark.
    """

    delimiter: str
    quote: str = '"'
    escape: bool = False
    spaced: bool = False

    @property
    def by_python(self) -> bool:
        """Whether only Python's own reader, which is slow, reads it."""
        return self.escape or self.spaced

    def rows(self, lines: Iterable[str]) -> Any:
        """Return Python's own reader for this dialect."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            doublequote=not self.escape,
            escapechar="\\" if self.escape else None,
            skipinitialspace=self.spaced,
        )

    def quotes(self, data: bytes) -> npt.NDArray[np.int64]:
        """Return where quotation marks open or close cells.

        One amid an unquoted cell is only a letter.
        """
        raw = np.frombuffer(data, dtype=np.uint8)
        places = np.flatnonzero(raw == ord(self.quote))
        edges = np.zeros(256, dtype=np.bool_)
        edges[[ord(self.quote), ord(self.delimiter), _NEWLINE, _RETURN]] = True
        before = raw[np.maximum(places[0::2] - 1, 0)]
        after = raw[np.minimum(places[1::2] + 1, len(raw) - 1)]
        opening = edges[before] | (places[0::2] == 0)
        if opening.all() and edges[after].all():
            return places
        return _quotes_one_by_one(data, places, ord(self.quote), edges)

    def last_row_end(self, data: bytes) -> int:
        """Return the end of the last whole row in bytes that begin with a row, or 0 if none ends.

        A line's end in quotation marks ends no row.
        """
        end = data.rfind(b"\n")
        if end < 0 or self.quote.encode() not in data:
            return end + 1
        quotes = self.quotes(data)
        while end >= 0:
            before = int(np.searchsorted(quotes, end))
            if before % 2 == 0:
                return end + 1
            end = data.rfind(b"\n", 0, int(quotes[before - 1]))
        return 0

    def describe(self) -> str:
        """Return the dialect in words."""
        words = [f"delimiter {_NAMES.get(self.delimiter, repr(self.delimiter))}"]
        if self.quote != '"':
            words.append(f"quote {self.quote}")
        if self.escape:
            words.append("backslash escapes")
        return ", ".join(words)


def _quotes_one_by_one(
    data: bytes, places: npt.NDArray[np.int64], quote: int, edges: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Do the same mark by mark, as a parser would."""
    kept: list[int] = []
    skipped = -1
    for place in places.tolist():
        if place == skipped:
            continue
        inside = len(kept) % 2 == 1
        if inside and place + 1 < len(data) and data[place + 1] == quote:
            skipped = place + 1
        elif inside or place == 0 or edges[data[place - 1]]:
            kept.append(place)
    return np.array(kept, dtype=np.int64)


def detect_dialect(sample: str, *, given: str, where: str) -> Dialect:
    """Return the dialect of a CSV file from its first lines.

    Args:
        sample: The first lines, whole ones.
        given: The delimiter that the user names; empty to detect.
        where: The file's name.

    Raises:
        InputError: If the given delimiter does not occur and another would fit.
    """
    quote = _quote(sample)
    best = likeliest(sample)
    fits = _fitness(sample, best)[0] > 0
    if given:
        if given not in sample.lstrip("\r\n").split("\n", 1)[0] and fits:
            raise InputError(
                f"the delimiter {given!r} does not occur in the first line",
                where=where,
                remedy=f"The file looks {_NAMES[best.delimiter]}-separated: set delimiter to "
                f"{best.delimiter!r}, or leave it empty to have it detected.",
            )
        best = Dialect(given, quote=quote)
    elif not fits:
        best = Dialect(",", quote=quote)
    return _refine(sample, best)


def likeliest(sample: str, *, given: str = "") -> Dialect:
    """Return the delimiter and quotation mark that fit most of a file's lines."""
    quote = _quote(sample)
    return max(
        (Dialect(delimiter, quote=quote) for delimiter in (given or _CANDIDATES)),
        key=lambda dialect: _fitness(sample, dialect),
    )


def _quote(sample: str) -> str:
    """Return the apostrophe if it encloses cells and no double quote occurs."""
    if '"' in sample:
        return '"'
    opened = len(re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n]|$)", sample, re.MULTILINE))
    return "'" if opened and opened * 2 == sample.count("'") else '"'


def _fitness(sample: str, dialect: Dialect) -> tuple[float, int]:
    """Return how well a delimiter fits: the share of rows as wide as the first, and the width."""
    widths = []
    try:
        for row in dialect.rows(io.StringIO(sample, newline="")):
            if row:
                widths.append(len(row))
            if len(widths) > _LOOKED_AT:
                break
    except csv.Error:
        return 0.0, 0
    if not widths or widths[0] < 2:
        return 0.0, 0
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def _refine(sample: str, dialect: Dialect) -> Dialect:
    """Look for spaces before quotes, and for backslash escapes."""
    mark, quote = re.escape(dialect.delimiter), re.escape(dialect.quote)
    spaced = (False, True) if re.search(rf"{mark}[ \t]+{quote}", sample) else (False,)
    escaped = (False, True) if re.search(rf"\\{quote}", sample) else (False,)
    rivals = [
        replace(dialect, spaced=space, escape=escape) for space in spaced for escape in escaped
    ]
    # Of equals the first: plain.
    chosen = max(rivals, key=lambda rival: _fitness(sample, rival))
    if re.search(rf"{mark}[ \t]+{quote}[^{quote}\n]*{quote}[ \t]*({mark}|\r|\n)", sample):
        chosen = replace(chosen, spaced=True)
    return chosen
