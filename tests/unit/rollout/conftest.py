"""Where releases of real models go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rollout_world import World, world_in


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    models: Callable[..., Path],
    instances: list[dict[str, Any]],
) -> Iterator[World]:
    """A registry, a holdout and a home in which nothing is released yet."""
    home = tmp_path_factory.mktemp("world")
    with world_in(home, models=models, instances=instances) as built:
        yield built
