"""What the monitor's port serves besides its own figures: of the experiment, of the trigger."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from penstock.errors import PenstockError
from penstock.pipelines.located import Located

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from penstock.rollout.experiment.exporter import Standing


def further_figures(found: Located) -> Callable[[], Iterable[Metric]]:
    """Return what reads the figures of a project's experiment and trigger, each time anew.

    What cannot be read is left out: the monitor's own figures do not depend on it.
    """

    def read() -> Iterator[Metric]:
        for part in (_experiment, _trigger):
            with contextlib.suppress(PenstockError):
                yield from part(found)

    return read


def experiment_of(found: Located) -> Standing | None:
    """Return a project's newest experiment on this machine, as its controller saw it last.

    None where it has none.

    Raises:
        PenstockError: If it cannot be read.
    """
    from penstock.rollout.experiment.exporter import standing

    project = found.project
    if project.deployment.router != "local":
        # One on a cluster is not looked for: that would ask the cluster's API at each reading.
        return None
    target = found.target(tracking_uri=project.tracking_uri)
    return standing(target)


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
