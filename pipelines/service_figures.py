"""What the monitor's port serves besides its own figures: of the experiment, of the trigger."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from penstock.errors import PenstockError
from penstock.pipelines.located import Located

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from penstock.rollout.experiment.exporter import Standing


_ON_CLUSTER = 60.0
"""Seconds between two readings of an experiment on a cluster."""


def further_figures(found: Located) -> Callable[[], Iterable[Metric]]:
    """Return what reads the figures of a project's experiment and trigger, each time anew.

    What cannot be read is left out: the monitor's own figures do not depend on it. Of an experiment
    on a cluster they are at most a minute old: each reading asks the cluster's API.
    """
    on_cluster = found.project.deployment.router != "local"
    experiment = _AtMostOnceIn(_ON_CLUSTER, _experiment) if on_cluster else _experiment

    def read() -> Iterator[Metric]:
        for part in (experiment, _trigger):
            with contextlib.suppress(PenstockError):
                yield from part(found)

    return read


class _AtMostOnceIn:
    """Reads figures anew after so many seconds, and meanwhile returns those it read last.

    What could not be read is nothing for as long: a server that is away is not asked at each turn.
    """

    def __init__(self, seconds: float, read: Callable[[Located], list[Metric]]) -> None:
        self._seconds, self._read = seconds, read
        self._due, self._last = 0.0, list[Any]()
        self._one = threading.Lock()

    def __call__(self, found: Located) -> list[Metric]:
        with self._one:
            if time.monotonic() >= self._due:
                self._last = []
                try:
                    self._last = self._read(found)
                finally:
                    self._due = time.monotonic() + self._seconds
            return self._last


def experiment_of(found: Located) -> Standing | None:
    """Return a project's newest experiment as its controller saw it last; None: it has none.

    Raises:
        PenstockError: If it cannot be read.
    """
    from penstock.rollout.experiment.exporter import standing

    return standing(found.target(tracking_uri=found.project.tracking_uri))


def _experiment(found: Located) -> list[Metric]:
    from penstock.rollout.experiment.exporter import families

    experiment = experiment_of(found)
    return list(families(experiment, service=found.project.name)) if experiment else []


def _trigger(found: Located) -> list[Metric]:
    from penstock.processes.lock import holder_of
    from penstock.triggers.exporter import families
    from penstock.triggers.store import TriggerStore
    from penstock.triggers.trigger import TriggerFolder

    name = found.project.name
    folder = TriggerFolder(found.home, name)
    if not folder.store.is_file():
        return []
    at_work = holder_of(folder.lock) is not None
    with contextlib.closing(TriggerStore(folder.store)) as store:
        return list(families(store, service=name, at_work=at_work))
