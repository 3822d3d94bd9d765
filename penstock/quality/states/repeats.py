"""Which values, or combinations of values, occur more than once.

The first pass keeps a 64-bit key of every value: its own bits, or a hash of a text or of a
combination. Where a key repeats, a second pass counts those rows; texts and combinations are
compared by value then, as different ones may share a hash.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

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
        keys: Room for keys, of which the first `filled` are there.
        filled: The different keys in order, and after them those of rows taken in lately.
        different: How many different ones there were when they were last put in order.
        repeated: Keys that are there more than once.
    """

    key: Key
    counted: bool = True
    checked: int = 0
    keys: Keys = field(default_factory=lambda: np.empty(0, np.uint64))
    filled: int = 0
    different: int = 0
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
        self._append(other.keys[: other.filled])

    def follow_up(self) -> RepeatedKeys | RepeatedTexts | None:
        """Return the state that counts rows with a repeated key; None if there is none to count."""
        self._compact()
        if not len(self.repeated) or (self.key.exact and not self.counted):
            return None
        single = self.filled - len(self.repeated)
        if self.key.exact:
            return RepeatedKeys(self.key, self.repeated, self.checked, single)
        return RepeatedTexts(self.key, self.repeated, self.checked, single)

    def repeats(self) -> Keys:
        """Return the keys that are there more than once, in order."""
        self._compact()
        return self.repeated

    def finish(self) -> Uniqueness:
        """Return what is known without a second pass."""
        self._compact()
        return Uniqueness(self.checked, self.filled, 0, [])

    def _append(self, keys: Keys) -> None:
        end = self.filled + len(keys)
        if end > len(self.keys):
            self._make_room(end + _PENDING)
        self.keys[self.filled : end] = keys
        self.filled = end
        if self.filled > 2 * self.different + _PENDING:
            self._compact()

    def _make_room(self, size: int) -> None:
        if not self.keys.flags.owndata:  # As it came from another process.
            self.keys = self.keys[: self.filled].copy()
        # In place: the C library moves large memory without a copy of it.
        self.keys.resize(size, refcheck=False)

    def _compact(self) -> None:
        """Put the keys in order and drop those that are there again, in their place."""
        together = self.keys[: self.filled]
        together.sort()
        again = together[1:] == together[:-1]
        if again.any():
            self.repeated = _union(self.repeated, _once(together[1:][again]))
            self.filled = _drop(together, again)
        self.different = self.filled


def _once(ordered: Keys) -> Keys:
    """Return the different ones of keys in order, of which there is at least one."""
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))]


def _drop(ordered: Keys, again: npt.NDArray[np.bool_]) -> int:
    """Move keys that are not like the one before them to the front; return how many there are."""
    end = 1
    for start in range(1, len(ordered), _PENDING):
        piece = ordered[start : start + _PENDING]
        single = piece[~again[start - 1 : start - 1 + len(piece)]]
        ordered[end : end + len(single)] = single
        end += len(single)
    return end


def _union(some: Keys, others: Keys) -> Keys:
    """Return the keys of either, both without repeats, in order."""
    if not len(some) or not len(others):
        return others if not len(some) else some
    return _once(np.sort(np.concatenate((some, others))))
