"""Who drives a service: one controller at a time, until it ends or falls silent."""

from __future__ import annotations

import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from penstock.errors import LeaseLostError, PenstockError
from penstock.rollout.beside import beside

_log = logging.getLogger(__name__)

SECONDS = 30
_RENEWALS = 6
"""Times that a lease is renewed within its duration: a reader sees a renewal soon."""


class Lease(ABC):
    """The right to drive one service, renewed by a thread while it is held.

    A holder that cannot renew loses it when its duration is over, and may be taken over from. It
    can go on later and not know: so every action checks first. Every holder has a term, higher than
    those before: what an earlier one writes is refused where a later term is recorded.

    Args:
        service: Its name, for messages.
        seconds: Its duration.
    """

    def __init__(self, *, service: str, seconds: float = SECONDS) -> None:
        self._service = service
        self._seconds = seconds

    @property
    @abstractmethod
    def term(self) -> int:
        """The term that is held; 0 while none is."""

    @property
    def renewed_every(self) -> float:
        """Seconds between two renewals."""
        return self._seconds / _RENEWALS

    def held(self) -> AbstractContextManager[None]:
        """Hold the lease until the block ends.

        Raises:
            ServiceError: If another controller holds it and is alive, or it cannot be written.
        """
        return self._holding(self._acquire)

    @abstractmethod
    def check(self) -> None:
        """Return if the lease is still held, as far as this process knows.

        Raises:
            LeaseLostError: If it is not.
        """

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Run the block if the lease is held, where it can be: while nobody can take it over.

        Raises:
            LeaseLostError: If the lease is not held any more; the block is not run.
        """
        self.check()
        yield

    @abstractmethod
    def outdo(self, term: int) -> None:
        """Raise the term above one that was met: what is kept of the lease may have been lost.

        Raises:
            LeaseLostError: If the lease is not held any more.
        """

    @abstractmethod
    def driven(self) -> bool:
        """Return whether somebody holds it who is not known to be dead; it may take a while."""

    @abstractmethod
    def _acquire(self) -> None:
        """Take it, or raise a ServiceError."""

    @abstractmethod
    def _renew(self) -> bool:
        """Renew it once; return whether it was still held."""

    @abstractmethod
    def _release(self) -> None:
        """Give it back. What cannot be written expires."""

    def lost(self, how: str) -> LeaseLostError:
        """Return the error of an action that must not be done any more."""
        return LeaseLostError(
            f"this process does not drive it any more: {how}",
            where=f"service {self._service}",
            remedy="Look at what it does now with: penstock status.",
        )

    @contextlib.contextmanager
    def _holding(self, acquire: Callable[[], None]) -> Iterator[None]:
        acquire()
        try:
            with beside(self._keep, name=f"lease-{self._service}"):
                yield
        finally:
            try:
                self._release()
            except (OSError, PenstockError) as error:
                # What the block ended with counts; nothing is held any more, written or not.
                _log.warning("the lease of %s was not given back: %s", self._service, error)

    def _keep(self, over: threading.Event) -> None:
        while not over.wait(self.renewed_every):
            try:
                if not self._renew():
                    return
            except (OSError, PenstockError) as error:
                # It may work the next time; if it does not, the lease expires, as it should.
                _log.warning("the lease of %s was not renewed: %s", self._service, error)
