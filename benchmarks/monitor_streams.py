"""Rows that a simulated service is asked, for bench_monitor.py and its peers: 20 mixed columns.

It imports nothing of penstock at the top, for the peers run in environments of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import ndtr

if TYPE_CHECKING:
    from penstock.records.reference import Reference

Floats = npt.NDArray[np.float64]

COLUMNS = 20
USER = 25
"""Rows of one user."""

ALIKE = 0.5
"""Correlation of two rows of one user, in each column."""

SPAN = 3
"""Windows over which a user's rows are spread."""

NUMBER, TEXT = "n1", "c12"
"""The columns to which something happens."""

_LEVELS = np.array([f"level-{k}" for k in range(12)])
_SHARES = np.cumsum([0.3, 0.2, 0.1, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01, 0.01])


def columns(latent: Floats) -> dict[str, pa.Array]:
    """Return 8 numbers, half of them with heavy tails, 4 whole ones, 5 texts and 3 booleans.

    Args:
        latent: Rows x 20, standard normal.
    """
    found: dict[str, pa.Array] = {}
    for k in range(8):
        found[f"n{k}"] = pa.array(latent[:, k] if k % 2 else np.exp(latent[:, k]))
    for k in range(8, 12):
        whole = np.floor(ndtr(latent[:, k]) * (10 if k % 2 else 90))
        found[f"i{k}"] = pa.array(whole.astype(np.int64))
    for k in range(12, 15):
        places = np.searchsorted(_SHARES[:-1], ndtr(latent[:, k]))
        found[f"c{k}"] = pa.array(_LEVELS[places])
    for k in range(15, 17):
        # Many levels, as shops or postcodes: 300 even ones, and 1,000 of which few are frequent.
        share = ndtr(latent[:, k])
        places = np.floor(300 * share if k == 15 else 1000**share - 1).astype(np.int64)
        found[f"c{k}"] = pa.array(np.char.add("m", places.astype("U4")))
    for k in range(17, 20):
        found[f"b{k}"] = pa.array(latent[:, k] < 0.5)
    return found


def independent(rng: np.random.Generator, rows: int) -> Floats:
    """Return rows that have nothing to do with each other."""
    return rng.normal(size=(rows, COLUMNS))


def together(rng: np.random.Generator, rows: int) -> Floats:
    """Return rows of users, 25 in a row of each; the first may be cut."""
    users = rng.normal(size=(rows // USER + 2, COLUMNS)).repeat(USER, axis=0)
    first = int(rng.integers(USER))
    return _alike(users[first : first + rows], rng)


def _alike(users: Floats, rng: np.random.Generator) -> Floats:
    return math.sqrt(ALIKE) * users + math.sqrt(1 - ALIKE) * rng.normal(size=users.shape)


class Spread:
    """Users whose 25 rows are spread over three windows, and over each window."""

    def __init__(self) -> None:
        self._users = np.empty((0, COLUMNS))
        self._windows = np.empty(0, np.int64)
        self._now = 0

    def __call__(self, rng: np.random.Generator, rows: int) -> Floats:
        """Return the next window, of about so many rows."""
        for _ in range(1 if self._now else SPAN):
            users = rng.normal(size=(rows // USER, COLUMNS)).repeat(USER, axis=0)
            self._users = np.concatenate([self._users, users])
            at = self._now + rng.integers(0, SPAN, size=len(users))
            self._windows = np.append(self._windows, at)
        due = self._windows <= self._now
        users = rng.permutation(self._users[due])
        self._users, self._windows = self._users[~due], self._windows[~due]
        self._now += 1
        return _alike(users, rng)


def at_tolerance(rng: np.random.Generator, rows: int) -> Floats:
    """Return independent rows, one column of which has shifted by what is tolerated."""
    latent = independent(rng, rows)
    latent[:, 1] += 0.05
    return latent


def rows_of(kind: str) -> Callable[[np.random.Generator, int], Floats]:
    """Return what makes the rows of a kind of traffic."""
    return Spread() if kind == "spread" else _KINDS[kind]


_KINDS = {"independent": independent, "together": together, "tolerance": at_tolerance}


def changed(
    latent: Floats, change: str, size: float, rng: np.random.Generator
) -> dict[str, pa.Array]:
    """Return the columns of rows to which something has happened.

    Args:
        latent: Rows as they were.
        change: `shift` of a number by `size` standard deviations, `missing` values in it or a
            `level` of a text that is new, in a share `size` of the rows; or nothing.
        size: How much.
        rng: Which rows.
    """
    if change == "shift":
        latent = latent.copy()
        latent[:, 1] += size
    found = columns(latent)
    hit = rng.random(len(latent)) < size
    if change == "missing":
        found[NUMBER] = pa.array(found[NUMBER].to_numpy(), mask=hit)
    if change == "level":
        texts = found[TEXT].to_numpy(zero_copy_only=False)
        found[TEXT] = pa.array(np.where(hit, "level-new", texts))
    return found


def captured(found: dict[str, pa.Array], *, hour: int) -> pa.Table:
    """Return columns as rows that a server captured within an hour."""
    table = pa.table({f"inputs.{name}": values for name, values in found.items()})
    seconds = 3600 * (hour + np.arange(len(table)) / len(table))
    times = pa.array((seconds * 1e6).astype(np.int64))
    return table.append_column("time", times.cast(pa.timestamp("us", tz="UTC")))


def reference_of(found: dict[str, pa.Array]) -> Reference:
    """Return the reference that training keeps of columns."""
    import tempfile
    from pathlib import Path

    from penstock.data.profile.reference import reference_of as kept
    from penstock.data.table import write_dataset

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "rows"
        write_dataset(pa.table(found).to_batches(), output=output, source="simulated")
        return kept(output)


def frame(found: dict[str, pa.Array]) -> Any:
    """Return columns as the pandas frame that the peers take."""
    table = pa.table(found)
    return table.to_pandas()
