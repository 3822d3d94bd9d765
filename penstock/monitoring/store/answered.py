"""Scores of answered rows, kept until their labels come: by a hash of request and row, no inputs.

A label may come weeks after its answer, when the captured row is long gone. Beside a score stands
the code of the row's groups, where the policy compares any, and whether its label has come.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penstock.errors import ServiceError
from penstock.monitoring.store.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

_AT_ONCE = 1024
"""Rows of a request that are looked for at once, until so many in a row are not there."""

_FOLDER = "answered"
_KEPT = re.compile(r"[0-9]+-[0-9]+\.npz")
_NOTED = ".labelled"
"""Ending of the files that say in which look the label of each row came; 0: in none."""

_EARLIER = 1
"""What stands for the look where a release before noted a bit for each row."""


@dataclass(frozen=True)
class Joined:
    """Labels that found their row.

    Attributes:
        places: Which of the labels they are, rising.
        scores: What was predicted for them, in that order, shape (n,) or (n, classes).
        times: When they were answered, in seconds since 1970, shape (n,).
        codes: Of their groups, as they were kept, shape (n, groups); -1: not known.
        repeated: Labels of rows that had theirs in an earlier look; these count no second time.
        found: Rows in their files, to be noted once the labels are used.
    """

    places: NDArray[np.intp]
    scores: Floats
    times: Floats
    codes: NDArray[np.int64]
    repeated: int = 0
    found: tuple[tuple[str, NDArray[np.intp]], ...] = ()


@dataclass(frozen=True)
class _Kept:
    """The rows of a look."""

    keys: Keys
    scores: Floats
    times: Floats
    codes: NDArray[np.int64]


class Answered:
    """The folder `answered` of a monitor: a file for each look.

    Args:
        storage: The monitor's files.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def keep(
        self,
        number: int,
        *,
        keys: Keys,
        scores: Floats,
        times: Floats,
        codes: NDArray[np.int64] | None = None,
    ) -> None:
        """Keep the rows of a look; the same look again replaces them.

        Args:
            number: Of the look.
            keys: Of the rows, shape (n,).
            scores: Shape (n,) or (n, classes).
            times: When they were answered, in seconds since 1970, shape (n,).
            codes: Of their groups, shape (n, groups); None: of none.

        Raises:
            ServiceError: If they cannot be written.
        """
        if not len(keys):
            return
        name = f"{number:08d}-{len(keys)}.npz"
        codes = np.empty((len(keys), 0), dtype=np.int64) if codes is None else codes
        small = codes.astype(np.min_scalar_type(-int(codes.max(initial=0)) - 1))
        for old in self._storage.names(_FOLDER):
            if old.startswith(f"{number:08d}-") and old != name:
                self._storage.remove(_FOLDER, old)
        self._write(name, _Kept(keys, scores, times, small))

    def join(self, number: int, keys: Keys, *, groups: int = 0) -> Joined:
        """Return the labels whose rows are kept.

        The first answer of a row counts, and the first look in which its label came: labels that
        are sent again, or to another server too, are no new evidence.

        Args:
            number: Of the look: what it noted before it was cut short counts as not noted.
            keys: Of the labels.
            groups: How many codes a row has.
        """
        left = np.arange(len(keys))
        places: list[NDArray[np.intp]] = []
        found: list[_Kept] = []
        noted: list[tuple[str, NDArray[np.intp]]] = []
        repeated = 0
        for name in self._names() if len(left) else ():
            if not len(left):
                break
            kept = self._read(name)
            if not len(kept.keys):
                continue
            order = np.argsort(kept.keys, kind="stable")
            ordered = kept.keys[order]
            at = np.minimum(np.searchsorted(ordered, keys[left]), len(ordered) - 1)
            hit = ordered[at] == keys[left]
            if not hit.any():
                continue
            rows = order[at[hit]]
            came = self._noted(name, count=len(kept.keys))[rows]
            new = (came == 0) | (came == number)
            repeated += int((~new).sum())
            noted.append((name, rows[new]))
            places.append(left[hit][new])
            found.append(_rows_of(kept, rows[new], groups=groups))
            left = left[~hit]
        if not places:
            nothing = np.empty((0, groups), dtype=np.int64)
            return Joined(np.empty(0, dtype=np.intp), np.empty(0), np.empty(0), nothing, repeated)
        every = np.concatenate(places)
        rising = np.argsort(every, kind="stable")
        return Joined(
            every[rising],
            np.concatenate([one.scores for one in found])[rising],
            np.concatenate([one.times for one in found])[rising],
            np.concatenate([one.codes for one in found])[rising],
            repeated,
            tuple(noted),
        )

    def note(self, number: int, joined: Joined) -> None:
        """Note that the labels of rows have come.

        Args:
            number: Of the look in which they came.
            joined: What was found of them.

        Raises:
            ServiceError: If it cannot be noted.
        """
        for name, rows in joined.found:
            came = self._noted(name, count=_count_of(name))
            came[rows] = number
            self._storage.write(_FOLDER, _noted_beside(name), came.astype("<u4").tobytes())

    @property
    def rows(self) -> int:
        """How many rows are kept."""
        return sum(_count_of(name) for name in self._names())

    def labelled(self, *, since: float, until: float) -> tuple[int, int, float | None]:
        """Return rows that were answered in a time, how many have labels, and the oldest row.

        Args:
            since: Seconds since 1970.
            until: Seconds since 1970; rows of that moment are left out.
        """
        rows, known, oldest = 0, 0, None
        for name in self._names():
            kept = self._read(name)
            if not len(kept.keys):
                continue
            first = float(kept.times.min())
            oldest = first if oldest is None else min(oldest, first)
            due = (kept.times >= since) & (kept.times < until) & (kept.keys != 0)
            rows += int(due.sum())
            known += int((due & (self._noted(name, count=len(kept.keys)) > 0)).sum())
        return rows, known, oldest

    def erase(self, keys: Keys) -> int:
        """Erase rows: their hash, scores and groups; return how many there were.

        Raises:
            ServiceError: If they cannot be written.
        """
        erased = 0
        for name in self._names():
            kept = self._read(name)
            gone = np.isin(kept.keys, keys) & (kept.keys != 0)
            if not gone.any():
                continue
            erased += int(gone.sum())
            blank = gone[:, None] if kept.scores.ndim > 1 else gone
            self._write(
                name,
                _Kept(
                    np.where(gone, np.uint64(0), kept.keys),
                    np.where(blank, np.nan, kept.scores),
                    kept.times,
                    np.where(gone[:, None], -1, kept.codes).astype(kept.codes.dtype),
                ),
            )
        return erased

    def erase_request(self, request_id: str) -> int:
        """Erase all rows of a request, also those whose captured rows are gone.

        Raises:
            ServiceError: If they cannot be written.
        """
        erased, first = 0, 0
        while True:
            rows = ((request_id, row) for row in range(first, first + _AT_ONCE))
            found = self.erase(keys_of_rows(rows))
            if not found:
                return erased
            erased, first = erased + found, first + _AT_ONCE

    def forget(self) -> None:
        """Delete all: they are another version's."""
        self._remove(self._names())

    def prune(self, *, rows: int) -> None:
        """Delete the oldest looks beyond a number of rows."""
        kept, gone = 0, []
        for name in reversed(self._names()):
            kept += _count_of(name)
            if kept > rows:
                gone.append(name)
        self._remove(gone)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            for each in (name, _noted_beside(name)):
                # What stays is deleted the next time.
                with contextlib.suppress(ServiceError):
                    self._storage.remove(_FOLDER, each)

    def _write(self, name: str, kept: _Kept) -> None:
        held = io.BytesIO()
        np.savez(held, keys=kept.keys, scores=kept.scores, times=kept.times, codes=kept.codes)
        self._storage.write(_FOLDER, name, held.getvalue())

    def _read(self, name: str) -> _Kept:
        """Return the rows of a look; none where its file cannot be read."""
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            kept = np.load(io.BytesIO(self._storage.read(_FOLDER, name)))
            keys = kept["keys"]
            # An earlier release kept no groups.
            codes = kept["codes"] if "codes" in kept else np.empty((len(keys), 0), dtype=np.int64)
            return _Kept(keys, kept["scores"], kept["times"], codes)
        empty = np.empty(0)
        return _Kept(np.empty(0, dtype=np.uint64), empty, empty, np.empty((0, 0), dtype=np.int64))

    def _noted(self, name: str, *, count: int) -> NDArray[np.int64]:
        """Return in which look the label of each row of a look came; 0: in none."""
        with contextlib.suppress(OSError, ValueError):
            held = self._storage.read(_FOLDER, _noted_beside(name))
            if len(held) == 4 * count:
                return np.frombuffer(held, "<u4").astype(np.int64)
            bits = np.frombuffer(held, np.uint8)
            return np.unpackbits(bits, count=count).astype(np.int64) * _EARLIER
        return np.zeros(count, dtype=np.int64)

    def _names(self) -> list[str]:
        return [name for name in self._storage.names(_FOLDER) if _KEPT.fullmatch(name)]


def _count_of(name: str) -> int:
    """Return how many rows a look kept, which its file's name says."""
    return int(name.partition("-")[2].removesuffix(".npz"))


def _noted_beside(name: str) -> str:
    return name.removesuffix(".npz") + _NOTED


def _rows_of(kept: _Kept, rows: NDArray[np.intp], *, groups: int) -> _Kept:
    codes = kept.codes[rows].astype(np.int64)
    if codes.shape[1] != groups:
        codes = np.full((len(rows), groups), -1, dtype=np.int64)
    return _Kept(kept.keys[rows], kept.scores[rows], kept.times[rows], codes)


def keys_of(table: pa.Table) -> Keys:
    """Return the hash of request and row of each row of a table."""
    requests: Iterable[str] = table.column("request_id").to_pylist()
    rows: Iterable[int] = table.column("row").to_pylist()
    return keys_of_rows(zip(requests, rows, strict=True))


def keys_of_rows(rows: Iterable[tuple[str, int]]) -> Keys:
    """Return the hash of each request and row."""
    digests = b"".join(
        hashlib.blake2b(f"{row} {request}".encode(), digest_size=8).digest()
        for request, row in rows
    )
    return np.frombuffer(digests, dtype=np.uint64)
