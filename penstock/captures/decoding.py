"""Lines of captured rows and labels as tables; what is no such line is counted.

Arrow reads the lines at once where each value is of the plain JSON type of its column, which is how
most clients send them. Where one is not, or a line is torn, the block is read line by line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from penstock.captures import table as tables
from penstock.captures.segments import CapturedModel

if TYPE_CHECKING:
    import pyarrow as pa

_ROW = ("request_id", "row", "time", "version", "inputs", "score", "label")
_LABEL = ("request_id", "row", "time", "label")

_LARGEST = 1 << 30
"""Bytes of a block that Arrow is given at once."""


@dataclass
class Counted:
    """Lines that are no rows.

    Attributes:
        lost: Lines that are torn, or hold something else.
        erased: Lines that were erased.
    """

    lost: int = 0
    erased: int = 0


def users_rows(
    block: bytes, model: CapturedModel | None, *, version: str | None, counted: Counted
) -> pa.Table:
    """Return the rows in a block of lines that users' requests brought.

    Args:
        block: Whole lines.
        model: The model that answered; None: not known.
        version: Rows of this version alone; None: of any.
        counted: To add what is no row to.
    """
    found = None
    if model is not None and model.columns and len(block) < _LARGEST:
        found = _at_once(block, model, version)
    if found is not None:
        return found
    lines = [
        line
        for line in _lines(block, _ROW, counted)
        if not line.get("mirrored")
        and not line.get("replayed")
        and version in (None, line["version"])
    ]
    table, unfit = tables.rows_table(lines, model)
    counted.lost += unfit
    return table


def label_lines(blocks: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return the labels in blocks of lines, as they were written."""
    counted = Counted()
    return [line for block in blocks for line in _lines(block, _LABEL, counted)]


def answered_keys(block: bytes) -> Iterator[tuple[str, int]]:
    """Yield request and row of each row in a block that a user's request brought."""
    for line in _lines(block, ("request_id", "row", "time"), Counted()):
        if not line.get("mirrored") and not line.get("replayed"):
            yield line["request_id"], line["row"]


def _lines(block: bytes, needed: Collection[str], counted: Counted) -> list[dict[str, Any]]:
    found = []
    for line in block.splitlines():
        parsed = _parsed(line, needed)
        if parsed is not None:
            found.append(parsed)
        elif line.isspace():
            counted.erased += 1
        else:
            counted.lost += 1
    return found


def _parsed(line: bytes, needed: Collection[str]) -> dict[str, Any] | None:
    """Return a line that holds what it must, None of any other."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    whole = isinstance(found, dict) and all(name in found for name in needed)
    whole = whole and isinstance(found["time"], str) and isinstance(found["request_id"], str)
    return found if whole else None


def _at_once(block: bytes, model: CapturedModel, version: str | None) -> pa.Table | None:
    """Return the rows as Arrow reads them, None where it must not be relied on."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import json

    rows = block.count(b"\n")
    schema = tables.line_schema(model)
    options = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        read = json.read_json(
            pa.BufferReader(block),
            json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            options,
        )
    except pa.ArrowInvalid:
        return None
    whole = read.num_rows == rows and not any(
        read[name].null_count for name in ("request_id", "row", "time", "version", "inputs")
    )
    if not whole:
        return None
    wanted = pc.and_not(pc.invert(read["mirrored"]), read["replayed"])
    if version is not None:
        wanted = pc.and_(wanted, pc.equal(read["version"], version))
    try:
        return tables.typed_rows(read.filter(wanted), model)
    except (ValueError, OverflowError, pa.ArrowInvalid):
        return None
