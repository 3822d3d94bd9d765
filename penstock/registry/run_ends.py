"""How runs on Kubeflow ended, kept in MLflow: the steps that know it write, the exit handler reads.

A tag of the project's MLflow experiment holds the end of a run, under the run's id: also a refusal
before anything was trained has a place there. The newest 20 are kept.
"""

from __future__ import annotations

from penstock import tracking
from penstock.errors import PenstockError
from penstock.records.run_end import RunEnd
from penstock.registry.audit import VALUE_LENGTH, compact
from penstock.registry.versions import answers

PREFIX = "penstock.run_end."

_KEPT = 20
_REASON_LENGTH = 2000


class RunEnds:
    """How runs of one project ended.

    Args:
        name: The project, and its MLflow experiment, which is made if it is not there.
        tracking_uri: The MLflow store; empty takes MLFLOW_TRACKING_URI.

    Raises:
        InputError: If no store is named.
        ServiceError: If it does not answer.
    """

    def __init__(self, name: str, *, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._store = tracking.client(tracking_uri)
        with answers(tracking_uri):
            self.experiment = tracking.experiment_id(self._store, name)

    def read(self, run: str) -> RunEnd | None:
        """Return how a run ended; None: no step has written that.

        Raises:
            InputError: If what is there is no such record.
            ServiceError: If the store does not answer.
        """
        found = self._tags().get(PREFIX + run)
        return None if found is None else RunEnd.loads(found, where=PREFIX + run)

    def write(self, run: str, end: RunEnd) -> None:
        """Write how a run ended, over what is there.

        Raises:
            ServiceError: If the store does not take it.
        """
        # A control character takes six characters in JSON.
        end = end.model_copy(update={"reason": end.reason[:_REASON_LENGTH]})
        while len(text := compact(end)) > VALUE_LENGTH:
            end = end.model_copy(update={"reason": end.reason[: len(end.reason) // 2]})
        with answers(self._uri):
            self._store.set_experiment_tag(self.experiment, PREFIX + run, text)

    def prune(self) -> None:
        """Remove all but the newest.

        Raises:
            ServiceError: If the store does not take it.
        """
        times: dict[str, str] = {}
        for key, text in self._tags().items():
            if not key.startswith(PREFIX):
                continue
            try:
                times[key] = RunEnd.loads(text, where=key).time.isoformat()
            except PenstockError:
                times[key] = ""  # Of another release, or no record: the first to go.
        with answers(self._uri):
            for key in sorted(times, key=times.__getitem__)[:-_KEPT]:
                self._store.delete_experiment_tag(self.experiment, key)

    def _tags(self) -> dict[str, str]:
        with answers(self._uri):
            return dict(self._store.get_experiment(self.experiment).tags)
