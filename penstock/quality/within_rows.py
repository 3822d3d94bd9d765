"""Conditions on the values that one row has in several columns."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from penstock.data import arrow
from penstock.quality.conditions import Compared, counting
from penstock.quality.states.base import Rows
from penstock.quality.values import MISSING, Members

if TYPE_CHECKING:
    import pyarrow as pa

_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PairAmong:
    """The values of two columns are one of some pairs; None in a pair is a missing value.

    Args:
        left: A column and the first value of each pair.
        right: Another column and the second values.
        ignore: Which rows do not count: those where `all` or `any` of both are missing, or `none`.
    """

    left: Members
    right: Members
    ignore: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Both columns."""
        return (self.left.column, self.right.column)

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        width = len(self.right.array()) + 1
        allowed = np.zeros((len(self.left.array()) + 1, width), dtype=bool)
        for left, right in zip(self.left.places(), self.right.places(), strict=True):
            if left is not None and right is not None:
                allowed[left, right] = True
        first, first_known = _places(rows, self.left)
        second, second_known = _places(rows, self.right)
        holds = first_known & second_known & allowed[first, second]
        return counting([rows.column(name) for name in self.columns], holds, self.ignore)


def _places(rows: Rows, members: Members) -> tuple[npt.NDArray[np.int64], _Flags]:
    """Return of each value its place among those of the pairs, and whether it has one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = rows.exact(members.column)
    at = pc.index_in(values, value_set=members.array())
    found = arrow.flags(at.is_valid())
    places = np.where(found, arrow.numbers(at.cast(pa.int64())) + 1, MISSING)
    return places, found | arrow.flags(values.is_null())


@dataclass(frozen=True)
class AllEqual:
    """The values of several columns are equal; missing ones are equal to each other.

    Args:
        names: Columns of one type, or all numbers.
        ignore: Which rows do not count, as above.
    """

    names: tuple[str, ...]
    ignore: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns."""
        return self.names

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        pairs = [(self.names[0], other) for other in self.names[1:]]
        holds = functools.reduce(np.logical_and, _same(rows, pairs))
        return counting([rows.column(name) for name in self.names], holds, self.ignore)


@dataclass(frozen=True)
class AllDifferent:
    """No two of several columns have the same value; two missing ones are the same.

    Args:
        names: Columns of one type.
        ignore: Which rows do not count, as above.
    """

    names: tuple[str, ...]
    ignore: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns."""
        return self.names

    def __call__(self, rows: Rows) -> pa.BooleanArray:
        """Return for each row whether it holds."""
        pairs = list(itertools.combinations(self.names, 2))
        holds = ~functools.reduce(np.logical_or, _same(rows, pairs))
        return counting([rows.column(name) for name in self.names], holds, self.ignore)


def _same(rows: Rows, pairs: Sequence[tuple[str, str]]) -> Iterator[_Flags]:
    """Yield for each pair of columns in which rows they have the same value, or none."""
    for one, other in pairs:
        equal = Compared(one, other, equal=True, greater=False, ignore="none")(rows)
        missing = [arrow.flags(rows.column(name).is_null()) for name in (one, other)]
        yield arrow.flags(equal) | (missing[0] & missing[1])
