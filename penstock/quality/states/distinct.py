"""How many different texts a column has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock.quality.states.base import OnePass, Rows
from penstock.quality.states.unique_key import Uniqueness

if TYPE_CHECKING:
    import pyarrow as pa

_PENDING = 1 << 20


@dataclass
class Distinct(OnePass):
    """Keeps the different texts of a column: memory grows with them, and not with the rows.

    Args:
        column: Its name.
        checked: Values.
        texts: The different ones; of rows that were taken in lately, some again.
    """

    column: str
    checked: int = 0
    texts: list[pa.Array] = field(default_factory=list)
    _varied: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        held = rows.batch.column(self.column)
        count = len(held) - held.null_count
        self.checked += count
        # Where few values repeat within a batch, to look for them once, later, is cheaper.
        texts = rows.values(self.column) if self._varied else rows.different(self.column)
        self._varied = self._varied or 2 * len(texts) > count
        self._append(texts)

    def merge(self, other: Distinct) -> None:
        """Take in what another state saw."""
        self.checked += other.checked
        for texts in other.texts:
            self._append(texts)

    def finish(self) -> Uniqueness:
        """Return how many there are."""
        self._compact()
        return Uniqueness(self.checked, sum(map(len, self.texts)), 0, [])

    def _append(self, texts: pa.Array) -> None:
        self.texts.append(texts)
        if sum(map(len, self.texts[1:])) > _PENDING + len(self.texts[0]):
            self._compact()

    def _compact(self) -> None:
        import pyarrow as pa

        if len(self.texts) > 1:
            self.texts = [pa.chunked_array(self.texts).unique()]
