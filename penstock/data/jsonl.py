"""JSON Lines files as record batches: one object a line, its fields plain values."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.data.sources.columns import as_text, chosen, indexes, without, without_effect
from penstock.data.sources.encoding_guess import Encoding, guess_encoding
from penstock.data.sources.encodings import detect_encoding
from penstock.data.sources.reader import Misread, NotUtf8, Settled, SourceFile
from penstock.data.sources.text import (
    BLOCK,
    Block,
    Utf8Stream,
    check_utf8,
    last_line_end,
    open_bytes,
    read,
    row_blocks,
)
from penstock.data.spec import SourceSpec
from penstock.data.types.objects import (
    Kinds,
    UnstorableError,
    first_bad_value,
    settle_all,
    to_array,
)
from penstock.data.types.storage import arrow_type
from penstock.data.types.times import parse_times
from penstock.data.types.value import TypeMismatch
from penstock.errors import InputError
from penstock.records.dataset import Assumption, ColumnType, Reading

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLE = 1 << 20
_FIRST = 1 << 19
"""Bytes from which types are inferred at first."""


class JsonlReader:
    """Reads files of JSON objects; a field that an object lacks is missing there.

    Args:
        files: The files.
        source: How to read them.

    Raises:
        InputError: If a file is empty or not text.
    """

    def __init__(self, files: Sequence[SourceFile], source: SourceSpec) -> None:
        self._files = files
        self._source = source
        self._encodings = {file: self._encoding(file) for file in files}
        self._types: dict[str, ColumnType | None] = {}
        self._left_out: set[str] = set()
        self._utf8: set[SourceFile] = set()
        self._by_all = False

    def notes(self) -> list[str]:
        """Return how the files were read."""
        encodings = sorted({encoding.name for encoding in self._encodings.values()})
        return [f"JSON Lines, encoding {', '.join(encodings)}"]

    def assumptions(self) -> list[Assumption]:
        """Return what was assumed that could be otherwise."""
        found = (encoding.assumption for encoding in self._encodings.values())
        guessed = dict.fromkeys(assumption for assumption in found if assumption)
        assumed = [*guessed, *indexes(sorted(self._left_out), self._source)]
        return [*assumed, *without_effect(self._source, "JSON Lines")]

    def reading(self) -> Reading | None:
        """Return nothing: values have types of their own here."""
        return None

    def settled(self) -> Settled | None:
        """Return the type of each field, and which are left out; None: all rows settled it."""
        if self._by_all:
            return None
        return {name: str(kind) for name, kind in self._types.items()} | dict.fromkeys(
            self._left_out, "left out"
        )

    def continues(self, before: Settled) -> bool:
        """Return whether files that were read before are read so with these."""
        return self.settled() == before

    def infer(self, *, whole: bool) -> None:
        """Settle the fields and their types from the first block, or from all rows."""
        self._by_all = whole
        kinds: dict[str, Kinds] = {}
        for file, block, line in self._blocks(size=BLOCK if whole else _FIRST):
            for number, row in _objects(file, block, line):
                self._count(row, kinds, f"{file.name}: line {number}")
            if not whole:
                break
        if not whole and not kinds.keys() >= self._named():
            self.infer(whole=True)
            return
        names = chosen(list(kinds), self._source, where=self._files[0].name)
        self._left_out = kinds.keys() - set(names)
        self._types = settle_all({name: kinds[name] for name in names}, self._source.types)

    def _named(self) -> set[str]:
        """Return the fields that settings name; they may come late."""
        source = self._source
        return {*source.types, *source.formats, *source.columns, *source.exclude}

    def _count(self, row: Mapping[str, Any], kinds: dict[str, Kinds], place: str) -> None:
        """Count the values of an object; those of fields that are not read may be anything."""
        only, types = self._source.columns, self._source.types
        for name, value in row.items():
            found = kinds.setdefault(name, Kinds())
            if name in types or name in self._source.exclude or (only and name not in only):
                continue
            try:
                found.add(value, f"{place}: field {name!r}")
            except UnstorableError as error:
                if error.whole:
                    raise as_text(error, name, self._source) from error
                raise without(error, [name], self._source) from error

    def batches(self, without: Collection[str] = ()) -> Iterator[pa.RecordBatch]:
        """Yield the rows, but those of some files.

        Raises:
            TypeMismatch: If a value does not have its field's type, or a field is new.
            InputError: If a line is no JSON object.
        """
        for file, block, line in self._blocks(without=without):
            yield self._parsed(block) or self._built(file, block, line)

    def objects(self) -> Iterator[tuple[str, list[tuple[int, dict[str, Any]]]]]:
        """Yield the rows as JSON has them: a file, and some of its objects with their lines.

        Raises:
            Misread: If a file is of another encoding: `adapt`, and begin again.
            InputError: If a line is no JSON object.
        """
        for file, block, line in self._blocks():
            yield file.name, list(_objects(file, block, line))

    def explain(self, mismatch: TypeMismatch) -> InputError:
        """Return the error for a value that does not have its field's declared type."""
        name = mismatch.column
        kind, declared = self._types.get(name), name in self._source.types
        for file, block, line in self._blocks():
            rows = list(_objects(file, block, line))
            values = [row.get(name) for _, row in rows]
            at = first_bad_value(values, kind, declared=declared)
            if at is not None:
                return InputError(
                    f"{values[at]!r:.80} is not of type {kind}",
                    where=f"{file.name}: line {rows[at][0]}: field {name!r}",
                    remedy="Correct the line, or declare another type under types.",
                )
        raise AssertionError(f"no value of {name!r} is not {kind}")

    def adapt(self, found: Misread) -> None:
        """Take another encoding for a file that was taken for UTF-8."""
        if isinstance(found, NotUtf8):
            self._encodings[found.file] = guess_encoding(found.sample, where=found.file.name)

    def _encoding(self, file: SourceFile) -> Encoding:
        with contextlib.closing(open_bytes(file)) as stream:
            raw = read(stream, _SAMPLE, where=file.name)
        if not raw.strip():
            raise InputError("the file is empty", where=file.name, remedy="Name a file with rows.")
        if raw.lstrip()[:1] == b"[":
            raise InputError(
                "this is one JSON array, not an object on every line",
                where=file.name,
                remedy="Convert it, for example by: jq -c '.[]' in.json > out.jsonl",
            )
        whole = len(raw) < _SAMPLE
        return detect_encoding(raw, given=self._source.encoding, whole=whole, where=file.name)

    def _blocks(
        self, size: int = BLOCK, *, without: Collection[str] = ()
    ) -> Iterator[tuple[SourceFile, Block, int]]:
        """Yield each file's blocks with the number of their first line."""
        for file in (one for one in self._files if one.name not in without):
            line, encoding = 1, self._encodings[file].name
            with contextlib.closing(Utf8Stream(file, encoding=encoding)) as stream:
                for block in row_blocks(stream, where=file.name, cut=last_line_end, size=size):
                    if not block.data.isspace():
                        first = functools.partial(int, line)
                        known = file in self._utf8
                        given = self._source.encoding
                        check_utf8(file, block, given=given, line=first, known=known)
                        if not block.data.isascii():
                            self._utf8.add(file)
                        yield file, block, line
                    line += block.data.count(b"\n")

    def _parsed(self, block: Block) -> pa.RecordBatch | None:
        """Read a block by Arrow, or return None where it does not simply fit the types."""
        import pyarrow as pa
        from pyarrow import json as arrow_json

        fields = {
            name: pa.string() if kind == "datetime" else arrow_type(kind)
            for name, kind in self._types.items()
            if kind is not None
        }
        if len(fields) < len(self._types):
            return None
        try:
            table = arrow_json.read_json(
                pa.BufferReader(block.data),
                read_options=arrow_json.ReadOptions(
                    use_threads=False, block_size=len(block.data) + 1
                ),
                parse_options=arrow_json.ParseOptions(
                    explicit_schema=pa.schema(list(fields.items())),
                    unexpected_field_behavior=self._unexpected(),
                ),
            )
            if not fields.keys() | self._left_out >= set(table.column_names):
                return None
            batch = table.combine_chunks().to_batches()[0]
            arrays = [
                parse_times(batch.column(name))
                if self._types[name] == "datetime"
                else batch.column(name)
                for name in fields
            ]
        except (pa.ArrowInvalid, ValueError):
            return None
        return pa.RecordBatch.from_arrays(arrays, list(fields))

    def _unexpected(self) -> str:
        """Return what Arrow does with a field that is not among those to read."""
        if self._source.columns:
            return "ignore"
        return "infer" if self._left_out else "error"

    def _built(self, file: SourceFile, block: Block, line: int) -> pa.RecordBatch:
        """Read a block line by line."""
        import pyarrow as pa

        rows = [row for _, row in _objects(file, block, line)]
        known = self._types.keys() | self._left_out
        unknown = next((name for row in rows for name in row if name not in known), None)
        if not self._source.columns and unknown is not None:
            raise TypeMismatch(unknown)
        arrays = [
            to_array(
                [row.get(name) for row in rows],
                kind,
                name=name,
                declared=name in self._source.types,
            )
            for name, kind in self._types.items()
        ]
        return pa.RecordBatch.from_arrays(arrays, list(self._types))


def _objects(file: SourceFile, block: Block, line: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a block with their line numbers.

    Raises:
        InputError: If a line is not one JSON object.
    """
    for number, text in enumerate(block.data.split(b"\n"), start=line):
        if not text or text.isspace():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            raise InputError(
                f"line {number} is not JSON: {error}",
                where=file.name,
                remedy="Write one JSON object on every line.",
            ) from error
        if not isinstance(row, dict):
            raise InputError(
                f"line {number} is not a JSON object: {text.decode()!r:.80}",
                where=file.name,
                remedy="Write one JSON object on every line.",
            )
        yield number, row
