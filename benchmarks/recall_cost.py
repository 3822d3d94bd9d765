"""What a recall and a training cost by the steps themselves, for bench_recall.py.

Run as a program, in a process of its own, it does both and prints CPU seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from measuring import measured
from recall_streams import simulated

from penstock.records.reference import Reference

ROWS = 1000
"""Labelled rows since the change: what `train` learns from, and what the choice looks at."""


def costs() -> dict[str, float]:
    """Return the CPU of the train step, and of a choice with a version that is loaded for it."""
    with TemporaryDirectory() as folder:
        cost, said = measured([sys.executable, __file__, folder])
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    found["CPU s of the whole process"] = cost.cpu
    return found


def main() -> int:
    """Train, then choose between the version and a former one that is loaded from its folder."""
    home = Path(sys.argv[1])
    spent: dict[str, float] = {}
    _train(home, "first", seed=0)
    with _timed(spent, "CPU s of features and train, 1,000 rows"):
        _train(home, "second", seed=1)
    # The first choice pays for imports.
    elsewhere = _elsewhere()
    for _ in range(3):
        with _timed(spent, "CPU s of a recall: 5 former champions, one loaded"):
            _choose(home, elsewhere)
    train, recall = spent.values()
    print(json.dumps({**spent, "ratio": recall / train}))
    return 0


@contextmanager
def _timed(spent: dict[str, float], name: str) -> Iterator[None]:
    began = time.process_time()
    yield
    spent[name] = time.process_time() - began


def _rows(seed: int, regime: int, count: int) -> tuple[dict[str, Any], np.ndarray]:
    stream = simulated(seed, rows=2 * count)
    part = stream.parts[regime]
    columns = {name: pa.array(part.x[:count, k]) for k, name in enumerate(stream.columns)}
    return columns, part.y[:count]


def _train(home: Path, name: str, *, seed: int) -> None:
    from penstock.data.table import write_dataset
    from penstock.features.fit import fit_features
    from penstock.features.spec import FeaturesSpec
    from penstock.training.spec import TrainingSpec
    from penstock.training.train import train

    place = home / name
    columns, y = _rows(seed, 0, ROWS)
    labels = pa.array(np.where(y, "yes", "no").tolist())
    table = pa.table({**columns, "y": labels})
    write_dataset(table.to_batches(), output=place / "train", source="simulated", part="train")
    fit_features(
        place / "train", target="y", spec=FeaturesSpec(), output=place / "features",
        report=place / "features.html",
    )  # fmt: skip
    train(
        place / "train", features=place / "features", target="y", task="auto", positive="yes",
        spec=TrainingSpec(), model=place / "model", baselines=place / "baselines",
        report=place / "training.html", experiment="bench",
        tracking_uri=f"sqlite:///{home}/mlflow.db",
    )  # fmt: skip


def _elsewhere() -> Reference:
    from monitor_streams import reference_of

    return reference_of(_rows(0, 1, ROWS)[0])


def _choose(home: Path, elsewhere: Reference) -> None:
    from monitor_streams import captured

    from penstock import model
    from penstock.monitoring.interventions.former_champions import scoring, served
    from penstock.monitoring.interventions.recall import Former, choose
    from penstock.monitoring.settings.recall import RecallSpec
    from penstock.records.baseline import Baseline, ScoreBins
    from penstock.records.model import Model

    folder = home / "first" / "model"
    record, reference = (
        Model.read(folder / "penstock.json"),
        Reference.read(folder / "reference.json"),
    )
    bins = ScoreBins(edges=(0.5, 1.0), rows=(100, 100), sums=(20, 80), hits=(20, 80))
    baseline = Baseline(
        task="binary", target="y", metric="accuracy", model="", dataset="", rows=200,
        classes=("no", "yes"), threshold=0.5, scores=(bins,), losses={},
    )  # fmt: skip
    names = tuple(column.name for column in record.columns)
    columns, y = _rows(0, 0, ROWS)
    rows = captured(columns, hour=0).append_column("score", pa.array(np.linspace(0, 1, ROWS)))
    digest = model.digest_of(folder)
    most = RecallSpec().versions
    score = scoring(folder, record, digest=digest, export="")
    # The last champion and all others but one learned from the other regime.
    formers = [Former(k, names, elsewhere, baseline, score) for k in range(2, most + 1)]
    formers.append(Former(1, names, reference, baseline, score))
    choice = choose(
        formers,
        champion=served(9, columns=names, reference=elsewhere, baseline=baseline),
        rows=rows,
        labels=np.where(y, "yes", "no").tolist(),
        spec=RecallSpec(),
    )
    assert choice.version == 1, choice.reason
    assert sum(one.fits for one in choice.comparisons) == 1


if __name__ == "__main__":
    sys.exit(main())
