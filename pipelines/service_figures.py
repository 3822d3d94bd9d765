"""What the monitor's port serves besides its own figures: of the experiment, of the trigger."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from penstock.errors import PenstockError
from penstock.pipelines.located import Located

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def further_figures(found: Located) -> Callable[[], Iterable[Metric]]:
    """Return what reads the figures of a project's experiment and trigger, each time anew.

    What cannot be read is left out: the monitor's own figures do not depend on it.
    """

    def read() -> Iterator[Metric]:
        for part in (_experiment, _trigger):
            with contextlib.suppress(PenstockError):
                yield from part(found)

    return read


def _experiment(found: Located) -> list[Metric]:
    from penstock.rollout.experiment.exporter import families, standing
    from penstock.rollout.target import target_of

    project = found.project
    if project.deployment.router != "local":
        # A cluster has no experiments; asking for them would ask its API each time.
        return []
    target = target_of(
        project.deployment,
        service=project.name,
        home=found.home,
        tracking_uri=project.tracking_uri,
        keep_port=True,
    )
    experiment = standing(target)
    return list(families(experiment, service=project.name)) if experiment else []


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
