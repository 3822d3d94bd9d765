"""The events of an experiment on a cluster, as its proxies' pods have shipped them to a store.

Each pod ships segments of its own, so events come in parts and not in order. They are put in order
of time, and given up to the moment up to which the events of every pod are known. Who comes later
to the store gets the same: should a segment come that belongs before what was given, reading begins
anew.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from penstock.captures.cursor import Position
from penstock.captures.places import LocalPlace, RemotePlace, place_at
from penstock.captures.segments import EVENTS
from penstock.captures.stores import DONE, Written, writers
from penstock.captures.taking import take
from penstock.common import progress
from penstock.errors import ServiceError
from penstock.records.rollout import ArmSummary

if TYPE_CHECKING:
    from penstock.rollout.experiment.observations import Observations

_SKEW = 1.0
"""Seconds by which the clocks of two nodes may differ: what came of a request may have reached
another pod than the request, and is taken that much later."""

_OFTEN = 1.0
"""Seconds within which the store is not listed again."""

_Entry = tuple[float, float, str, int, dict[str, Any]]


@dataclass
class _Pod:
    """What is known of one writer: a process of a pod."""

    position: Position = field(default_factory=Position)
    lost: int = 0
    lines: int = 0
    heard: float = 0.0
    counts: dict[str, Any] = field(default_factory=dict)


class ShippedEvents:
    """See `penstock.rollout.experiment.events.EventSource`.

    Args:
        address: The experiment's folder in the store.
        segment_seconds: Age at which a pod ships a segment.
    """

    def __init__(self, address: str, *, segment_seconds: float) -> None:
        self._address = address
        # A pod that has just come up is in no list before its first segment is shipped.
        self._hold = 2 * segment_seconds + 2
        self.patience = 5 * segment_seconds + 30
        self._place: LocalPlace | RemotePlace | None = None
        self._looked = 0.0
        self._asked = 0.0
        self._failed = ""
        self._pods: dict[str, _Pod] = {}
        self._waiting: list[_Entry] = []
        self._given = 0.0

    def look(self) -> None:
        """Fetch what has come to the store since the last look.

        Where it does not answer, what was fetched before stays, and it is said once.

        Raises:
            ServiceError: If it has not answered yet at all.
        """
        if self._looked and time.monotonic() - self._looked < _OFTEN:
            return
        self._asked = self._asked or time.time()
        first = not self._looked
        try:
            self._place = self._place or place_at(self._address)
            self._fetch(self._place)
        except ServiceError as error:
            self._place = None
            if first:
                raise
            self._tell(str(error))
            return
        self._looked = time.monotonic()
        self._tell("")

    def begins_anew(self) -> bool:
        """Look; return whether events have come that belong before what was given.

        Where the store does not answer once more, what was given before stays until it does.
        """
        self.look()
        if not self._late or self._place is None:
            return False
        before = self._pods, self._waiting, self._given
        self._forget()
        try:
            self._fetch(self._place)
        except ServiceError as error:
            self._pods, self._waiting, self._given = before
            self._place = None
            self._tell(str(error))
            return False
        return True

    @property
    def _late(self) -> bool:
        """Whether something waits that belongs before what was given."""
        return bool(self._waiting) and self._waiting[0][0] <= self._given

    def read(self, observations: Observations, *, until: float) -> float:
        """Give what is known to be whole, in order of time."""
        if self._late:
            return self._given - _SKEW
        known = min(until, self._whole(until))
        while self._waiting and self._waiting[0][0] <= known:
            event = heapq.heappop(self._waiting)[-1]
            try:
                observations.add(event)
            except (LookupError, TypeError, ValueError, AttributeError):
                observations.sums.damaged += 1
        self._given = max(self._given, known)
        observations.sums.dropped = sum(pod.lost for pod in self._pods.values())
        observations.sums.silent = len(self._silent())
        return known - _SKEW

    def counts(self) -> dict[int, ArmSummary]:
        """Return what each version has answered so far, as all pods count it."""
        found: dict[int, ArmSummary] = {}
        for pod in self._pods.values():
            for version, counts in pod.counts.items():
                more = ArmSummary.model_validate(counts)
                found[int(version)] = found.get(int(version), ArmSummary()).plus(more)
        return found

    @property
    def heard(self) -> float:
        """When the newest event of a pod came (Unix time); 0: none has yet."""
        return max((pod.heard for pod in self._pods.values()), default=0.0)

    @property
    def quiet_since(self) -> float:
        """When the newest event of a pod came; before the first, when one was looked for."""
        return self.heard or self._asked

    @property
    def failed(self) -> str:
        """Why the store does not answer now; empty: it does."""
        return self._failed

    def _forget(self) -> None:
        """Forget what was fetched, but not what the pods have counted: counters never fall."""
        self._pods = {
            key: _Pod(heard=pod.heard, counts=pod.counts) for key, pod in self._pods.items()
        }
        self._waiting = []
        self._given = 0.0

    def _fetch(self, place: LocalPlace | RemotePlace) -> None:
        for each in writers(place, kinds=EVENTS, seen=self._next):
            self._take(each)

    def _next(self, key: str) -> int:
        position = self._pods[key].position if key in self._pods else Position()
        return DONE if position.ended else position.number

    def _take(self, each: Written) -> None:
        pod = self._pods.setdefault(each.key, _Pod())
        if pod.position.ended:
            return
        taken = take(each, pod.position, None)
        pod.position = taken.position
        pod.lost += taken.lost
        for block in taken.blocks:
            for line in block.splitlines():
                self._add(line, each.key, pod)

    def _add(self, line: bytes, key: str, pod: _Pod) -> None:
        pod.lines += 1
        try:
            event = orjson.loads(line)
            moment = float(event["t"])
            kind = event["e"]
            if kind == "counts":
                arms = dict(event["arms"])
                pod.counts = arms if moment >= pod.heard else pod.counts
        except (LookupError, TypeError, ValueError):
            pod.lost += 1
            return
        pod.heard = max(pod.heard, moment)
        if kind == "counts":
            return
        due = moment + _SKEW if kind == "feedback" else moment
        heapq.heappush(self._waiting, (due, moment, key, pod.lines, event))

    def _whole(self, now: float) -> float:
        """Return up to when all events of every pod have come."""
        running = {key for key, pod in self._pods.items() if not pod.position.ended}
        # Those that took the place of the ones that ended may have shipped nothing yet.
        if not running and now - self.heard > self._hold:
            return self.heard
        known = [self._pods[key].heard for key in running - self._silent()]
        return min([self.heard - self._hold, *known])

    def _silent(self) -> set[str]:
        """Return the pods that have not ended and are behind by more than `patience`."""
        since = self.heard - self.patience
        return {
            key for key, pod in self._pods.items() if not pod.position.ended and pod.heard < since
        }

    def _tell(self, failed: str) -> None:
        if failed and not self._failed:
            progress.say(f"the events of the experiment are not read: {failed}")
        if self._failed and not failed:
            progress.say("the events of the experiment are read again")
        self._failed = failed
