"""The encoding of a text file: as its first bytes, or the user, say."""

from __future__ import annotations

import codecs

from penstock.data.sources.encoding_guess import Encoding, guess_encoding, guess_utf16
from penstock.errors import InputError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


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
    if b"\0" in sample:
        raise InputError(
            "the file holds NUL bytes, so it is not text",
            where=where,
            remedy="Set format if its name misleads, or encoding if it is UTF-16.",
        )
    if decodes(sample, "utf-8", whole=whole):
        return Encoding("utf-8")
    return guess_encoding(sample, where=where)


def decodes(data: bytes, encoding: str, *, whole: bool) -> bool:
    """Whether bytes are valid in an encoding; at their end a cut sequence is, unless `whole`."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(data, final=whole)
    except UnicodeError:
        return False
    return True


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
