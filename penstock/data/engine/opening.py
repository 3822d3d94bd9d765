"""Which adapter an engine is, and how long it lives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from penstock.data.engine.each import Each, here
from penstock.data.engine.spawning import without_main
from penstock.data.engine.spec import EngineSpec


@contextlib.contextmanager
def opened(spec: EngineSpec) -> Iterator[Each]:
    """Yield the engine for the time of the block; its workers end with it.

    Args:
        spec: Which, and how many workers.

    Raises:
        MissingLibraryError: If it is Dask and that is not installed.
        ServiceError: If its workers cannot be started.

    Example:
        >>> with opened(EngineSpec()) as each:
        ...     list(each(sum, [1, 2, 3]))
        [6]
    """
    if spec.name == "local" and spec.workers == 1:
        yield here
    elif spec.name == "local":
        from penstock.data.engine.processes import processes

        with without_main(), processes(spec.workers) as each:
            yield each
    else:
        from penstock.data.engine.on_dask import on_dask

        with without_main(), on_dask(spec.workers) as each:
            yield each
