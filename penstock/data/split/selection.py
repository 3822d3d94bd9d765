"""The key at which a draw ends, found among keys that are read several times and never held.

The first pass counts rows by the leading bits of their keys. The key lies where the count reaches
the share, and only the keys there are gathered and sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.data.hashing.digest import Hashes
from penstock.data.split.copy_rule import Flags, Numbers
from penstock.data.split.spilled import SLICE

_MOST_BINS = 1 << 22
"""Counters of all strata together: 32 MB."""

_HIGHEST = 3
"""Keys that are remembered of each stratum, from the highest down: one more than a draw leaves."""

_SIGN = np.uint64(1 << 63)

Keys = Callable[[], Iterator[tuple[Numbers, Hashes, Flags]]]


@dataclass(frozen=True)
class Chosen:
    """A stratum in the order of its keys, of which those around the share are known.

    Attributes:
        units: How many different keys there are.
        rows: How many rows they have.
        before: How many rows have keys below `start`.
        start: The lowest key that could be in `keys`.
        keys: One for each row, in any order, where the number of rows reaches the share.
        highest: The highest keys of all, falling.
    """

    units: int
    rows: int
    before: int
    start: int
    keys: Hashes
    highest: Hashes

    def last(self, *, share: float, leave: int) -> int | None:
        """Return the key up to which units are drawn, so that rows come nearest to a share.

        Args:
            share: Of the rows.
            leave: Units that are not drawn, as far as there are more than these.

        Returns:
            None if nothing can be drawn.
        """
        most = max(self.units - leave, min(1, self.units - 1))
        if most < 1:
            return None
        wanted = share * float(self.rows)
        keys, rows = np.unique(self.keys, return_counts=True)
        reached = self.before + np.cumsum(rows)
        at = int(np.searchsorted(reached, wanted))
        earlier = int(reached[at - 1]) if at else self.before
        if earlier and abs(earlier - wanted) <= abs(int(reached[at]) - wanted):
            found = int(keys[at - 1]) if at else self.start - 1
        else:
            found = int(keys[at])
        return min(found, int(self.highest[self.units - most]))


def select(keys: Keys, *, strata: int, share: float, rows: int) -> list[Chosen]:
    """Return what is known of each stratum around a share of its rows.

    Args:
        keys: Yields, anew at each call, stratum and key of some rows, and which of these rows stand
            for their key: one for each different key.
        strata: How many there are.
        share: Of the rows.
        rows: How many there are about: more are counted by more bits.
    """
    bits = max(1, min(16, (rows >> 14).bit_length(), 22 - strata.bit_length()))
    shift = np.uint64(64 - bits)
    counted = np.zeros(strata << bits, dtype=np.int64)
    units = np.zeros(strata, dtype=np.int64)
    highest = np.zeros((strata, _HIGHEST), dtype=np.uint64)
    for stratum, key, stands in keys():
        place = (stratum << bits) + (key >> shift).astype(np.int64)
        counted += np.bincount(place, minlength=len(counted))
        units += np.bincount(stratum[stands], minlength=strata)
        _keep_highest(highest, stratum[stands], key[stands])
    reached = counted.reshape(strata, -1).cumsum(axis=1)
    total = reached[:, -1]
    at = np.array([np.searchsorted(one, share * float(one[-1])) for one in reached], dtype=np.int64)
    near: list[list[Hashes]] = [[] for _ in range(strata)]
    for stratum, key, _ in keys():
        inside = (key >> shift).astype(np.int64) == at[stratum]
        stratum, key = stratum[inside], key[inside]
        order = np.argsort(stratum, kind="stable")
        ends = np.cumsum(np.bincount(stratum, minlength=strata))
        for one, found in zip(near, np.split(key[order], ends[:-1]), strict=True):
            if len(found):
                one.append(found)
    return [
        Chosen(
            units=int(units[one]),
            rows=int(total[one]),
            before=int(reached[one, at[one] - 1]) if at[one] else 0,
            start=int(at[one]) << int(shift),
            keys=np.concatenate([np.empty(0, dtype=np.uint64), *near[one]]),
            highest=highest[one],
        )
        for one in range(strata)
    ]


def _keep_highest(highest: Hashes, stratum: Numbers, key: Hashes) -> None:
    """Put different keys among the highest of their strata, each row of which falls."""
    high = key > highest[stratum, -1]
    stratum, key = stratum[high], key[high]
    if not len(key):
        return
    order = np.lexsort((~key, stratum))
    stratum, key = stratum[order], key[order]
    changed, first = np.unique(stratum, return_index=True)
    ends = np.append(first[1:], len(stratum))
    for one, begin, end in zip(changed.tolist(), first.tolist(), ends.tolist(), strict=True):
        both = np.concatenate([highest[one], key[begin : min(end, begin + _HIGHEST)]])
        both.sort()
        highest[one] = both[::-1][:_HIGHEST]


def rising(values: npt.NDArray[Any]) -> Hashes:
    """Return keys that rise as whole numbers or floats do."""
    if values.dtype.kind == "i":
        return values.astype(np.int64).view(np.uint64) ^ _SIGN
    # Adding 0.0 turns -0.0 into 0.0.
    bits = np.add(values, 0.0).view(np.uint64)
    return np.asarray(np.where(bits & _SIGN, ~bits, bits | _SIGN))


def nearest(keys: Callable[[], Iterator[Hashes]], *, share: float) -> int:
    """Return the key from which on rows are nearest to a share of all; the lowest is never it.

    Args:
        keys: Yields the key of each row, anew at each call; there are at least two different ones.
        share: Of the rows.
    """
    bounds = [(int(one.min()), int(one.max()), len(one)) for one in keys() if len(one)]
    lowest, highest = min(b[0] for b in bounds), max(b[1] for b in bounds)
    wanted = share * float(sum(b[2] for b in bounds))
    low, high, above = lowest, highest, 0
    while True:
        shift = max(0, (high - low).bit_length() - 16)
        counted = np.zeros(((high - low) >> shift) + 1, dtype=np.int64)
        for one in keys():
            inside = one[(one >= low) & (one <= high)] - np.uint64(low)
            place = (inside >> np.uint64(shift)).astype(np.int64)
            counted += np.bincount(place, minlength=len(counted))
        newer = above + counted[::-1].cumsum()[::-1]
        at = int(np.flatnonzero(newer >= wanted).max())
        above = int(newer[at + 1]) if at + 1 < len(newer) else above
        low, high = low + (at << shift), min(high, low + ((at + 1) << shift) - 1)
        if shift == 0 or counted[at] <= SLICE:
            break
    found = np.concatenate([one[(one >= low) & (one <= high)] for one in keys()]) if shift else None
    different, rows = (
        (np.array([low], dtype=np.uint64), counted[at : at + 1])
        if found is None
        else np.unique(found, return_counts=True)
    )
    newer = above + rows[::-1].cumsum()[::-1]
    last = int(np.flatnonzero(newer >= wanted).max())
    reached, key = int(newer[last]), int(different[last])
    later = int(newer[last + 1]) if last + 1 < len(newer) else above
    if key == lowest or (later and abs(later - wanted) < abs(reached - wanted)):
        return key + 1
    return key
