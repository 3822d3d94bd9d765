"""The engine on processes of Penstock's own."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from penstock.data.engine.each import ATTEMPTS, Each, given_up, out_of_memory, shares
from penstock.errors import ServiceError

P = TypeVar("P")
S = TypeVar("S")


@contextlib.contextmanager
def processes(workers: int) -> Iterator[Each]:
    """Yield an engine of so many processes; they end with the block.

    Raises:
        ServiceError: If they cannot be started.
    """
    pools: list[ProcessPoolExecutor] = []

    def each(work: Callable[[Sequence[P]], S], parts: Sequence[P]) -> Iterator[S]:
        left = list(shares(parts, workers))
        for _ in range(ATTEMPTS):
            pool = pools[-1] if pools else _started(workers, pools)
            given = {_submitted(pool, work, share): share for share in left}
            left = []
            for future in as_completed(given):
                # A future holds its result: those that were handed on are not kept.
                share = given.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    # One that dies takes the work of all others with it.
                    left.append(share)
                except MemoryError as error:
                    raise out_of_memory("local") from error
            if not left:
                return
            pools.remove(pool)
            pool.shutdown(wait=True, cancel_futures=True)
        raise given_up("local")

    try:
        yield each
    finally:
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)


def _started(workers: int, pools: list[ProcessPoolExecutor]) -> ProcessPoolExecutor:
    # Not forked: Arrow's threads hold locks that a copy would wait for.
    pools.append(
        ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_end_with_the_step
        )
    )
    return pools[-1]


def _end_with_the_step() -> None:
    """Let this worker end when the step's process does: a step that is killed cannot end it."""
    threading.Thread(target=_wait_for_its_end, daemon=True).start()


def _wait_for_its_end() -> None:
    step = parent_process()
    if step is not None:
        step.join()
        os._exit(1)


def _submitted(
    pool: ProcessPoolExecutor, work: Callable[[Sequence[P]], S], share: Sequence[P]
) -> Future[S]:
    try:
        return pool.submit(work, share)
    except BrokenProcessPool:
        # It broke while the work was handed over: as if that had been in it.
        broken: Future[S] = Future()
        broken.set_exception(BrokenProcessPool())
        return broken
    except (OSError, RuntimeError) as error:  # The second where there can be no more threads.
        raise ServiceError(
            f"a process cannot be started: {getattr(error, 'strerror', None) or error}",
            where="engine local",
            remedy="Set fewer `engine.workers`.",
        ) from error
