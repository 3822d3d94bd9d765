"""Whether rows are of the kind that a version learned from, by its own reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penstock.errors import InputError
from penstock.monitoring.distances import distances
from penstock.monitoring.signals import ERRORS, ROWS, Signal, signals_of
from penstock.monitoring.tolerances import Tolerances
from penstock.monitoring.window import Window, measure
from penstock.records.reference import Reference

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]

LEAST_ROWS = 200
"""Rows below which it is not said which reference they fit: five blocks."""

_NAMED = 5
"""Columns that are named at most."""


@dataclass(frozen=True)
class Fit:
    """How far rows lie from a reference.

    Attributes:
        distance: Mean over the inputs of the population stability index, sampling error taken off.
        outside: Share of the signals beyond their tolerance, by their weight, 0 to 1. A column has
            the same weight as every other.
        columns: Columns of these signals, those with most weight first; a few.
    """

    distance: float
    outside: float
    columns: tuple[str, ...]


def fit_of(
    rows: pa.Table,
    reference: Reference,
    *,
    columns: Sequence[str],
    tolerances: Tolerances | None = None,
) -> Fit:
    """Return how far rows lie from a version's reference.

    A signal is beyond its tolerance if chance does not explain it: the rows' mean lies further from
    the nearest mean that is no drift than 2.5 standard errors. Those are of independent rows, or of
    blocks of 40 if that is more, so that rows of one user together are no evidence of drift.

    Args:
        rows: In order of time, as `penstock.captures.reader.read_window` returns them.
        reference: Of the rows that the version learned from.
        columns: The version's inputs.
        tolerances: What is no drift; None: the defaults.

    Raises:
        InputError: If there are fewer than 200 rows, or the rows lack one of the inputs, or have it
            in another type.
    """
    if rows.num_rows < LEAST_ROWS:
        raise InputError(
            f"{rows.num_rows:,} rows are too few to say what they fit; {LEAST_ROWS} are needed",
            where="the window",
        )
    signals = signals_of(reference, columns=columns, tolerances=tolerances)
    window = measure(rows, signals=signals, reference=reference)
    faults = [fault.message for fault in window.faults if fault.kind != "new"]
    if faults:
        raise InputError(" ".join(faults), where="the window")
    tested = signals.of(ROWS)
    beyond = _beyond(window, tested)
    weights: dict[str, float] = {}
    for signal, far in zip(tested, beyond, strict=True):
        if far:
            weights[signal.column] = weights.get(signal.column, 0.0) + signal.weight
    indexes = [one.psi for one in distances(window.counts, reference) if one.psi is not None]
    ranked = sorted(weights, key=lambda name: -weights[name])
    return Fit(
        distance=float(np.mean(indexes)) if indexes else 0.0,
        outside=min(1.0, sum(weights.values())),
        columns=tuple(ranked[:_NAMED]),
    )


def _beyond(window: Window, tested: Sequence[Signal]) -> NDArray[np.bool_]:
    """Return which signals lie beyond their tolerance by more than chance explains."""
    means = window.blocks.means
    blocks = len(means)
    value = means.mean(axis=0)
    low = np.array([signal.low for signal in tested])
    high = np.array([signal.high for signal in tested])
    # What the mean would be if it were just tolerated.
    nearest = np.clip(value, low, high)
    of_rows = nearest * (1 - nearest) / window.rows
    of_blocks = means.var(axis=0, ddof=1) / blocks
    error = np.sqrt(np.maximum(of_rows, of_blocks))
    return np.asarray(np.abs(value - nearest) > ERRORS * error)
