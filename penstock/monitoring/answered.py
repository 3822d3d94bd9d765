"""Scores of answered rows, kept until their labels come: by a hash of request and row, no inputs.

A label may come weeks after its answer, when the captured row is long gone.
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
from penstock.monitoring.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

_FOLDER = "answered"
_KEPT = re.compile(r"[0-9]+-[0-9]+\.npz")


@dataclass(frozen=True)
class Joined:
    """Labels that found their row.

    Attributes:
        places: Which of the labels they are, rising.
        scores: What was predicted for them, in that order, shape (n,) or (n, classes).
        times: When they were answered, in seconds since 1970, shape (n,).
    """

    places: NDArray[np.intp]
    scores: Floats
    times: Floats


class Answered:
    """The folder `answered` of a monitor: a file for each look.

    Args:
        storage: The monitor's files.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def keep(self, number: int, *, keys: Keys, scores: Floats, times: Floats) -> None:
        """Keep the rows of a look; the same look again replaces them.

        Raises:
            ServiceError: If they cannot be written.
        """
        if not len(keys):
            return
        name = f"{number:08d}-{len(keys)}.npz"
        held = io.BytesIO()
        np.savez(held, keys=keys, scores=scores, times=times)
        for old in self._names():
            if old.startswith(f"{number:08d}-") and old != name:
                self._storage.remove(_FOLDER, old)
        self._storage.write(_FOLDER, name, held.getvalue())

    def join(self, keys: Keys) -> Joined:
        """Return the labels whose rows are kept; the first answer of a row counts.

        Args:
            keys: Of the labels.
        """
        left = np.arange(len(keys))
        places: list[NDArray[np.intp]] = []
        scores: list[Floats] = []
        times: list[Floats] = []
        for name in self._names() if len(left) else ():
            if not len(left):
                break
            known, values, moments = self._read(name)
            if not len(known):
                continue
            order = np.argsort(known, kind="stable")
            ordered = known[order]
            at = np.minimum(np.searchsorted(ordered, keys[left]), len(ordered) - 1)
            hit = ordered[at] == keys[left]
            places.append(left[hit])
            scores.append(values[order[at[hit]]])
            times.append(moments[order[at[hit]]])
            left = left[~hit]
        if not places:
            return Joined(np.empty(0, dtype=np.intp), np.empty(0), np.empty(0))
        found = np.concatenate(places)
        rising = np.argsort(found, kind="stable")
        return Joined(found[rising], np.concatenate(scores)[rising], np.concatenate(times)[rising])

    def forget(self) -> None:
        """Delete all: they are another version's."""
        self._remove(self._names())

    def prune(self, *, rows: int) -> None:
        """Delete the oldest looks beyond a number of rows."""
        kept, gone = 0, []
        for name in reversed(self._names()):
            kept += int(name.partition("-")[2].removesuffix(".npz"))
            if kept > rows:
                gone.append(name)
        self._remove(gone)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            # What stays is deleted the next time.
            with contextlib.suppress(ServiceError):
                self._storage.remove(_FOLDER, name)

    def _read(self, name: str) -> tuple[Keys, Floats, Floats]:
        """Return keys, scores and times of a look; none where its file cannot be read."""
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            kept = np.load(io.BytesIO(self._storage.read(_FOLDER, name)))
            return kept["keys"], kept["scores"], kept["times"]
        return np.empty(0, dtype=np.uint64), np.empty(0), np.empty(0)

    def _names(self) -> list[str]:
        return [name for name in self._storage.names(_FOLDER) if _KEPT.fullmatch(name)]


def keys_of(table: pa.Table) -> Keys:
    """Return the hash of request and row of each row of a table."""
    requests: Iterable[str] = table.column("request_id").to_pylist()
    rows: Iterable[int] = table.column("row").to_pylist()
    digests = b"".join(
        hashlib.blake2b(f"{row} {request}".encode(), digest_size=8).digest()
        for request, row in zip(requests, rows, strict=True)
    )
    return np.frombuffer(digests, dtype=np.uint64)
