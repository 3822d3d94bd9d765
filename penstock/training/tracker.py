"""A training in MLflow: one parent run, one nested run for each complete setting."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from penstock import tracking
from penstock.errors import ServiceError
from penstock.metrics import Metric
from penstock.training import environment
from penstock.training.crossval import Attempt

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from penstock.records.dataset import Dataset

_LONGEST_VALUE = 500


class Tracker:
    """Writes to one parent run, in batches, so that logging takes a small part of the time.

    Args:
        store: The client.
        run_id: The parent run.
        metric: The metric that settings are compared by.
        common: Tags for the parent and for every nested run, such as the data version.
    """

    def __init__(
        self, store: MlflowClient, run_id: str, *, metric: Metric, common: Mapping[str, str]
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._metric = metric
        self._common = dict(common)
        with _service_errors(store):
            self._experiment = store.get_run(run_id).info.experiment_id

    def nested(self, attempt: Attempt, *, name: str) -> str:
        """Write a complete attempt as a nested run, and return its id."""
        ended = int(time.time() * 1000)
        started = ended - int(attempt.seconds * 1000)
        with _service_errors(self._store):
            run = self._store.create_run(
                self._experiment,
                start_time=started,
                run_name=name,
                tags={**self._common, "mlflow.parentRunId": self._run_id},
            )
            run_id = str(run.info.run_id)
            self._log(run_id, attempt, {"family": attempt.family, **attempt.parameters}, at=ended)
            self._store.set_terminated(run_id, status="FINISHED", end_time=ended)
        return run_id

    def parent(self, attempt: Attempt, *, parameters: Mapping[str, Any]) -> None:
        """Write the settings of the training and its winner to the parent run."""
        from mlflow.entities import RunTag

        with _service_errors(self._store):
            self._log(self._run_id, attempt, parameters, at=int(time.time() * 1000))
            tags = [RunTag(key, value) for key, value in self._common.items()]
            self._store.log_batch(self._run_id, tags=tags)

    def _log(
        self, run_id: str, attempt: Attempt, parameters: Mapping[str, Any], *, at: int
    ) -> None:
        from mlflow.entities import Metric as Logged
        from mlflow.entities import Param

        name = self._metric.name
        figures = [
            Logged(f"cv_{name}", attempt.mean, at, 0),
            Logged(f"cv_{name}_std", attempt.deviation, at, 0),
            Logged("seconds", attempt.seconds, at, 0),
            *(Logged(f"fold_{name}", score, at, fold) for fold, score in enumerate(attempt.scores)),
        ]
        texts = [Param(key, f"{value!s:.{_LONGEST_VALUE}}") for key, value in parameters.items()]
        self._store.log_batch(run_id, metrics=figures, params=texts)


def common_tags(*, dataset: Dataset, target: str) -> dict[str, str]:
    """Return the tags of every run of a training: data, code and environment. None is empty."""
    tags = {
        "penstock.dataset": dataset.version,
        "penstock.training_part": dataset.content,
        "penstock.target": target,
        "penstock.commit": environment.commit(),
        "penstock.libraries": json.dumps(environment.libraries(), sort_keys=True),
        "penstock.image": environment.image(),
        "penstock.pipeline_run": environment.pipeline_run(),
    }
    return {key: value for key, value in tags.items() if value}


@contextlib.contextmanager
def _service_errors(store: MlflowClient) -> Iterator[None]:
    """Turn MLflow's errors into ours: by now the store has answered once."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        uri = str(store.tracking_uri)
        raise ServiceError(
            f"MLflow did not take the training's results: {tracking.reason(error)}",
            where=uri,
            remedy="See the server's log, then train again.",
        ) from error
