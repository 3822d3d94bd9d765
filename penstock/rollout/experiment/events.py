"""The events of an experiment, read as far as they go: the same reading for whoever reads them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from penstock.records.experiment import ExperimentPlan, ExperimentReading
from penstock.rollout.experiment.kpi import amount_of
from penstock.rollout.experiment.reading import reading_of


class Events:
    """What happened in an experiment.

    Args:
        plan: The experiment's.
        path: The file that the proxy appends to.
    """

    def __init__(self, plan: ExperimentPlan, path: Path) -> None:
        # Needed by whoever reads, and by nobody who only drives a service.
        from penstock.rollout.experiment.observations import EventFile, Observations

        self._plan = plan
        self._file = EventFile(path)
        self._observations = Observations(plan, amount=amount_of(plan))

    def reading(self, now: datetime) -> ExperimentReading:
        """Return what is shown now.

        Args:
            now: A moment that is over: what was written by then is read, and no window that ends
                later is closed.

        Raises:
            ServiceError: If the events cannot be read.
        """
        found = self._observations
        self._file.read(found, until=now.timestamp())
        found.until(now.timestamp())
        return reading_of(
            found.sums, self._plan, weight=found.weight, waiting=found.waiting, now=now
        )
