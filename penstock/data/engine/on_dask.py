"""The engine on Dask: a cluster of processes on this machine, for the time of a step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from penstock.data.engine.each import ATTEMPTS, Each, given_up, out_of_memory, shares
from penstock.errors import ServiceError

P = TypeVar("P")
S = TypeVar("S")

_STARTS_WITHIN = "60s"


@contextlib.contextmanager
def on_dask(workers: int) -> Iterator[Each]:
    """Yield an engine of so many workers of Dask, on loopback; they end with the block.

    Raises:
        MissingLibraryError: If Dask is not installed.
        ServiceError: If the cluster cannot be started.
    """
    import distributed

    with _cluster(workers) as cluster, distributed.Client(cluster, set_as_default=False) as client:

        def each(work: Callable[[Sequence[P]], S], parts: Sequence[P]) -> Iterator[S]:
            try:
                yield from by(client, work, shares(parts, workers))
            except distributed.KilledWorker as error:
                raise given_up("dask") from error
            except MemoryError as error:
                raise out_of_memory("dask") from error

        yield each


def by(client: Any, work: Callable[[Sequence[P]], S], given: Sequence[Sequence[P]]) -> Iterator[S]:
    """Yield what comes of the work on each share, done by the workers of a client.

    Raises:
        distributed.KilledWorker: If workers die at the same share again and again.
        distributed.client.FutureCancelledError: If the scheduler was lost.
    """
    import distributed

    # The work goes with each share: what is handed over beforehand dies with its worker.
    futures = [client.submit(_done, work, share, pure=False) for share in given]
    for future in distributed.as_completed(futures, loop=client.loop):
        result: S = future.result()
        # A worker's memory holds the results that are not dropped.
        future.release()
        yield result


def _done(work: Callable[[Sequence[P]], S], share: Sequence[P]) -> S:
    return work(share)


@contextlib.contextmanager
def _cluster(workers: int) -> Iterator[Any]:
    import dask
    import distributed

    settings = {
        "distributed.comm.timeouts.connect": _STARTS_WITHIN,
        "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
        # The step says what went wrong, in a sentence.
        "distributed.logging.distributed": "critical",
    }
    with dask.config.set(settings):
        try:
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address="127.0.0.1:0",
                silence_logs="CRITICAL",
            )
        except (TimeoutError, OSError, RuntimeError) as error:
            raise ServiceError(
                f"the Dask cluster cannot be started: {_first_line(error):.200}",
                where="engine dask",
                remedy="Set fewer `engine.workers`, or `engine.name: local`.",
            ) from error
        with cluster:
            yield cluster


def _first_line(error: Exception) -> str:
    """Return what an error says, or what it is: a timeout may say nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
