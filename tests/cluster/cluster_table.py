"""A table, and the plan by which the models that are made of it are rolled out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(7)
    a, b, c = random.normal(size=(3, 2_000))
    score = 1.5 * c + 1.5 * np.sign(a * b) + random.normal(scale=0.3, size=2_000)
    table = pd.DataFrame({"a": a, "b": b, "c": c, "bought": np.where(score > 0, "yes", "no")})
    table.round(4).to_csv(path, index=False)
    return {"a": 0.5, "b": -0.5, "c": 0.1}
