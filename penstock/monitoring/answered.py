"""Scores of answered rows, kept until their labels come: by a hash of request and row, no inputs.

A label may come weeks after its answer, when the captured row is long gone.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penstock.common.disk import writing

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]


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
        folder: The folder; made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, number: int, *, keys: Keys, scores: Floats, times: Floats) -> None:
        """Keep the rows of a look; the same look again replaces them.

        Raises:
            ServiceError: If they cannot be written.
        """
        if not len(keys):
            return
        path = self._folder / f"{number:08d}-{len(keys)}.npz"
        with writing(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            for old in self._folder.glob(f"{number:08d}-*.npz"):
                old.unlink()
            beside = path.with_suffix(".part")
            with beside.open("wb") as stream:
                np.savez(stream, keys=keys, scores=scores, times=times)
            beside.replace(path)

    def join(self, keys: Keys) -> Joined:
        """Return the labels whose rows are kept; the first answer of a row counts.

        Args:
            keys: Of the labels.
        """
        left = np.arange(len(keys))
        places: list[NDArray[np.intp]] = []
        scores: list[Floats] = []
        times: list[Floats] = []
        for path in self._paths():
            if not len(left):
                break
            known, values, moments = self._read(path)
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
        for path in self._paths():
            with contextlib.suppress(OSError):
                path.unlink()

    def prune(self, *, rows: int) -> None:
        """Delete the oldest looks beyond a number of rows."""
        kept = 0
        for path in reversed(self._paths()):
            kept += int(path.stem.partition("-")[2])
            if kept > rows:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _read(self, path: Path) -> tuple[Keys, Floats, Floats]:
        """Return keys, scores and times of a look; none where its file cannot be read."""
        with contextlib.suppress(OSError, ValueError, KeyError), np.load(path) as kept:
            return kept["keys"], kept["scores"], kept["times"]
        return np.empty(0, dtype=np.uint64), np.empty(0), np.empty(0)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*-[0-9]*.npz"))


def keys_of(table: pa.Table) -> Keys:
    """Return the hash of request and row of each row of a table."""
    requests: Iterable[str] = table.column("request_id").to_pylist()
    rows: Iterable[int] = table.column("row").to_pylist()
    digests = b"".join(
        hashlib.blake2b(f"{row} {request}".encode(), digest_size=8).digest()
        for request, row in zip(requests, rows, strict=True)
    )
    return np.frombuffer(digests, dtype=np.uint64)
