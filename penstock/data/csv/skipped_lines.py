"""Lines of a CSV file that are no rows: comments, repeated names of columns, totals at the end."""

from __future__ import annotations

import codecs
import collections
import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from penstock.data.csv.layout import Layout
from penstock.data.csv.row_errors import line_at
from penstock.data.sources.columns import indexes
from penstock.data.sources.text import MAX_ROW, Block
from penstock.data.spec import SourceSpec
from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Assumption

_TOTAL = re.compile(
    r"(grand |sub-?)?totals?|sum|gesamt(summe)?|summe|total g[ée]n[ée]ral|totale|totaal|razem|suma|"
    r"итого|всего|合計|合计|总计|總計|toplam",
    re.IGNORECASE,
)
_FOOTER = 5
"""Lines at the end among which a total is looked for."""

_SEARCHED = 1 << 20
"""Bytes above a total in which its word must not occur as a value."""


class SkippedLines:
    """Takes from a file's blocks what is no row. Lines keep their numbers: blank ones stand there.

    Args:
        layout: The file.
        source: How to read it.
        repeated: Takes the places, in bytes, at which the row of names stands again.
    """

    def __init__(self, layout: Layout, source: SourceSpec, repeated: set[int]) -> None:
        self._layout = layout
        self._comment = source.comment.encode()
        self._skip_last = None if source.skip_last == "auto" else source.skip_last
        self._repeated = repeated
        header = layout.header.strip("\r\n").encode()
        # One word can be a name and a value; a whole row of names is no row of values.
        several = len(layout.names) > 1
        self._header = header if several else b""

    def rows(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yield blocks without what is no row; the last is marked.

        Raises:
            ReadingError: If the file ends with a total and nothing says what to do with it.
        """
        waiting: collections.deque[Block] = collections.deque()
        for block in map(self._blanked, blocks):
            waiting.append(block)
            # The end may begin in the block before.
            while len(waiting) > 1 and self._is_enough(itertools.islice(waiting, 1, None)):
                yield waiting.popleft()
        if len(waiting) > 1 and waiting[-1].unfinished and not self._skip_last:
            yield from waiting
        elif waiting:
            joined = replace(waiting[0], data=b"".join(block.data for block in waiting))
            unfinished = waiting[-1].unfinished
            yield replace(self._ended(replace(joined, unfinished=unfinished)), last=True)

    def _is_enough(self, blocks: Iterable[Block]) -> bool:
        """Whether blocks hold all lines that could be left out at the end."""
        if self._skip_last is None:
            return any(len(b.data) >= _SEARCHED or _filled(b.data) > _FOOTER for b in blocks)
        return sum(_filled(block.data) for block in blocks) > self._skip_last

    def _blanked(self, block: Block) -> Block:
        """Return a block whose comments and repeated names are blank lines."""
        data = block.data
        if self._comment and self._comment in data:
            data = self._without(data, self._comment, whole=False)
        if self._header and self._header in data:
            # Where files were put together as they are, each begins with its mark.
            for start in (self._header, codecs.BOM_UTF8 + self._header):
                data = self._without(data, start, whole=True, offset=block.offset)
        return block if data is block.data else replace(block, data=data)

    def _without(self, data: bytes, start: bytes, *, whole: bool, offset: int = 0) -> bytes:
        """Return bytes without what stands in lines that begin with `start`, or are it."""
        kept: list[bytes] = []
        done = 0
        place = 0 if data.startswith(start) else data.find(b"\n" + start) + 1
        while place or (not done and data.startswith(start)):
            end = data.find(b"\n", place)
            end = len(data) if end < 0 else end
            above = data[done:place]
            if self._is_between_rows(above) and (
                not whole or data[place:end].rstrip(b"\r") == start
            ):
                if whole:
                    self._repeated.add(offset + place)
                kept.append(above)
                done = end
            after = data.find(b"\n" + start, end)
            if after < 0:
                break
            place = after + 1
        return b"".join([*kept, data[done:]])

    def _ended(self, block: Block) -> Block:
        """Return the last block without the lines that are to be left out."""
        if self._skip_last is None:
            self._check_total(block)
            return block
        data = block.data
        for _ in range(self._skip_last):
            data = data.rstrip(b"\r\n")
            data = data[: data.rfind(b"\n") + 1]
        if data == block.data:
            return block
        if not self._is_between_rows(data):
            raise InputError(
                f"skip_last: {self._skip_last} cuts a row of several lines in two",
                where=self._layout.file.name,
                remedy="Count the lines of the last rows again.",
            )
        return replace(block, data=data, unfinished=False)

    def _is_between_rows(self, above: bytes) -> bool:
        """Whether no quotation mark is open where these bytes of whole lines end."""
        return len(self._layout.dialect.quotes(above)) % 2 == 0

    def _check_total(self, block: Block) -> None:
        """Raise ReadingError if one of the last rows is a total of those above."""
        csv.field_size_limit(MAX_ROW)
        text = block.data.decode(errors="replace").rstrip("\r\n")
        lines = text.split("\n")[-_FOOTER:]
        for number, line in enumerate(lines):
            cells: list[str] = next(self._layout.dialect.rows([line]), [])
            word = next((cell.strip() for cell in cells if cell.strip()), "")
            if not _TOTAL.fullmatch(word.rstrip(": ")):
                continue
            above = text[: len(text) - len("\n".join(lines[number:]))]
            seldom = bool(above) and not self._occurs(word, above[-_SEARCHED:])
            if seldom and self._is_between_rows(above.encode()):
                raise self._total_error(block, text, line, len(lines) - number)

    def _occurs(self, word: str, text: str) -> bool:
        """Whether a word is the value of a cell in a text of rows."""
        edge = f"[{re.escape(self._layout.dialect.delimiter + self._layout.dialect.quote)}\r\n]"
        return re.search(f"(?:^|{edge}) *{re.escape(word)} *(?:{edge}|$)", text) is not None

    def _total_error(self, block: Block, text: str, line: str, count: int) -> ReadingError:
        number = line_at(self._layout, block.offset) + text.count("\n") - count + 1
        return ReadingError(
            f"line {number} looks like a total of the rows above it: {line.strip()!r:.80}",
            where=self._layout.file.name,
            remedy=f"To leave it out, set skip_last: {count}; if it is a row, set skip_last: 0.",
            proposal={"skip_last": count},
        )


def _filled(data: bytes) -> int:
    return sum(not line.isspace() and line != b"" for line in data.split(b"\n"))


def assumptions_of(
    layouts: Sequence[Layout], *, source: SourceSpec, repeated: int
) -> list[Assumption]:
    """Return what was assumed of how files are laid out, once.

    Args:
        layouts: The files.
        source: How they were read.
        repeated: Rows that repeat the names of the columns.
    """
    found = dict.fromkeys(
        assumption
        for layout in layouts
        for assumption in (*layout.assumptions, *indexes(layout.names, source))
        if assumption.column not in source.exclude
    )
    if repeated:
        rows = "1 row that repeats" if repeated == 1 else f"{repeated:,} rows that repeat"
        found[
            Assumption(
                risk="low",
                text=f"{rows} the names of the columns {'was' if repeated == 1 else 'were'} left "
                "out",
                setting="header: false and names: [...] read such rows as values",
            )
        ] = None
    return list(found)
