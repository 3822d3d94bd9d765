"""Engines that are the same for the tests of a module: import `engines` and it is a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.data.engine import Each, EngineSpec, opened


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, Each]]:
    with (
        opened(EngineSpec()) as here,
        opened(EngineSpec(workers=2)) as processes,
        opened(EngineSpec(name="dask", workers=2)) as dask,
    ):
        yield {"here": here, "processes": processes, "dask": dask}
