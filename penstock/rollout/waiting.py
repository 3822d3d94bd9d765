"""Judging a candidate that users have already while an action waits for more servers.

Servers can take minutes to come. What users see meanwhile is evidence like any other: it is written
down with the stage whose weight is in effect, and what is certain to do harm goes back at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.records.rollout import Rollout, Transition
from penstock.rollout.ending import Move
from penstock.rollout.journal import Journal
from penstock.rollout.router import Router
from penstock.rollout.watch import Watch


class WaitEndedError(Exception):
    """There is nothing to wait for any more; `move` says where to go instead."""

    def __init__(self, move: Move) -> None:
        super().__init__(move.reason)
        self.move = move


class Waiting:
    """Called again and again while an action waits; looks when a look is due.

    Args:
        router: What carries the traffic.
        journal: The rollout.
        interval: Seconds between two looks.
        begin: Begins to watch a stage.
        judge: Looks once, and returns the way back from a candidate that may not stay.
        idle: Called in its place while the candidate has no users.
    """

    def __init__(
        self,
        router: Router,
        journal: Journal,
        *,
        interval: float,
        begin: Callable[[Transition], Watch],
        judge: Callable[[Watch, Transition], Move | None],
        idle: Callable[[], Move | None],
    ) -> None:
        self._router = router
        self._journal = journal
        self._interval = interval
        self._begin = begin
        self._judge = judge
        self._idle = idle
        self._watched: tuple[Transition, Watch] | None = None
        self._due = time.monotonic()

    def __call__(self) -> None:
        """Look, if a look is due.

        Raises:
            WaitEndedError: If the candidate may not stay.
        """
        if time.monotonic() < self._due:
            return
        move = self._look()
        if move is not None:
            raise WaitEndedError(move)
        self._due = time.monotonic() + self._interval

    def _look(self) -> Move | None:
        stage = in_effect(self._journal.rollout, weight=self._router.weight)
        if stage is None:
            return self._idle()
        if self._watched is None or self._watched[0] != stage:
            self._watched = stage, self._begin(stage)
            return None
        return self._judge(self._watched[1], stage)


def in_effect(rollout: Rollout, *, weight: int) -> Transition | None:
    """Return the step whose share users have now, or None: the candidate has no users.

    The newest step is written down before its weight is given, so it may not be in effect yet.

    Args:
        rollout: The rollout.
        weight: The candidate's share of new requests, in percent.
    """
    steps = (one for one in reversed(rollout.transitions) if one.phase == "step")
    return next((one for one in steps if weight and one.weight == weight), None)
