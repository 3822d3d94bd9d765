"""What the metrics of an evaluation hold of each row of the holdout."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np

from penstock.evaluation.model_metrics import measure_models
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.holdout import read_holdout

ROWS = 50_000
BYTES_A_ROW = 165
"""Beside truth and scores, of which 137 were measured; 169 while a ranking held all it had made."""


def test_metrics_of_four_models_take_few_bytes_of_a_row(worlds: Any) -> None:
    world = worlds("binary")
    few = read_holdout(world.holdout, model=world.model, baselines=world.baselines, champion=None)
    chance = np.random.default_rng(1)
    signal = chance.normal(size=ROWS)
    scores = {name: 1 / (1 + np.exp(chance.normal(size=ROWS) - signal)) for name in few.models}
    models = {**few.models, "other": few.models["linear"]}
    rows = replace(
        few,
        truth=(signal + chance.normal(size=ROWS) > 1).astype(np.int64),
        scores={**scores, "other": scores["linear"] / 2},
        models=models,
    )
    # What is imported at the first time is not of the rows.
    measure_models(few, EvaluationSpec())
    tracemalloc.start()
    try:
        measured = measure_models(rows, EvaluationSpec())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(measured.metrics) == 4
    assert peak / ROWS < BYTES_A_ROW
