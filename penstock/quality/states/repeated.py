"""The second look at repeats: the rows whose key is there more than once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.quality.states.base import OnePass, Rows
from penstock.quality.states.kept import draw, first, is_drawn
from penstock.quality.states.occurrences import Occurrences
from penstock.quality.states.unique_key import Key, Keys, Uniqueness


@dataclass
class RepeatedKeys(OnePass):
    """Draws rows with a repeated key, where equal keys are equal values.

    Their number is known: that of all rows less those whose key is single.

    Args:
        key: What is to be unique.
        repeated: The keys that repeat, in order.
        checked: Rows that count.
        single: Different keys that do not repeat.
        drawn: The first 200 rows with a repeated key.
    """

    key: Key
    repeated: Keys
    checked: int
    single: int
    drawn: list[tuple[int, Any]] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.key.names

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        if is_drawn(self.drawn, rows):
            return
        keys, counts = self.key.keys(rows)
        again = counts & among(keys, self.repeated)
        self.drawn = draw(self.drawn, rows, arrow.booleans(~again), self.key.names)

    def merge(self, other: RepeatedKeys) -> None:
        """Take in what another state saw."""
        self.drawn = first(self.drawn + other.drawn)

    def finish(self) -> Uniqueness:
        """Return what is known."""
        distinct = self.single + len(self.repeated)
        return Uniqueness(self.checked, distinct, self.checked - self.single, self.drawn)


@dataclass
class RepeatedTexts(OnePass):
    """Counts the values of rows with a repeated key, where different values may share one.

    Args:
        key: What is to be unique.
        repeated: The keys that repeat, in order.
        checked: Rows that count.
        single: Different keys that do not repeat.
        found: Different values, as texts.
        drawn: The first 200 rows with a repeated key: number, text and values.
    """

    key: Key
    repeated: Keys
    checked: int
    single: int
    found: Occurrences = field(default_factory=Occurrences)
    drawn: list[tuple[int, tuple[str, Any]]] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.key.names

    @property
    def everything(self) -> bool:
        """Whether all values are counted: to pick out those of single rows would cost more."""
        return self.single <= len(self.repeated) and self.key.part.of == 1

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        again = None if self.everything else self._again(rows)
        self.found.add(self.key.texts(rows, again).value_counts())
        if not is_drawn(self.drawn, rows):
            self._draw(rows, self._again(rows) if again is None else again)

    def merge(self, other: RepeatedTexts) -> None:
        """Take in what another state saw."""
        self.found.merge(other.found)
        self.drawn = first(self.drawn + other.drawn)

    def finish(self) -> Uniqueness:
        """Return what is known."""
        self.found.compact()
        (counts,) = self.found.counts
        distinct = len(counts) + (0 if self.everything else self.single)
        unexpected = int(counts[counts > 1].sum())
        return Uniqueness(self.checked, distinct, unexpected, self._broken(counts))

    def _again(self, rows: Rows) -> npt.NDArray[np.bool_]:
        keys, counts = self.key.keys(rows)
        return counts & among(keys, self.repeated)

    def _draw(self, rows: Rows, again: npt.NDArray[np.bool_]) -> None:
        drawn = draw([], rows, arrow.booleans(~again), self.key.names)
        chosen = np.isin(rows.numbers_in_table, [row for row, _ in drawn])
        texts = self.key.texts(rows, chosen).to_pylist()
        with_texts = [(row, (text, value)) for (row, value), text in zip(drawn, texts, strict=True)]
        self.drawn = first(self.drawn + with_texts)

    def _broken(self, counts: npt.NDArray[np.int64]) -> list[tuple[int, Any]]:
        """Return the drawn rows whose value, and not only its key, is there more than once."""
        import pyarrow.compute as pc

        if not self.drawn:
            return []
        texts = arrow.texts([text for _, (text, _) in self.drawn])
        at = arrow.numbers(pc.index_in(texts, value_set=self.found.values[0]))
        often = counts[at] > 1
        return [
            (row, value) for (row, (_, value)), kept in zip(self.drawn, often, strict=True) if kept
        ]


def among(keys: Keys, ordered: Keys) -> npt.NDArray[np.bool_]:
    """Return which keys are among some in order, of which there is at least one."""
    at = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    found: npt.NDArray[np.bool_] = ordered[at] == keys
    return found
