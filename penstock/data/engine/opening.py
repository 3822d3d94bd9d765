"""Which adapter an engine is, and how long it lives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from penstock.data.engine.each import Each, here
from penstock.data.engine.spawning import without_main
from penstock.data.engine.spec import EngineSpec


@contextlib.contextmanager
def opened(spec: EngineSpec | None, *, addresses: Mapping[Path, str] = {}) -> Iterator[Each]:
    """Yield the engine for the time of the block; its workers end with it.

    Args:
        spec: Which, and how many workers; None: this process alone.
        addresses: Where the folders of datasets lie for another machine, as Kubeflow has their
            URIs. Parts of any other folder are worked on in this process if workers are elsewhere.

    Raises:
        MissingLibraryError: If it is Dask and that is not installed.
        InputError: If an address cannot be read by workers.
        ServiceError: If its workers cannot be started.

    Example:
        >>> with opened(EngineSpec()) as each:
        ...     list(each(sum, [1, 2, 3]))
        [6]
    """
    if spec is None or (spec.name == "local" and spec.workers == 1):
        yield here
    elif spec.name == "local":
        from penstock.data.engine.processes import processes

        with without_main(), processes(spec.workers) as each:
            yield each
    elif _in_pods(spec):
        from penstock.data.engine.on_kubernetes import on_kubernetes

        with on_kubernetes(spec, addresses=addresses) as each:
            yield each
    else:
        from penstock.data.engine.on_dask import on_dask

        with without_main(), on_dask(spec.workers) as each:
            yield each


def _in_pods(spec: EngineSpec) -> bool:
    if spec.on != "kubernetes":
        return False
    # It brings an HTTP client, which whoever reads a project file must not need.
    from penstock.cluster.own_pod import in_a_pod

    return in_a_pod()
