"""Which rows have a value, or a combination of values, that occurs more than once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.quality.states.base import OnePass, Rows
from penstock.quality.states.repeated import among
from penstock.quality.states.repeats import Repeats
from penstock.quality.states.sliced import sliced
from penstock.quality.states.unique_key import Key, Keys

if TYPE_CHECKING:
    import pyarrow as pa

_Numbers: TypeAlias = npt.NDArray[np.int64]


@dataclass
class Located:
    """Finds the rows that repeat, one slice of the keys after another.

    Memory grows with the rows that repeat: how many there are is known before.

    Args:
        key: What is to be unique.
        inner: What looks at the present slice.
        before: The rows that were found in the slices before it.
    """

    key: Key
    inner: Repeats | _OfKeys
    before: list[_Numbers]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.key.names

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        self.inner.update(rows)

    def merge(self, other: Located) -> None:
        """Take in what another state saw."""
        self.inner.merge(other.inner)  # type: ignore[arg-type]

    def follow_up(self) -> Located | None:
        """Return the state of the next pass: of this slice, or of the next one."""
        found = self.before
        if isinstance(self.inner, Repeats):
            repeated = self.inner.repeats()
            if len(repeated):
                return replace(self, inner=_OfKeys(self.key, repeated))
        else:
            found = [*found, self.inner.finish()]
        part = self.key.part.next()
        if part is None:
            return None
        key = replace(self.key, part=part)
        return Located(key, Repeats(key), found)

    def finish(self) -> _Numbers:
        """Return the numbers of the rows, in order."""
        last = [] if isinstance(self.inner, Repeats) else [self.inner.finish()]
        return np.sort(np.concatenate([np.empty(0, np.int64), *self.before, *last]))


@dataclass
class _OfKeys(OnePass):
    """Gathers the rows with some keys, and distinguishes different values that share one.

    Args:
        key: What is to be unique.
        repeated: The keys, in order.
        rows: Numbers of rows, batch by batch.
        texts: What each of them has, as a text that no other value has.
    """

    key: Key
    repeated: Keys
    rows: list[_Numbers] = field(default_factory=list)
    texts: list[pa.StringArray] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.key.names

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        keys, counts = self.key.keys(rows)
        again = counts & among(keys, self.repeated)
        if again.any():
            self.rows.append(rows.numbers_in_table[again])
            self.texts.append(self.key.texts(rows, again))

    def merge(self, other: _OfKeys) -> None:
        """Take in what another state saw."""
        self.rows += other.rows
        self.texts += other.texts

    def finish(self) -> _Numbers:
        """Return the rows whose value, and not only its key, is there more than once."""
        import pyarrow as pa

        coded = pa.concat_arrays(self.texts).dictionary_encode()
        codes = arrow.numbers(coded.indices)
        found: _Numbers = np.concatenate(self.rows)[np.bincount(codes)[codes] > 1]
        return found


def located(key: Key, rows: int) -> Located:
    """Return what finds the rows that repeat among so many."""
    part = sliced(key, rows)
    return Located(part, Repeats(part), [])
