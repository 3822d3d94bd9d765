"""What is kept of recalls and retrainings on a cluster, beside the monitor's state.

    SERVICE/monitor/interventions/
      IDENTITY/                  one recall or retraining
        compare-LOOK.starts      how often a comparison was begun
        RUN.order-START.json     which run of Kubeflow carries a stage out; written before it does
        RUN.result-START.json    what that came to
        RUN.rows-START.parquet   the labelled rows of that run, until it has ended

Orders are written by whoever holds the monitor's lease. A result is written by the run that its
order names, and by no other.
"""

from __future__ import annotations

import contextlib
import re

from penstock.errors import PenstockError
from penstock.monitoring.storage import Storage
from penstock.records.intervention import Intervention, RunOrder, RunStatus

_ROWS = re.compile(r".+\.rows-\d+\.parquet")


class RunFiles:
    """The files of the interventions of one service.

    Args:
        storage: Where they lie.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def orders(self, intervention: Intervention) -> list[RunOrder]:
        """Return the orders of the stage that an intervention is in, the first one first.

        Raises:
            PenstockError: If a store does not answer, or what is there cannot be read.
        """
        prefix = f"{intervention.run}.order-"
        folder = intervention.identity
        found = [
            RunOrder.loads(self.storage.read(folder, name).decode(), where=name)
            for name in self.storage.names(folder)
            if name.startswith(prefix)
        ]
        return sorted(found, key=lambda one: one.start)

    def give(self, order: RunOrder) -> None:
        """Write an order, before anything of it begins.

        Raises:
            ServiceError: If it cannot be written.
        """
        self.storage.write(order.intervention.identity, _name(order, "order"), _bytes(order))

    def result(self, order: RunOrder) -> RunStatus | None:
        """Return what the run of an order came to; None: that is not known.

        Raises:
            PenstockError: If a store does not answer, or what is there cannot be read.
        """
        name = _name(order, "result")
        try:
            text = self.storage.read(order.intervention.identity, name).decode()
        except FileNotFoundError:
            return None
        return RunStatus.loads(text, where=name)

    def end(self, order: RunOrder, status: RunStatus) -> None:
        """Write what the run of an order came to.

        Raises:
            ServiceError: If it cannot be written.
        """
        self.storage.write(order.intervention.identity, _name(order, "result"), _bytes(status))

    def keep_rows(self, order: RunOrder, data: bytes) -> str:
        """Keep the rows of a run; return their address.

        Raises:
            ServiceError: If they cannot be written.
        """
        folder, name = order.intervention.identity, _rows(order)
        self.storage.write(folder, name, data)
        return self.storage.address(folder, name)

    def remove_rows(self, order: RunOrder) -> None:
        """Remove the rows of a run; they may be gone.

        Raises:
            ServiceError: If they cannot be removed.
        """
        self.storage.remove(order.intervention.identity, _rows(order))

    def remove_others(self, order: RunOrder | None) -> None:
        """Remove the rows of all runs but that of an order: those were killed, or have ended.

        What cannot be removed is removed the next time.
        """
        kept = None if order is None else (order.intervention.identity, _rows(order))
        with contextlib.suppress(PenstockError, OSError):
            for folder, names in self.storage.folders().items():
                for name in names:
                    if _ROWS.fullmatch(name) and (folder, name) != kept:
                        self.storage.remove(folder, name)

    def count_comparison(self, intervention: Intervention) -> int:
        """Return how often the comparison of a look was begun, this time included.

        Raises:
            PenstockError: If a store does not answer.
        """
        folder, name = intervention.identity, f"compare-{intervention.look}.starts"
        count = 0
        with contextlib.suppress(OSError, ValueError):
            count = int(self.storage.read(folder, name))
        self.storage.write(folder, name, f"{count + 1}\n".encode())
        return count + 1


def _name(order: RunOrder, kind: str) -> str:
    return f"{order.intervention.run}.{kind}-{order.start}.json"


def _rows(order: RunOrder) -> str:
    return f"{order.intervention.run}.rows-{order.start}.parquet"


def _bytes(record: RunOrder | RunStatus) -> bytes:
    return record.dumps().encode()
