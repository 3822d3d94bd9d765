"""Rows that the server would answer with 400: which, where, why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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

    def line(self) -> dict[str, Any]:
        """Return it as it is written."""
        return {
            "row": self.row,
            "where": self.where,
            "column": self.column,
            "reason": self.reason,
            "values": dict(self.values),
        }


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
