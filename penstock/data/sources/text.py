"""A text file as UTF-8 blocks of whole rows."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from penstock.data.sources.reader import NotUtf8, SourceFile
from penstock.errors import InputError

BLOCK = 4 << 20
"""Bytes of a block, unless one row is longer."""

MAX_ROW = 256 << 20
"""Bytes up to which a row may go on."""


@dataclass(frozen=True)
class Block:
    """Whole rows of a file.

    Attributes:
        data: UTF-8 bytes.
        offset: Where they begin in the decoded file.
        unfinished: The file ends amid a row.
        last: Nothing follows it.
    """

    data: bytes
    offset: int
    unfinished: bool = False
    last: bool = False


def open_bytes(file: SourceFile) -> BinaryIO:
    """Open a file for reading what it holds once decompressed."""
    if file.compression == ".gz":
        return cast("BinaryIO", gzip.open(file.path))
    if file.compression == ".bz2":
        return cast("BinaryIO", bz2.open(file.path))
    if file.compression == ".xz":
        return cast("BinaryIO", lzma.open(file.path))
    if file.compression == ".zst":
        import pyarrow as pa

        return cast("BinaryIO", pa.CompressedInputStream(pa.OSFile(str(file.path)), "zstd"))
    return file.path.open("rb")


def read(stream: BinaryIO, size: int, *, where: str) -> bytes:
    """Read at most `size` bytes.

    Raises:
        InputError: If the file is damaged or cut short.
    """
    try:
        return bytes(stream.read(size))
    except (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError) as error:
        raise InputError(
            f"the file is damaged or cut short: {error}",
            where=where,
            remedy="Fetch or write it again.",
        ) from error


class Utf8Stream:
    """A file's text as UTF-8 bytes, without byte order mark, lines ending in a newline.

    Args:
        file: The file.
        encoding: Its encoding.
        returns: Its lines end in a carriage return alone.
    """

    def __init__(self, file: SourceFile, *, encoding: str, returns: bool = False) -> None:
        self._where = file.name
        self._stream = open_bytes(file)
        self._plain = encoding in ("utf-8", "ascii")
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._encoding = encoding
        self._returns = returns
        self._begun = False
        self._held = b""

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def skip(self, count: int) -> None:
        """Pass over the next `count` bytes."""
        while count > 0 and (data := self.read(min(BLOCK, count))):
            self._held = data[count:]
            count -= len(data)

    def read(self, size: int) -> bytes:
        """Return about `size` bytes; empty at the end of the file."""
        if self._held:
            held, self._held = self._held, b""
            return held
        while True:
            raw = read(self._stream, size, where=self._where)
            data = raw if self._plain else self._decoded(raw)
            if not self._begun and data:
                data = data.removeprefix(codecs.BOM_UTF8)
                self._begun = True
            if self._returns:
                data = data.replace(b"\r", b"\n")
            if data or not raw:
                return data

    def _decoded(self, raw: bytes) -> bytes:
        try:
            return self._decoder.decode(raw, final=not raw).encode()
        except UnicodeError as error:
            raise InputError(
                f"the bytes are not valid {self._encoding}: {error}",
                where=self._where,
                remedy="Name the right encoding, or remove the setting to have it detected.",
            ) from error


def check_utf8(
    file: SourceFile, block: Block, *, given: str, line: Callable[[], int], known: bool
) -> None:
    """Check that a block is UTF-8.

    Args:
        file: Where it comes from.
        block: The block.
        given: The encoding that the user names, empty if UTF-8 was detected.
        line: Finds the number of the block's first line.
        known: Letters above this block are UTF-8.

    Raises:
        NotUtf8: If it is not and nothing but ASCII was seen above.
        InputError: If it is not and UTF-8 was given, or letters above are UTF-8.
    """
    data = block.data
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        damaged = known or not data[: error.start].isascii()
        if not given and not damaged:
            raise NotUtf8(file, data[max(0, error.start - 4096) : error.start + 65_536]) from error
        above = data.count(b"\n", 0, error.start)
        raise InputError(
            f"line {line() + above}: byte 0x{data[error.start]:02x} is not valid in "
            + (f"the given encoding {given!r}" if given else "UTF-8, as the text above it is"),
            where=file.name,
            remedy="Remove the setting to have the encoding detected."
            if given
            else "Correct this line, or name the encoding in which all of it is written by "
            "encoding.",
        ) from error


def row_blocks(
    stream: Utf8Stream,
    *,
    where: str,
    cut: Callable[[bytes], int],
    size: int = BLOCK,
    start: int = 0,
) -> Iterator[Block]:
    """Cut a stream into blocks that end where a row does.

    Args:
        stream: The text.
        where: The file's name.
        cut: Finds the end of the last whole row in bytes that begin with a row, or 0.
        size: Bytes to read at a time.
        start: Bytes to pass over.

    Raises:
        InputError: If a row is longer than 256 MB.
    """
    stream.skip(start)
    offset, rest = start, b""
    while chunk := stream.read(max(size, len(rest))):
        data = rest + chunk
        end = cut(data)
        if end:
            yield Block(data[:end], offset)
            offset += end
        rest = data[end:]
        if len(rest) > MAX_ROW:
            raise InputError(
                f"the row that begins at byte {offset:,} is longer than {MAX_ROW >> 20} MB",
                where=where,
                remedy="A quotation mark may never be closed; check the file there.",
            )
    if rest:
        yield Block(rest, offset, unfinished=not cut(rest + b"\n"))


def last_line_end(data: bytes) -> int:
    """Return the end of the last whole line, or 0 if none ends."""
    return data.rfind(b"\n") + 1
