"""How often any of 20 slices is called bad by bench_gate.py's pairs though none is."""

from __future__ import annotations

import numpy as np
from gate_pairs import World

from penstock.metrics.slice_tests import Form, compare_slices, holm

SLICES = 20
ALPHA = 0.05
FORMS: dict[str, Form] = {"accuracy": "share", "log_loss": "mean"}


def alarms(task: tuple[World, int, int]) -> list[dict[str, bool]]:
    """Return for some pairs of equally good models whether Holm's method accuses any slice.

    Every slice lies at its bound: the models are equal and the margin is 0.
    """
    world, begin, end = task
    found = []
    for seed in range(begin, end):
        rng = np.random.default_rng((404, world.rows, seed))
        candidate, champion = world.draw(0, rng)
        codes = rng.integers(0, SLICES, world.rows)
        said = {}
        for metric, form in FORMS.items():
            pair = [
                (~of.right).astype(float) if form == "share" else of.losses[metric]
                for of in (candidate, champion)
            ]
            tests = compare_slices(
                codes, pair[0], slices=SLICES, champion=pair[1], form=form, margin=0.0
            )
            assert tests.p_worse is not None
            # A slice without a row is no hypothesis.
            (adjusted,) = holm(tests.p_worse[tests.rows > 0])
            said[metric] = bool((adjusted <= ALPHA).any())
        found.append(said)
    return found
