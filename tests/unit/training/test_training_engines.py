"""A search by an engine tries the same settings, finds the same scores and makes the same model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_work import Killed
from engines import engines as engines

from penstock import model
from penstock.data.engine import Each, here
from penstock.errors import ServiceError
from penstock.metrics import METRICS
from penstock.training.crossval import CrossValidation
from penstock.training.estimators import build, family
from penstock.training.folds import make_folds
from penstock.training.inputs import read_problem
from penstock.training.search import run_search
from penstock.training.spec import TrainingSpec

FEW = ("linear", "hist_gradient_boosting", "random_forest")
FAMILIES = (*FEW, "extra_trees", "xgboost", "lightgbm")


def losing_a_worker(each: Each, marker: Path) -> Each:
    """Return the engine; the first of its workers that begins is killed."""

    def losing(work: Any, parts: Any) -> Iterator[Any]:
        return each(Killed(work, marker), parts)

    return losing


def found(folder: Path, each: Each, families: tuple[str, ...]) -> list[Any]:
    """What a search finds: all settings with their scores, and the best one's predictions."""
    given = read_problem(
        folder / "train", features=folder / "features", target="y", task="auto", positive="",
        split=None,
    )  # fmt: skip
    folds, _ = make_folds(given, folds=2, seed=20)
    validation = CrossValidation(given, folds, METRICS["roc_auc"])
    settings = TrainingSpec(candidates=families, trials=len(families) + 2)
    defaults = family("linear", task="binary").defaults
    first = validation.evaluate(
        build("linear", defaults, task="binary", seed=settings.seed),
        number=1, family="linear", parameters=defaults,
    )  # fmt: skip
    search = run_search(validation, spec=settings, first=first, done=lambda _: None, each=each)
    best = search.best
    tried = [(a.number, a.family, a.parameters, a.scores, a.complete) for a in search.attempts]
    return [tried, best.attempt.number, best.rows.tobytes(), best.predictions.tobytes()]


@pytest.mark.long
@pytest.mark.parametrize(
    ("families", "large"),
    [(FEW, False), pytest.param(FAMILIES, True, marks=pytest.mark.long)],
    ids=["few", "all-large"],
)
def test_every_engine_finds_the_same_when_a_worker_is_killed(
    bench: Any,
    make_table: Callable[..., Any],
    engines: dict[str, Each],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    families: tuple[str, ...],
    large: bool,
) -> None:
    bench.prepare(make_table(), columns={"kind": "drop", "amount": "drop"})
    if large:
        # Of many rows one fold is held at a time; so many are no matter of a test.
        monkeypatch.setattr("penstock.training.crossval.LARGE", 1)
    expected = found(bench.folder, here, families)
    assert {one[1] for one in expected[0]} == set(families)
    for name in ("processes", *(["dask"] if large else [])):
        marker = tmp_path / name
        losing = losing_a_worker(engines[name], marker)
        assert found(bench.folder, losing, families) == expected, name
        assert marker.exists()


def test_every_engine_makes_the_same_model(
    bench: Any, make_table: Callable[..., Any], engines: dict[str, Each]
) -> None:
    bench.prepare(make_table(), columns={"kind": "drop", "amount": "drop"})
    scores, records = [], []
    for name in ("here", "processes"):
        record = bench.train(each=engines[name], name=name)
        records.append(record.model_dump(exclude={"mlflow_run"}))
        rows = {c.name: make_table(seed=1)[c.name] for c in record.columns}
        import pandas as pd

        scores.append(model.load(bench.folder / name).scores(pd.DataFrame(rows)))
    assert records[0] == records[1]
    assert np.array_equal(*scores)


@pytest.mark.long
def test_a_full_disk_is_a_sentence_and_leaves_no_model(
    bench: Any,
    make_table: Callable[..., Any],
    engines: dict[str, Each],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench.prepare(make_table(), columns={"kind": "drop", "amount": "drop"})

    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    # No disk here may be filled.
    monkeypatch.setattr(np.lib.format, "write_array_header_2_0", full)
    with pytest.raises(
        ServiceError, match=r"cannot be written: No space left on device\. .*TMPDIR"
    ):
        bench.train(each=engines["processes"])
    assert bench.left() == set()
