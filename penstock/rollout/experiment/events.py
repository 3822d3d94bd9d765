"""The events of an experiment, read as far as they go: the same reading for whoever reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from penstock.records.experiment import ExperimentPlan, ExperimentReading
from penstock.rollout.experiment.kpi import amount_of
from penstock.rollout.experiment.reading import reading_of

if TYPE_CHECKING:
    from penstock.rollout.experiment.observations import Observations


class EventSource(Protocol):
    """Where the events of one experiment are read from."""

    def begins_anew(self) -> bool:
        """Look for events; return whether all of them are given once more from the first one on.

        Some have come that belong before what was given.

        Raises:
            ServiceError: If the events cannot be read.
        """
        ...

    def read(self, observations: Observations, *, until: float) -> float:
        """Give what has come since the last time, in order of time.

        Args:
            observations: What takes it.
            until: What was written later is left for the next time (Unix time).

        Returns:
            Up to when all is known: `until`, or earlier.

        Raises:
            ServiceError: If the events cannot be read.
        """
        ...


class Events:
    """What happened in an experiment.

    Args:
        plan: The experiment's.
        source: Where its events are.
    """

    def __init__(self, plan: ExperimentPlan, source: EventSource) -> None:
        self._plan = plan
        self._source = source
        self._observations = self._nothing()

    def reading(self, now: datetime) -> ExperimentReading:
        """Return what is shown now.

        Args:
            now: A moment that is over: what was written by then is read, and no window that ends
                later is closed.

        Raises:
            ServiceError: If the events cannot be read.
        """
        if self._source.begins_anew():
            self._observations = self._nothing()
        found, end = self._observations, now.timestamp()
        known = self._source.read(found, until=end)
        found.until(known)
        reading = reading_of(
            found.sums, self._plan, weight=found.weight, waiting=found.waiting, now=now
        )
        if known < end and known > 0:
            moment = datetime.fromtimestamp(known, UTC)
            reading = reading.model_copy(update={"known_until": moment})
        return reading

    def _nothing(self) -> Observations:
        # Needed by whoever reads, and by nobody who only drives a service.
        from penstock.rollout.experiment.observations import Observations

        return Observations(self._plan, amount=amount_of(self._plan))
