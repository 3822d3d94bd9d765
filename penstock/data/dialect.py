"""How a text file is written: its encoding and, for CSV, delimiter and quote."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from penstock.data.encodings import Encoding, guess_encoding, guess_utf16
from penstock.errors import InputError

_CANDIDATES = (",", ";", "\t", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_LOOKED_AT = 200
"""Rows from which the dialect is told."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


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

    def describe(self) -> str:
        """Return the dialect in words."""
        words = [f"delimiter {_NAMES.get(self.delimiter, repr(self.delimiter))}"]
        if self.quote != '"':
            words.append(f"quote {self.quote}")
        if self.escape:
            words.append("backslash escapes")
        return ", ".join(words)


def detect_encoding(sample: bytes, *, given: str, whole: bool, where: str) -> Encoding:
    """Return the encoding of a file from its first bytes.

    Args:
        sample: The first bytes.
        given: What the user says; empty to detect.
        whole: The sample is the whole file, so a sequence cut at its end is an error.
        where: The file's name.

    Raises:
        InputError: If the given encoding is unknown or contradicted by the bytes, or none fits.
        ReadingError: If it is not given and several are as likely.
    """
    marked = next((name for mark, name in _MARKS if sample.startswith(mark)), "")
    if given:
        name = _check_given(sample, given, marked=marked, whole=whole, where=where)
        return Encoding(name)
    if marked:
        return Encoding(marked)
    if guessed := guess_utf16(sample):
        return guessed
    if decodes(sample, "utf-8", whole=whole):
        if b"\0" in sample:
            raise InputError(
                "the file holds NUL bytes, so it is not text",
                where=where,
                remedy="Set format if its name misleads, or encoding if it is UTF-16.",
            )
        return Encoding("utf-8")
    return guess_encoding(sample, where=where)


def decodes(data: bytes, encoding: str, *, whole: bool) -> bool:
    """Whether bytes are valid in an encoding; at their end a cut sequence is, unless `whole`."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(data, final=whole)
    except UnicodeError:
        return False
    return True


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


def _check_given(sample: bytes, given: str, *, marked: str, whole: bool, where: str) -> str:
    try:
        encoding = codecs.lookup(given).name
    except LookupError as error:
        raise InputError(
            f"the encoding {given!r} is unknown",
            where=where,
            remedy="Name one that Python knows, for example utf-8, cp1252 or utf-16.",
        ) from error
    if encoding == "utf-8-sig":
        encoding = "utf-8"
    if marked and not encoding.startswith(marked):
        raise InputError(
            f"the encoding is given as {given!r}, but the file begins with the mark of {marked}",
            where=where,
            remedy="Remove the setting to have the encoding detected.",
        )
    if not decodes(sample, encoding, whole=whole):
        raise InputError(
            _first_bad(sample, encoding, given),
            where=where,
            remedy="Remove the setting to have the encoding detected.",
        )
    if encoding != "utf-8" and not sample.isascii() and decodes(sample, "utf-8", whole=whole):
        raise InputError(
            f"the encoding is given as {given!r}, but all bytes are valid UTF-8, so letters would "
            "come out wrong",
            where=where,
            remedy="Set encoding to utf-8, or remove the setting.",
        )
    return encoding


def _first_bad(sample: bytes, encoding: str, given: str) -> str:
    try:
        sample.decode(encoding)
    except UnicodeDecodeError as error:
        line = sample.count(b"\n", 0, error.start) + 1
        return (
            f"line {line}: byte 0x{sample[error.start]:02x} is not valid in the given encoding "
            f"{given!r}"
        )
    except UnicodeError:
        pass
    return f"the bytes are not valid in the given encoding {given!r}"


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
