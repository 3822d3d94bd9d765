"""The one function of the engine, and what its adapters share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from penstock.errors import ServiceError

P = TypeVar("P")
S = TypeVar("S")

ATTEMPTS = 3
"""How often a worker may die at the same work before it is given up."""

_SHARES = 4
"""Pieces of work for each worker: of one that is slow the others take over the rest."""


class Each(Protocol):
    """Does work on parts, and yields what came of them, in no order.

    The work is a value that pickle can hold, and so is what comes of it. It gets some of the parts
    at a time. It may be begun again on the same parts where a worker died, so it changes nothing
    outside of itself. What it raises is raised here.
    """

    def __call__(self, work: Callable[[Sequence[P]], S], parts: Sequence[P]) -> Iterator[S]:
        """Yield what comes of the work, once for each share of the parts.

        Raises:
            ServiceError: If workers die at the same parts again and again.
        """


def here(work: Callable[[Sequence[P]], S], parts: Sequence[P]) -> Iterator[S]:
    """Do the work in this process, on all parts at once."""
    yield work(parts)


def shares(parts: Sequence[P], workers: int) -> list[Sequence[P]]:
    """Return the parts in runs of about the same length, a few for each worker.

    Of no parts one share holds none, as where one process does all.
    """
    count = max(1, min(len(parts), workers * _SHARES))
    ends = [len(parts) * at // count for at in range(count + 1)]
    return [parts[start:end] for start, end in itertools.pairwise(ends)]


def out_of_memory(engine: str) -> ServiceError:
    """Return the error where the work itself found no memory left."""
    return ServiceError(
        "a worker ran out of memory",
        where=f"engine {engine}",
        remedy="Give the step more, or set fewer `engine.workers`.",
    )


def given_up(engine: str, *, remedy: str = "") -> ServiceError:
    """Return the error where workers died at the same parts again and again."""
    return ServiceError(
        f"a worker died {ATTEMPTS} times at the same part of the table",
        where=f"engine {engine}",
        remedy=remedy
        or "It may have run out of memory: give the step more, or fewer `engine.workers`.",
    )
