"""Hashes of rows on disk, in parts that fit in memory one after another.

A row's part goes by the hash of its features, so rows that are equal but for their target are in
one part. Rows keep their order within a part: who walks through the table in its order and knows
each row's part reads what was found of it, part by part, from front to back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from penstock.data.hashing.digest import Hashes

SLICE = 1 << 18
"""Rows of a part, about, and the most that are read of it at a time."""

MOST_PARTS = 96
"""Files of two kinds are open at a time, of 256 that some systems allow. Beyond 25 million rows a
part has more of them: a million each at 100 million."""

Numbers: TypeAlias = npt.NDArray[np.int64]
Records: TypeAlias = npt.NDArray[Any]


def parts_for(rows: int) -> int:
    """Return how many parts a table of so many rows has."""
    return min(max(1, -(-rows // SLICE)), MOST_PARTS)


def part_of(keys: Hashes, parts: int) -> npt.NDArray[np.uint16]:
    """Return the part of each key; of hashes every part has about as many."""
    # Lemire's reduction, as `penstock.quality.states.unique_key` has it.
    at = (keys >> np.uint64(32)) * np.uint64(parts) >> np.uint64(32)
    return np.asarray(at, dtype=np.uint16)


class Spilled:
    """Records of fixed width in one file for each part.

    Args:
        folder: An existing folder.
        name: Of these records, beside others in the folder.
        parts: How many there are, at most 65,536.
        dtype: Of a record.
    """

    def __init__(self, folder: Path, name: str, parts: int, dtype: np.dtype[Any]) -> None:
        self.parts, self.dtype = parts, dtype
        self._paths = [folder / f"{name}-{at}" for at in range(parts)]
        for path in self._paths:
            path.touch()

    @contextlib.contextmanager
    def adding(self) -> Iterator[Adding]:
        """Yield what takes records of many parts, in any order of these."""
        with contextlib.ExitStack() as stack:
            yield Adding([stack.enter_context(path.open("ab")) for path in self._paths])

    def append(self, at: int, records: Records) -> None:
        """Put records behind those of one part."""
        with self._paths[at].open("ab") as stream:
            stream.write(np.ascontiguousarray(records, dtype=self.dtype).data)

    def write(self, at: int, records: Records) -> None:
        """Put records in the place of those of one part."""
        with self._paths[at].open("wb") as stream:
            stream.write(np.ascontiguousarray(records, dtype=self.dtype).data)

    def read(self, at: int) -> Records:
        """Return all records of a part."""
        return np.fromfile(self._paths[at], dtype=self.dtype)

    def pieces(self, at: int) -> Iterator[Records]:
        """Yield the records of a part in order, `SLICE` at a time."""
        with self._paths[at].open("rb") as stream:
            while len(piece := np.fromfile(stream, dtype=self.dtype, count=SLICE)):
                yield piece

    def everything(self) -> Iterator[Records]:
        """Yield the records of all parts, piece after piece."""
        for at in range(self.parts):
            yield from self.pieces(at)

    @contextlib.contextmanager
    def in_order(self) -> Iterator[InOrder]:
        """Yield what gives records in the order in which rows of several parts were added."""
        with contextlib.ExitStack() as stack:
            yield InOrder(
                [stack.enter_context(path.open("rb")) for path in self._paths], self.dtype
            )


class Adding:
    """Open files that take records."""

    def __init__(self, streams: list[IO[bytes]]) -> None:
        self._streams = streams

    def add(self, parts: npt.NDArray[np.uint16], records: Records) -> None:
        """Put each record behind those of its part."""
        order, ends = _by_part(parts, len(self._streams))
        for at, one in enumerate(np.split(records[order], ends[:-1])):
            self._streams[at].write(one.data)


class InOrder:
    """Open files that give records."""

    def __init__(self, streams: list[IO[bytes]], dtype: np.dtype[Any]) -> None:
        self._streams, self._dtype = streams, dtype

    def take(self, parts: npt.NDArray[np.uint16]) -> Records:
        """Return the next record of each row's part, shape of `parts`."""
        order, ends = _by_part(parts, len(self._streams))
        counts = np.diff(ends, prepend=0)
        found = [
            np.fromfile(stream, dtype=self._dtype, count=count)
            for stream, count in zip(self._streams, counts.tolist(), strict=True)
        ]
        records = np.empty(len(parts), dtype=self._dtype)
        records[order] = np.concatenate(found)
        return records


def _by_part(parts: npt.NDArray[np.uint16], of: int) -> tuple[Numbers, Numbers]:
    """Return the order that brings rows of a part together, and where each part ends in it."""
    order = np.argsort(parts, kind="stable")
    return order, np.cumsum(np.bincount(parts, minlength=of))
