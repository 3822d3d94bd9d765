"""Engines that are the same for the tests of a module: import `engines` and it is a fixture."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from penstock.data.engine import Each, EngineSpec, opened

ENGINES = {
    "here": EngineSpec(),
    "processes": EngineSpec(workers=2),
    "dask": EngineSpec(name="dask", workers=2),
}


class Engines(dict[str, Each]):
    """Engines by name, each started when it is first asked for."""

    def __init__(self, opening: contextlib.ExitStack) -> None:
        super().__init__()
        self._opening = opening

    def __missing__(self, name: str) -> Each:
        self[name] = self._opening.enter_context(opened(ENGINES[name]))
        return self[name]


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    with contextlib.ExitStack() as opening:
        yield Engines(opening)
