"""The formats and compressions that a file's first bytes show."""

from __future__ import annotations

import json
import re

from penstock.errors import InputError

_COMPRESSED = (
    (".gz", rb"\x1f\x8b"),
    (".bz2", rb"BZh[1-9]1AY&"),
    (".xz", rb"\xfd7zXZ"),
    (".zst", rb"\x28\xb5\x2f\xfd"),
)
_NO_TABLES = (
    (rb"PK\x03\x04", "a zip archive or a workbook"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old workbook"),
    (rb"%PDF-", "a PDF document"),
    (rb"SQLite f", "an SQLite database (give its URL, sqlite:///..., and a query)"),
    (rb"\x89HDF", "an HDF5 file"),
    (rb"ARROW1", "an Arrow file"),
    (rb"Obj\x01", "an Avro file"),
    (rb"ORC", "an ORC file"),
)
_PAGE = re.compile(rb"\s*<(!doctype\s+html|html|\?xml)\b", re.IGNORECASE)


def compression_of(start: bytes) -> str:
    """Return the suffix of the compression that a file's first eight bytes show, or nothing."""
    return next((suffix for suffix, magic in _COMPRESSED if re.match(magic, start)), "")


def check_table(start: bytes, *, where: str) -> None:
    """Raise InputError if a file's first eight bytes are of something that holds no rows of ours.

    `ORC` alone could begin a text, so it counts only before a byte that no text has.
    """
    for magic, what in _NO_TABLES:
        if re.match(magic, start) and (magic != rb"ORC" or start[3:4] < b"\t"):
            raise InputError(
                f"this is {what}, which is not read",
                where=where,
                remedy="Unpack it, or save the table as CSV or Parquet.",
            )


def check_page(start: bytes, *, where: str) -> None:
    """Raise InputError if a text is a page of the web: what answers where a login is needed."""
    if _PAGE.match(start.removeprefix(b"\xef\xbb\xbf")):
        raise InputError(
            "this is a page in HTML or XML, not a table",
            where=where,
            remedy="Check the address: a page often stands where one must log in first.",
        )


def is_json(start: bytes, *, named: bool) -> bool:
    """Whether a text begins as JSON does.

    Args:
        start: Its first bytes.
        named: The file's name says that it is CSV, so that only a first line which is one whole
            object is taken for JSON.
    """
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not named:
        return text[:1] in (b"{", b"[")
    try:
        return text[:1] == b"{" and isinstance(json.loads(text.split(b"\n", 1)[0]), dict)
    except ValueError:
        return False
