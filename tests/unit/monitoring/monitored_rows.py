"""Simulated rows: a reference of them, and captured ones of an hour each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from penstock.data.profile.reference import reference_of
from penstock.data.table import write_dataset
from penstock.monitoring.signals.definitions import Signals
from penstock.monitoring.signals.detector import State, Update, start, update
from penstock.monitoring.signals.window import measure
from penstock.records.reference import Reference, ReferenceColumn

HOUR = 3600.0
COLORS = np.array(["red", "green", "blue", "gray"])


def reference_to(columns: Mapping[str, Any], folder: Path) -> Reference:
    """Return the reference of columns, made as training makes it."""
    write_dataset(pa.table(dict(columns)).to_batches(), output=folder, source="rows")
    return reference_of(folder)


def captured(columns: Mapping[str, Any], *, at: float = 0.0, hours: float = 1.0) -> pa.Table:
    """Return columns as captured rows, spread evenly over time; `at` in hours."""
    arrays = {f"inputs.{name}": values for name, values in columns.items() if name != "score"}
    if "score" in columns:
        arrays["score"] = columns["score"]
    table = pa.table(arrays)
    seconds = (at + np.arange(len(table)) * hours / max(1, len(table))) * HOUR
    times = pa.array((seconds * 1e6).astype(np.int64)).cast(pa.timestamp("us", tz="UTC"))
    return table.append_column("time", times)


def mixed(rows: int, *, seed: int, shift: float = 0.0) -> dict[str, Any]:
    """Return a number that may be shifted, in standard deviations, a count and a text."""
    rng = np.random.default_rng(seed)
    return {
        "amount": pa.array(rng.normal(size=rows) + shift),
        "visits": pa.array(rng.poisson(3, size=rows)),
        "color": pa.array(COLORS[rng.choice(4, size=rows, p=[0.4, 0.3, 0.2, 0.1])]),
    }


def follow(
    tables: list[pa.Table], *, signals: Signals, reference: Reference, state: State | None = None
) -> list[Update]:
    """Return what is known after each table."""
    state = state or start(signals)
    found = []
    for table in tables:
        window = measure(table, signals=signals, reference=reference, carry=state.carry("rows"))
        found.append(update(state, window, signals=signals))
        state = found[-1].state
    return found


def score_reference(edges: Sequence[float], rows: Sequence[int]) -> ReferenceColumn:
    """Scores on the holdout, counted as in a reference; the last edge is the maximum."""
    return ReferenceColumn(
        name="score", type="number", nulls=0, edges=tuple(edges), counts=tuple(rows)
    )
