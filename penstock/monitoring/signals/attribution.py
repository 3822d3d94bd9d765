"""What answers rest on: SHAP values of some rows of a window beside the holdout's deciles.

Of each column two signals on either side: the share of rows whose attribution lies below the first
decile of the holdout's, and below the middle; above the middle, and above the ninth. Where many
rows have the very same attribution no more than that lie strictly below or above, so only a rise is
a change. Only attributions that cost little and are not drawn are watched.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penstock.errors import PenstockError
from penstock.monitoring.signals.definitions import ERRORS, Signal, bounded
from penstock.monitoring.signals.window import INPUTS, row_times
from penstock.records.explanation import Explanation, Importance
from penstock.records.figures import AttributionShare

if TYPE_CHECKING:
    import pyarrow as pa

    from penstock.model import LoadedModel

Floats = NDArray[np.float64]

STREAM = "attribution"
"""The stream of these signals."""

LEAST = 40
"""Rows of a window below which none is explained."""

_SIDES = ((1, "below"), (5, "below"), (5, "above"), (9, "above"))
_ROUNDING = 1e-6
"""Attributions that differ by this share of the largest are the same."""


@dataclass(frozen=True)
class Attributed:
    """Attributions of rows of a window.

    Attributes:
        values: Of each signal, shape (n, signals), 0 or 1.
        times: When the rows were answered, in seconds since 1970, shape (n,).
        shares: Of all attribution, by column.
    """

    values: Floats
    times: Floats
    shares: tuple[AttributionShare, ...]


def attribution_signals(
    explanation: Explanation | None, *, tolerance: float, without: Collection[str] = ()
) -> list[Signal]:
    """Return the signals, four a column.

    Args:
        explanation: Of the model on its holdout; None: there are none.
        tolerance: Share of rows by which more may lie beyond a decile.
        without: Columns that are not watched: a time is always later.
    """
    if explanation is None or not is_cheap(explanation):
        return []
    made = [
        _signal(column, decile, side, rows=explanation.rows, tolerance=tolerance)
        for column in explanation.importances
        for decile, side in _SIDES
    ]
    # One that can show nothing is left out of all signals; the others say which they are.
    placed = [replace(one, place=at) for at, one in enumerate(made)]
    return [one for one in placed if one.column not in without]


def is_cheap(explanation: Explanation) -> bool:
    """Return whether it was computed by the model's structure, and not drawn."""
    return explanation.exact or explanation.method.startswith("Saabas")


def why_not(explanation: Explanation | None) -> str:
    """Return why attributions are not watched at all; empty: they are."""
    if explanation is None:
        return "Attributions are not watched: the version was registered without an explanation."
    if not is_cheap(explanation):
        return "Attributions are not watched: those of such a model are drawn, at great cost."
    return ""


def attributed(
    table: pa.Table, *, folder: Path, explanation: Explanation, rows: int
) -> Attributed | str:
    """Return the attributions of some rows of a window, spread over it, or why there are none.

    Args:
        table: Its rows, as `read_window` returns them.
        folder: Of the model.
        explanation: Of the model on its holdout.
        rows: How many are explained, at most.
    """
    from penstock.explanation.later import later_attributions

    if table.num_rows < LEAST:
        return ""
    taken = np.unique(np.linspace(0, table.num_rows - 1, min(rows, table.num_rows)).astype(int))
    try:
        model = _loaded(folder, explanation.model)
        names = [column.name for column in model.record.columns]
        inputs = table.select([f"{INPUTS}{name}" for name in names]).take(taken)
        found = later_attributions(model, model.frame(inputs.rename_columns(names)), explanation)
    except (PenstockError, KeyError) as error:
        return f"Attributions are not watched: {error}"
    if isinstance(found, str):
        return f"Attributions are not watched: {found}."
    by_column = dict(zip(names, found.T, strict=True))
    values = [
        _beyond(by_column[one.column], one, decile, side)
        for one in explanation.importances
        for decile, side in _SIDES
    ]
    times = row_times(table)[taken[: len(found)]]
    return Attributed(np.stack(values, axis=1), times, _shares(by_column, explanation))


@functools.lru_cache(maxsize=1)
def _loaded(folder: Path, digest: str) -> LoadedModel:
    from penstock import model as models
    from penstock.errors import IntegrityError

    found = models.digest_of(folder)
    if found != digest:
        raise IntegrityError(
            f"the model has digest {found}, but {digest} was explained", where=str(folder)
        )
    return models.load(folder, expected_digest=digest)


def _signal(column: Importance, decile: int, side: str, *, rows: int, tolerance: float) -> Signal:
    share = (decile if side == "below" else 10 - decile) / 10
    found = bounded(
        f"attribution of {column.column}: {side} {column.deciles[decile]:.4g}",
        kind="attribution",
        column=column.column,
        expected=share,
        tolerance=tolerance,
        # A decile of so many rows is cut between two of them.
        error=math.sqrt(share * (1 - share) / max(1, rows)) + 1 / max(1, rows) / ERRORS,
        rows=rows,
        stream=STREAM,
    )
    return replace(found, low=0.0)


def _beyond(values: Floats, column: Importance, decile: int, side: str) -> Floats:
    rounding = _ROUNDING * max(1e-12, *map(abs, column.deciles))
    edge = column.deciles[decile]
    beyond = values < edge - rounding if side == "below" else values > edge + rounding
    return np.asarray(beyond, dtype=np.float64)


def _shares(by_column: dict[str, Floats], explanation: Explanation) -> tuple[AttributionShare, ...]:
    now = {name: float(np.abs(values).mean()) for name, values in by_column.items()}
    then = {one.column: one.attribution for one in explanation.importances}
    return tuple(
        AttributionShare(
            column=name,
            holdout=then[name] / (sum(then.values()) or 1.0),
            window=now[name] / (sum(now.values()) or 1.0),
        )
        for name in then
    )
