"""The former champions of a service, found in the registry and loaded as the server loads them.

One that may not serve again, or cannot be loaded, is said with the reason, and not left out.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from penstock.errors import InputError, PenstockError, absent_column
from penstock.monitoring.interventions.recall import Former, Unusable
from penstock.monitoring.signals.window import INPUTS
from penstock.records.baseline import Baseline
from penstock.records.model import FILE_NAME as MODEL
from penstock.records.model import Model
from penstock.records.reference import FILE_NAME as REFERENCE
from penstock.records.reference import Reference

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]


def former_champions(
    service: str, *, tracking_uri: str, folder: Path, most: int
) -> tuple[Former | Unusable, ...]:
    """Return the versions that were champion once and are not now, the last one first.

    A version may serve again unless somebody rejected it since, or it was rolled back. Its model is
    loaded when it is to score rows, and not kept in memory.

    Args:
        service: The registered model.
        tracking_uri: The MLflow store.
        folder: Where their files are kept, so that they are downloaded once. Those of versions that
            are not looked at any more are deleted.
        most: Versions that are looked at.

    Raises:
        ServiceError: If the registry does not answer.
    """
    from penstock.registry import champion

    numbers = champion.former_champions(service, tracking_uri=tracking_uri)[:most]
    found = tuple(
        _found(service, number, tracking_uri=tracking_uri, folder=folder) for number in numbers
    )
    _prune(folder, keep=numbers)
    return found


def served(
    version: int, *, columns: Collection[str], reference: Reference, baseline: Baseline
) -> Former:
    """Return the champion, whose scores are those that it answered with.

    Args:
        version: The one that answered the rows that it is to be compared on.
        columns: Its inputs.
        reference: Of the rows that it learned from.
        baseline: How it scored its holdout.
    """

    def predict(rows: pa.Table) -> Floats:
        if baseline.task != "multiclass":
            return np.asarray(rows.column("score").to_numpy(), dtype=np.float64)
        size = len(baseline.classes)
        nothing = [np.nan] * size
        given = rows.column("scores").to_pylist()
        kept = [one if one and len(one) == size else nothing for one in given]
        return np.array(kept, dtype=np.float64).reshape(-1, size)

    return Former(version, tuple(columns), reference, baseline, predict)


def _found(service: str, number: int, *, tracking_uri: str, folder: Path) -> Former | Unusable:
    from penstock.registry import admission, versions
    from penstock.registry.baseline import load_baseline
    from penstock.rollout.fetching import fetch

    try:
        version = admission.require_return(service, number, tracking_uri=tracking_uri)
        rolled_back = version.tags.get(versions.ROLLED_BACK, "")
        if rolled_back:
            return Unusable(number, f"it was rolled back. {rolled_back}")
        kept = load_baseline(version, tracking_uri=tracking_uri)
        if kept.baseline is None:
            return Unusable(number, " ".join(kept.notes))
        release = fetch(version, into=folder, tracking_uri=tracking_uri)
        record = Model.read(release.folder / MODEL)
        return Former(
            version=number,
            columns=tuple(column.name for column in record.columns),
            reference=Reference.read(release.folder / REFERENCE),
            baseline=kept.baseline,
            predict=scoring(release.folder, record, digest=release.model, export=release.export),
        )
    except InputError as error:
        return Unusable(number, f"what the registry keeps of it cannot be read: {error.what}.")
    except PenstockError as error:
        return Unusable(number, str(error))


def scoring(
    folder: Path, record: Model, *, digest: str, export: str
) -> Callable[[pa.Table], Floats]:
    """Return what scores captured rows as a version's server does; it is loaded at each call.

    Args:
        folder: The model folder.
        record: What is known of the model.
        digest: Digest that the folder must have.
        export: Digest that its ONNX form must have; empty: scikit-learn answers.

    Raises:
        PenstockError: By what is returned, if the folder cannot be loaded or the rows not scored.
    """

    def predict(rows: pa.Table) -> Floats:
        from penstock.serving.loading import load_scorer

        try:
            scorer = load_scorer(folder, digest=digest, export=export)
            return np.asarray(scorer.scores_of(_arrays(rows, record)), dtype=np.float64)
        except PenstockError:
            raise
        except Exception as error:  # What a model raises must not end the monitor.
            raise InputError(
                f"it cannot score the rows: {type(error).__name__}: {error!s:.200}",
                where=str(folder),
            ) from error

    return predict


def _arrays(rows: pa.Table, record: Model) -> dict[str, Any]:
    """Return captured rows as a scorer takes them."""
    from penstock.data.types.columns import to_array
    from penstock.data.types.value import rules_of

    rules = rules_of(record.columns, record.reading)
    arrays = {}
    for column in record.columns:
        name = INPUTS + column.name
        if name not in rows.column_names:
            there = [
                one.removeprefix(INPUTS) for one in rows.column_names if one.startswith(INPUTS)
            ]
            raise absent_column(column.name, there, where="the window", table="the window")
        arrays[column.name] = to_array(rows.column(name), rules[column.name])
    return arrays


def _prune(folder: Path, *, keep: Collection[int]) -> None:
    for path in folder.glob("[0-9]*-*"):
        if path.name.partition("-")[0] not in {str(number) for number in keep}:
            with contextlib.suppress(OSError):
                shutil.rmtree(path)
