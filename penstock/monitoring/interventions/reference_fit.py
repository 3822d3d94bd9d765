"""Whether rows are of the kind that a version learned from, by its own reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from penstock.errors import InputError
from penstock.monitoring.settings.tolerances import Tolerances
from penstock.monitoring.signals.definitions import ERRORS, ROWS, Signal, signals_of
from penstock.monitoring.signals.distances import stability_index
from penstock.monitoring.signals.window import Window, measure
from penstock.records.reference import Reference

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_ROWS = 200
"""Rows below which it is not said which reference they fit: five blocks."""


@dataclass(frozen=True)
class Fit:
    """How far rows lie from a reference.

    Attributes:
        distance: Mean over the inputs of the population stability index, sampling error taken off.
        outside: Share of the inputs with a signal beyond its tolerance, 0 to 1.
        columns: These inputs, the furthest by that index first.
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
    index = stability_index(window.counts, reference)
    beyond = sorted(_beyond(window, signals.of(ROWS)), key=lambda name: -index.get(name, 0.0))
    return Fit(
        distance=fmean(index.get(name, 0.0) for name in columns) if columns else 0.0,
        outside=len(beyond) / max(1, len(columns)),
        columns=tuple(beyond),
    )


def _beyond(window: Window, tested: Sequence[Signal]) -> set[str]:
    """Return the columns that lie beyond their tolerance by more than chance explains."""
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
    far = np.abs(value - nearest) > ERRORS * error
    return {signal.column for signal, one in zip(tested, far.tolist(), strict=True) if one}
