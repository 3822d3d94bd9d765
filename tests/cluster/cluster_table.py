"""A table, and the plan by which the models that are made of it are rolled out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

CANARY: dict[str, Any] = {
    "interval": 1.0,
    "deadline": 900,
    "shadow": {"min_pairs": 200, "max_wait": 240},
    "steps": [
        {"weight": 20, "min_samples": 150, "max_wait": 240},
        {"weight": 50, "min_samples": 150, "max_wait": 240},
    ],
    "traffic": {"source": "both", "rate": 40},
    # The cluster may be busy with others, and a better model may well answer otherwise.
    "rules": {"latency_ratio": 20, "score_psi": 20, "score_ks": 0.99, "agreement": 0},
}


def write_table(path: Path) -> dict[str, Any]:
    """Write rows whose target a linear model finds by half and trees find; return one row."""
    drawn(2_000, seed=7).to_csv(path, index=False)
    return {"a": 0.5, "b": -0.5, "c": 0.1}


def drawn(rows: int, *, seed: int, drift: float = 0.0) -> pd.DataFrame:
    """Draw rows; `drift` is added to the column c, and the target follows it."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(seed)
    a, b, c = random.normal(size=(3, rows))
    c += drift
    score = 1.5 * c + 1.5 * np.sign(a * b) + random.normal(scale=0.3, size=rows)
    table = pd.DataFrame({"a": a, "b": b, "c": c, "bought": np.where(score > 0, "yes", "no")})
    return table.round(4)
