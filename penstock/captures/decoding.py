"""Lines of captured rows and labels as tables; what is no such line is counted.

Arrow reads the lines at once where each value is of the plain JSON type of its column, which is how
most clients send them. Where one is not, or a line is torn, the block is read line by line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from penstock.captures import table as tables
from penstock.captures.segments import CapturedModel

if TYPE_CHECKING:
    import pyarrow as pa

Holds = Callable[[Any], bool]
"""Tells whether a field of a line holds what it must."""

_NEVER_NULL = ("request_id", "row", "time", "version", "mirrored", "replayed", "inputs")

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
    for line in _lines(block, _ROW, Counted()):
        if not line.get("mirrored") and not line.get("replayed"):
            yield line["request_id"], line["row"]


def _lines(block: bytes, needed: Mapping[str, Holds], counted: Counted) -> list[dict[str, Any]]:
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


def _parsed(line: bytes, needed: Mapping[str, Holds]) -> dict[str, Any] | None:
    """Return a line that holds what it must, None of any other."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    whole = all(name in found and holds(found[name]) for name, holds in needed.items())
    return found if whole and _is_scores(found.get("scores")) else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_row(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_time(value: Any) -> bool:
    try:
        datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return False
    return True


def _is_score(value: Any) -> bool:
    return value is None or type(value) in (int, float)


def _is_scores(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_score, value)))


def _is_inputs(value: Any) -> bool:
    return isinstance(value, dict)


def _is_label(value: Any) -> bool:
    return not isinstance(value, list | dict)


_LABEL: dict[str, Holds] = {
    "request_id": _is_text,
    "row": _is_row,
    "time": _is_time,
    "label": _is_label,
}
_ROW: dict[str, Holds] = {
    **_LABEL,
    "version": _is_text,
    "inputs": _is_inputs,
    "score": _is_score,
}


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
    whole = read.num_rows == rows and not any(read[name].null_count for name in _NEVER_NULL)
    if not whole:
        return None
    wanted = pc.and_not(pc.invert(read["mirrored"]), read["replayed"])
    if version is not None:
        wanted = pc.and_(wanted, pc.equal(read["version"], version))
    try:
        return tables.typed_rows(read.filter(wanted), model)
    except (ValueError, OverflowError, pa.ArrowInvalid):
        return None
