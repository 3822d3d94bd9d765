"""What MLflow's own pages show of a version: the datasets of its run, the metrics of its model."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from penstock.gate.evaluation import Evaluation
from penstock.records.dataset import Dataset

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRAINING = "training"
HOLDOUT = "holdout"
"""Contexts of a run's datasets, MLflow's tag `mlflow.data.context`."""

_CONTEXT = "mlflow.data.context"
_LONGEST_SCHEMA = 60_000


def log_datasets(
    store: MlflowClient, run: str, *, name: str, training: Dataset | None, holdout: Dataset | None
) -> None:
    """Log the datasets of a run as MLflow's inputs, each with its content digest.

    MLflow takes 36 characters of a digest, so it gets ours without the name of the algorithm; the
    whole of it is in the source.

    Args:
        store: The MLflow store.
        run: The run's id.
        name: The registered model.
        training: Record of the training part; None: it is not known, and not logged.
        holdout: Record of the holdout; likewise.

    Raises:
        MlflowException: If the store does not take them.
    """
    from mlflow.entities import DatasetInput, InputTag

    inputs = [
        DatasetInput(_dataset(record, name=name, context=context), [InputTag(_CONTEXT, context)])
        for context, record in ((TRAINING, training), (HOLDOUT, holdout))
        if record is not None
    ]
    if inputs:
        store.log_inputs(run, datasets=inputs)


def log_metrics(
    store: MlflowClient,
    run: str,
    *,
    model_id: str,
    evaluation: Evaluation | None,
    name: str,
    holdout: Dataset | None,
) -> None:
    """Log what was measured on the holdout: of the run, of the logged model, of that dataset.

    Each metric is three figures: `holdout_NAME`, and with `_low` and `_high` its interval.

    Args:
        store: The MLflow store.
        run: The run's id.
        model_id: MLflow's id of the logged model.
        evaluation: What was measured; None: nothing is logged.
        name: The registered model.
        holdout: Record of the holdout; None: figures name no dataset.

    Raises:
        MlflowException: If the store does not take them.
    """
    from mlflow.entities import Metric

    scores = evaluation.scores_of("candidate") if evaluation else None
    measured = scores.metrics if scores else {}
    figures = {
        f"holdout_{metric}{suffix}": figure
        for metric, estimate in measured.items()
        for suffix, figure in (
            ("", estimate.value), ("_low", estimate.low), ("_high", estimate.high),
        )
    }  # fmt: skip
    of: dict[str, Any] = {"model_id": model_id, "run_id": run}
    if holdout is not None:
        of |= {"dataset_name": _name(name, HOLDOUT), "dataset_digest": _digest(holdout)}
    now = int(time.time() * 1000)
    store.log_batch(
        run, metrics=[Metric(key, value, now, 0, **of) for key, value in figures.items()]
    )


def _dataset(record: Dataset, *, name: str, context: str) -> Any:
    from mlflow.entities import Dataset as Logged

    source = {"uri": record.source, "digest": record.content, "dataset_version": record.version}
    if record.origin is not None and record.origin.reference is not None:
        source |= record.origin.reference.named
    columns = [{"name": column.name, "type": column.type} for column in record.columns]
    schema = json.dumps({"mlflow_colspec": columns})
    profile = json.dumps({"num_rows": record.rows, "num_columns": len(record.columns)})
    return Logged(
        name=_name(name, context),
        digest=_digest(record),
        source_type="penstock",
        source=json.dumps(source),
        schema=schema if len(schema) < _LONGEST_SCHEMA else None,
        profile=profile,
    )


def _name(name: str, context: str) -> str:
    return f"{name} {context}"


def _digest(record: Dataset) -> str:
    return record.content.rpartition(":")[2][:36]
