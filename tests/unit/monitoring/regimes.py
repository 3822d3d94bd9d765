"""Two regimes whose inputs and concepts differ, and versions that know one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from monitored_rows import captured, reference_to

from penstock.metrics.score_bins import score_bins, score_edges
from penstock.monitoring.interventions.recall import Former
from penstock.records.baseline import Baseline

COLUMNS = ("amount", "visits", "city")
MIDDLE = {"A": 0.0, "B": 1.5, "C": -3.0}
"""Where the amounts of a regime lie; above, A says yes, and below, B and C do."""


def regime(name: str, rows: int, *, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Return columns and true labels."""
    rng = np.random.default_rng(seed)
    amount = rng.normal(size=rows) + MIDDLE[name]
    yes = rng.random(rows) < knows(name)(amount)
    cities = rng.choice(["Bonn", "Kiel", "Ulm"], size=rows, p=[0.5, 0.3, 0.2])
    columns = {"amount": amount, "visits": rng.poisson(3, size=rows), "city": cities.tolist()}
    return columns, np.where(yes, "yes", "no").tolist()


def knows(name: str) -> Callable[[Any], Any]:
    """Return the probability of yes in a regime, by the amount."""
    way = 1 if name == "A" else -1
    return lambda amount: 1 / (1 + np.exp(-3 * way * (amount - MIDDLE[name])))


def window(name: str, rows: int, *, seed: int) -> tuple[pa.Table, list[str]]:
    """Return captured rows of a regime, and their labels."""
    columns, labels = regime(name, rows, seed=seed)
    return captured(columns), labels


def former(
    version: int,
    name: str,
    folder: Path,
    *,
    rows: int = 5000,
    noise: float = 0.0,
    predict: Callable[[pa.Table], Any] | None = None,
) -> Former:
    """Return a version that was trained on rows of a regime.

    Args:
        version: Its number.
        name: The regime.
        folder: Where its rows may be written.
        rows: How many it was trained on, and held out.
        noise: Of its scores, on the scale of the logit; what it says of a row stays the same.
        predict: Replaces its scores.
    """

    def scores(table: pa.Table) -> Any:
        amount = table["inputs.amount"].to_numpy()
        plain = np.clip(knows(name)(amount), 1e-9, 1 - 1e-9)
        error = np.sin(1e6 * (amount + version)) * noise
        return 1 / (1 + (1 / plain - 1) * np.exp(-error))

    columns, labels = regime(name, rows, seed=version)
    hits = np.array(labels) == "yes"
    found = scores(captured(columns))
    baseline = Baseline(
        task="binary", target="buys", metric="accuracy", model="sha256:0", dataset="rows1:0",
        rows=rows, classes=("no", "yes"), threshold=0.5, losses={},
        scores=(score_bins(found, hits, score_edges(found, hits, threshold=0.5)),),
    )  # fmt: skip
    reference = reference_to(columns, folder / f"rows-{version}")
    return Former(version, COLUMNS, reference, baseline, predict or scores)
