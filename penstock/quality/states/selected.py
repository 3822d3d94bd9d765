"""A state that sees the rows that a row condition selects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.quality.selections import Selection, selected
from penstock.quality.states.base import OnePass, Rows, State


@dataclass
class Selected:
    """Gives the selected rows to another state.

    Args:
        selection: Which rows.
        inner: What takes them in.
    """

    selection: Selection
    inner: State

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that both read."""
        return tuple(dict.fromkeys([*self.selection.columns, *self.inner.columns]))

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        self.inner.update(selected(rows, self.selection))

    def merge(self, other: Selected) -> None:
        """Take in what another state saw."""
        self.inner.merge(other.inner)

    def follow_up(self) -> Selected | None:
        """Return the state of a second pass over the selected rows, if one is needed."""
        further = self.inner.follow_up()
        return None if further is None else Selected(self.selection, further)

    def finish(self) -> Any:
        """Return what was found."""
        return self.inner.finish()


@dataclass
class RowCount(OnePass):
    """Counts rows; of all rows the record knows the number."""

    count: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """None."""
        return ()

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        self.count += len(rows)

    def merge(self, other: RowCount) -> None:
        """Take in what another state saw."""
        self.count += other.count

    def finish(self) -> int:
        """Return the number of rows."""
        return self.count
