"""What an evaluation holds of each row of the holdout."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.policy import Policy
from penstock.gate.rules.slices.spec import SlicesSpec

BYTES_A_ROW = 260
"""A bound on what docs/limits.md says; lists and influences of all metrics made it 450."""


def drawn(n: int, *, columns: int) -> dict[str, Any]:
    """Rows as the small worlds have them, in arrays, and columns that no model takes."""
    chance = np.random.default_rng(n)
    x1, x2 = chance.normal(size=(2, n))
    kind = chance.choice(["a", "b", "c"], n)
    signal = x1 + 0.6 * x2 + 0.8 * (kind == "c")
    y = np.where(signal + chance.normal(size=n) > 0.7, "yes", "no")
    more = {f"m{at}": chance.integers(0, 10, n) for at in range(columns)}
    return {"x1": x1, "x2": x2, "kind": kind, "y": y, **more}


def peak(world: Any, holdout: Path, folder: Path) -> int:
    """Return the bytes of Python and NumPy at the highest moment of an evaluation."""
    policy = Policy(slices=SlicesSpec(columns=("kind",), find=3))
    tracemalloc.start()
    try:
        evaluate(
            holdout,
            model=world.model,
            baselines=world.baselines,
            policy=policy,
            spec=EvaluationSpec(resamples=200),
            output=folder / "evaluation.json",
            report=folder / "report.html",
        )
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_evaluation_holds_few_bytes_of_a_row(worlds: Any, make: Any, tmp_path: Path) -> None:
    world = worlds("binary")
    few, many = 70_000, 140_000
    folders = [make.write(tmp_path / str(n), drawn(n, columns=8)) for n in (few, many)]
    # What is imported at the first time is not of the rows.
    peak(world, world.holdout, tmp_path)
    first, second = (peak(world, folder, tmp_path) for folder in folders)
    assert (second - first) / (many - few) < BYTES_A_ROW
