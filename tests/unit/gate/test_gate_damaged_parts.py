"""A part that is missing, torn or changed amid a dataset, at each step that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from penstock.data.spec import SplitSpec
from penstock.data.split import split
from penstock.data.table import iter_batches, read_dataset, write_dataset
from penstock.errors import IntegrityError
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.explanation.explain import explain
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
from penstock.training.spec import TrainingSpec
from penstock.training.train import train

Step: TypeAlias = Callable[[Path, Any, Path], None]
SECOND = "part-00001.parquet"


def _split(data: Path, world: Any, out: Path) -> None:
    split(
        data,
        target="repaid",
        task="binary",
        spec=SplitSpec(),
        train=out / "train",
        holdout=out / "holdout",
    )


def _features(data: Path, world: Any, out: Path) -> None:
    fit_features(
        data,
        target="repaid",
        spec=FeaturesSpec(),
        output=out / "features",
        report=out / "page.html",
    )


def _train(data: Path, world: Any, out: Path) -> None:
    train(
        data,
        features=world.home / "good-features",
        target="repaid",
        task="binary",
        positive="yes",
        spec=TrainingSpec(trials=1, folds=3, candidates=("linear",)),
        model=out / "model",
        baselines=out / "baselines",
        report=out / "page.html",
        experiment="damaged",
        tracking_uri=world.store,
    )


def _evaluate(data: Path, world: Any, out: Path) -> None:
    evaluate(
        data,
        model=world.good,
        baselines=world.baselines,
        spec=EvaluationSpec(resamples=100),
        output=out / "evaluation.json",
        report=out / "page.html",
    )


def _explain(data: Path, world: Any, out: Path) -> None:
    explain(data, model=world.good, output=out / "explanation.json", report=out / "page.html")


def _missing(path: Path) -> None:
    path.unlink()


def _torn(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


DAMAGES = {
    _missing: "is missing",
    _torn: "the file has [0-9,]+ bytes, its record says [0-9,]+",
    _changed: "the file cannot be read",
}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_missing, f"'{SECOND}' is missing"),
        (_torn, r"the file has [\d,]+ bytes, its record says [\d,]+"),
        (_changed, "the file cannot be read"),
    ],
)
@pytest.mark.parametrize(
    ("step", "reads"),
    [
        (_split, "data"),
        (_features, "train"),
        (_train, "train"),
        (_evaluate, "holdout"),
        (_explain, "holdout"),
    ],
)
def test_it_is_a_sentence_and_leaves_nothing(
    gate_world: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
    reads: str,
    damage: Callable[[Path], None],
    said: str,
) -> None:
    monkeypatch.setattr("penstock.data.table.writer.GROUP_ROWS", 100)
    monkeypatch.setattr("penstock.data.table.writer.PART_ROWS", 200)
    whole = gate_world.home / f"good-{reads}"
    write_dataset(iter_batches(whole, rows=100), output=tmp_path / "rows", source="a test")
    assert read_dataset(tmp_path / "rows").content == read_dataset(whole).content
    damage(tmp_path / "rows" / SECOND)
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError, match=said) as raised:
        step(tmp_path / "rows", gate_world, tmp_path / "out")
    assert SECOND in str(raised.value)
    assert list((tmp_path / "out").iterdir()) == []
