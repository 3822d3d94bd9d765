"""How often the guardian errs, in short: the benchmark's simulation, which has the whole."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[4] / "benchmarks"


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        import bench_guardian
    yield bench_guardian
    for name in ("bench_guardian", "targets"):
        sys.modules.pop(name, None)


def test_the_simulation_follows_the_guardian(simulation: ModuleType) -> None:
    assert simulation.follows_the_guardian(hours=12, seed=1) < 1e-9


def test_healthy_months_go_by_without_a_return(simulation: ModuleType) -> None:
    assert simulation.false_returns(100, seed=5, minutes=60, worse={}) == 0
    assert simulation.false_returns(100, seed=6, minutes=60, worse=simulation.WORSE) <= 0.02


def test_harm_is_returned_and_what_is_tolerated_is_not(simulation: ModuleType) -> None:
    for harm in simulation.HARMS.values():
        late = simulation.delays(10, harm, after=60, seed=7)
        assert np.isfinite(late).all()
    assert simulation.delays(10, {"errors": 1.0}, after=60, seed=7).max() <= 15
    assert np.isinf(simulation.delays(10, simulation.WORSE, after=60, seed=7)).all()
