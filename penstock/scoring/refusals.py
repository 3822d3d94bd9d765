"""Rows that the server would answer with 400: which, where, why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from penstock.records.scores import Refusal, RefusalCount

_EXAMPLES = 3


@dataclass(frozen=True)
class RefusedRow:
    """One row that is not scored.

    Attributes:
        row: Its place in the source, counted from 1.
        where: The same in words: file and line where the source has them.
        column: The column at fault; empty: the row as a whole.
        reason: What is wrong, in the server's words.
        values: The row as it was given, by column.
    """

    row: int
    where: str
    column: str
    reason: str
    values: Mapping[str, Any]

    def json(self) -> bytes:
        """Return it as it is written."""
        line = {
            "row": self.row,
            "where": self.where,
            "column": self.column,
            "reason": self.reason,
            "values": dict(self.values),
        }
        return _dumped(line)

    def values_json(self) -> str:
        """Return its values alone, as they are written."""
        return _dumped(dict(self.values)).decode()


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=str)
    except TypeError:
        # What was refused may be what JSON cannot hold: half a character, 2^70.
        return orjson.dumps(_writable(value), default=str)


def _writable(value: Any) -> Any:
    """Return a value with as text what no reader of JSON takes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    if isinstance(value, Mapping):
        return {_writable(str(name)): _writable(inner) for name, inner in value.items()}
    return [_writable(inner) for inner in value] if isinstance(value, list | tuple) else value


@dataclass
class Tally:
    """Counts refused rows by column, with the first of each as examples."""

    rows: int = 0
    _found: dict[str, tuple[int, list[Refusal]]] = field(default_factory=dict)

    def add(self, refused: Iterable[RefusedRow]) -> None:
        """Count some rows."""
        for one in refused:
            self.rows += 1
            count, examples = self._found.get(one.column, (0, []))
            if len(examples) < _EXAMPLES:
                example = Refusal(row=one.row, where=one.where, reason=one.reason)
                examples = [*examples, example]
            self._found[one.column] = (count + 1, examples)

    def add_counts(self, counts: Iterable[RefusalCount]) -> None:
        """Count what was counted before."""
        for each in counts:
            self.rows += each.rows
            count, examples = self._found.get(each.column, (0, []))
            kept = [*examples, *each.examples][:_EXAMPLES]
            self._found[each.column] = (count + each.rows, kept)

    def counts(self) -> tuple[RefusalCount, ...]:
        """Return what was counted, by column."""
        return tuple(
            RefusalCount(column=column, rows=rows, examples=tuple(examples))
            for column, (rows, examples) in sorted(self._found.items())
        )
