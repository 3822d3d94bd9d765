"""How one CSV file is written, detected in its first megabyte."""

from __future__ import annotations

import codecs
import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.data.csv.dialect import Dialect
from penstock.data.csv.header import top_of
from penstock.data.csv.preamble import split_lines
from penstock.data.sources.encoding_guess import Encoding, guess_encoding
from penstock.data.sources.encodings import detect_encoding
from penstock.data.sources.reader import SourceFile
from penstock.data.sources.text import open_bytes, read
from penstock.data.spec import SourceSpec
from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Assumption

_SAMPLE = 1 << 20
_TOGETHER = 1 << 16


@dataclass(frozen=True)
class Layout:
    """How one file is written."""

    file: SourceFile
    encoding: str
    detected: bool
    returns: bool
    dialect: Dialect
    names: tuple[str, ...]
    start: int
    """Bytes above the first row of values, in UTF-8."""
    header: str = ""
    """The row of names as it is written, if it is one line."""
    assumptions: tuple[Assumption, ...] = ()
    index: str = ""
    """The first column, where it numbers the rows and nobody named it."""
    guessed: bool = False
    """The encoding was guessed."""
    multiline: bool = False
    """Rows are known to go on over several lines."""


def layouts_of(files: Sequence[SourceFile], source: SourceSpec) -> list[Layout]:
    """Find out how each of several files is written.

    Raises:
        InputError: If one cannot be read so; other settings are proposed only for the first, since
            they hold for all.
    """
    layouts = [layout_of(files[0], source)]
    for file in files[1:]:
        try:
            layouts.append(layout_of(file, source))
        except ReadingError as error:
            raise InputError(error.what, where=error.where, remedy=error.remedy) from error
    guessed = [layout for layout in layouts if layout.guessed]
    if len({layout.encoding for layout in guessed}) < 2:
        return layouts
    # Each alone says too little: what one tool wrote is of one encoding.
    sample = b"\n".join(_sample(layout.file)[0][:_TOGETHER] for layout in guessed)
    common = guess_encoding(sample, where=f"{files[0].name} and others")
    return [
        layout_of(layout.file, source, common) if layout.guessed else layout for layout in layouts
    ]


def _sample(file: SourceFile) -> tuple[bytes, bool]:
    """Return a file's first megabyte, and whether that is all of it."""
    with contextlib.closing(open_bytes(file)) as stream:
        raw = read(stream, _SAMPLE, where=file.name)
    return raw, len(raw) < _SAMPLE


def layout_of(file: SourceFile, source: SourceSpec, encoding: Encoding | None = None) -> Layout:
    """Find out how a file is written from its first megabyte."""
    raw, whole = _sample(file)
    if not raw.strip():
        raise InputError("the file is empty", where=file.name, remedy="Name a file with rows.")
    if raw.startswith(b"PAR1"):
        raise InputError(
            "this is a Parquet file", where=file.name, remedy="Set format to parquet or auto."
        )
    found = encoding or detect_encoding(raw, given=source.encoding, whole=whole, where=file.name)
    text = (
        codecs.getincrementaldecoder(found.name)(errors="replace")
        .decode(raw)
        .removeprefix("\ufeff")
    )
    returns = "\n" not in text and "\r" in text
    if returns:
        text = text.replace("\r", "\n")
    sample = text if whole or "\n" not in text else text[: text.rindex("\n") + 1]
    top = top_of(sample, source, where=file.name)
    start = sum(len(line.encode()) for line in itertools.islice(split_lines(sample), top.lines))
    return Layout(
        file=file,
        encoding=found.name,
        detected=not source.encoding and not encoding,
        returns=returns,
        dialect=top.dialect,
        names=top.names,
        start=start,
        header=top.header,
        assumptions=(*filter(None, (found.assumption,)), *top.assumptions),
        index=top.index,
        guessed=found.assumption is not None,
    )
