"""Which values, or combinations of values, occur more than once.

The first pass keeps a 64-bit key of every value: its own bits, or a hash of a text or of a
combination. Where a key repeats, a second pass counts those rows; texts and combinations are
compared by value then, as different ones may share a hash.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from penstock.quality.states.base import Rows
from penstock.quality.states.repeated import RepeatedKeys, RepeatedTexts
from penstock.quality.states.unique_key import Key, Keys, Uniqueness

_NONE: Keys = np.empty(0, np.uint64)
_PENDING = 1 << 20


@dataclass
class Repeats:
    """The first pass: the different keys, and which of them repeat.

    Args:
        key: What is to be unique.
        counted: Whether the rows that repeat are to be counted, and not only the different values.
        checked: Rows that count.
        seen: The different keys in order; of rows that were taken in lately, any keys.
        repeated: Keys that are there more than once.
    """

    key: Key
    counted: bool = True
    checked: int = 0
    seen: list[Keys] = field(default_factory=list)
    repeated: Keys = field(default_factory=lambda: _NONE)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.key.names

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        keys, counts = self.key.keys(rows)
        keys = keys[counts]
        self.checked += len(keys)
        self._append(keys)

    def merge(self, other: Repeats) -> None:
        """Take in what another state saw."""
        self.checked += other.checked
        self.repeated = _union(self.repeated, other.repeated)
        for keys in other.seen:
            self._append(keys)

    def follow_up(self) -> RepeatedKeys | RepeatedTexts | None:
        """Return the state that counts rows with a repeated key; None if there is none to count."""
        self._compact()
        if not len(self.repeated) or (self.key.exact and not self.counted):
            return None
        single = len(self.seen[0]) - len(self.repeated)
        if self.key.exact:
            return RepeatedKeys(self.key, self.repeated, self.checked, single)
        return RepeatedTexts(self.key, self.repeated, self.checked, single)

    def repeats(self) -> Keys:
        """Return the keys that are there more than once, in order."""
        self._compact()
        return self.repeated

    def finish(self) -> Uniqueness:
        """Return what is known without a second pass."""
        return Uniqueness(self.checked, sum(map(len, self.seen)), 0, [])

    def _append(self, keys: Keys) -> None:
        self.seen.append(keys)
        if sum(map(len, self.seen[1:])) > _PENDING + len(self.seen[0]):
            self._compact()

    def _compact(self) -> None:
        if self.seen:
            keys, again = _single(np.concatenate(self.seen))
            self.seen, self.repeated = [keys], _union(self.repeated, again)


def _single(keys: Keys) -> tuple[Keys, Keys]:
    """Return the different keys in order, and those that are there more than once."""
    ordered = np.sort(keys)
    again = ordered[1:] == ordered[:-1]
    if not again.any():
        return ordered, _NONE
    repeats = ordered[1:][again]
    once = np.concatenate(([True], repeats[1:] != repeats[:-1]))
    return ordered[np.concatenate(([True], ~again))], repeats[once]


def _union(some: Keys, others: Keys) -> Keys:
    """Return the keys of either, both without repeats, in order."""
    if not len(some) or not len(others):
        return others if not len(some) else some
    return _single(np.concatenate((some, others)))[0]
