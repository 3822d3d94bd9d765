"""Uniqueness in bounded memory: one slice of the keys at a time.

A pass keeps the keys of one slice alone, so memory is that of a slice however many rows there are;
a table of twice the rows is read twice as often, of the columns that are to be unique.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from penstock.quality.states.base import Rows
from penstock.quality.states.kept import first
from penstock.quality.states.repeated import RepeatedKeys, RepeatedTexts
from penstock.quality.states.repeats import Repeats
from penstock.quality.states.unique_key import Key, Slice, Uniqueness

_ROWS = 1 << 24
"""Most keys of a slice, about: 128 MB, and twice that while they are put in order."""

_Inner: TypeAlias = Repeats | RepeatedKeys | RepeatedTexts


@dataclass
class Sliced:
    """Looks for repeats in one slice of the keys after another.

    Args:
        key: What is to be unique.
        counted: Whether the rows that repeat are to be counted, and not only the different values.
        inner: What looks at the present slice.
        before: What is known of the slices before it.
    """

    key: Key
    counted: bool
    inner: _Inner
    before: Uniqueness

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.key.names

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        self.inner.update(rows)

    def merge(self, other: Sliced) -> None:
        """Take in what another state saw."""
        self.inner.merge(other.inner)  # type: ignore[arg-type]

    def follow_up(self) -> Sliced | None:
        """Return the state of the next pass: of this slice, or of the next one."""
        further = self.inner.follow_up()
        if further is not None:
            return replace(self, inner=further)
        part = self.key.part.next()
        if part is None:
            return None
        key = replace(self.key, part=part)
        return Sliced(key, self.counted, Repeats(key, self.counted), self.finish())

    def finish(self) -> Uniqueness:
        """Return what is known of all slices so far."""
        found = self.inner.finish()
        return Uniqueness(
            checked=self.before.checked + found.checked,
            distinct=self.before.distinct + found.distinct,
            unexpected=self.before.unexpected + found.unexpected,
            drawn=first(self.before.drawn + found.drawn),
        )


def uniqueness(key: Key, counted: bool, rows: int) -> Sliced:
    """Return what looks for repeats among the keys of so many rows."""
    part = sliced(key, rows)
    return Sliced(part, counted, Repeats(part, counted), Uniqueness(0, 0, 0, []))


def sliced(key: Key, rows: int) -> Key:
    """Return a key of the first of as many slices as so many rows need."""
    return replace(key, part=Slice(0, max(1, -(-rows // _ROWS))))
