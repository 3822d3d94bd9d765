"""Former champions of a real registry: which may serve again, and how they score."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from monitored_rows import captured, reference_to

from penstock import model
from penstock.errors import PenstockError
from penstock.gate.decision import decide
from penstock.model import digest_of
from penstock.monitoring.interventions.former_champions import former_champions, served
from penstock.monitoring.interventions.recall import Former, Unusable
from penstock.records.approval import Identity
from penstock.records.baseline import Baseline, LossFigure, ScoreBins
from penstock.records.reference import Reference
from penstock.registry import approvals, versions
from penstock.registry.champion import set_champion
from penstock.rollout.resume import promote

Registry = Any
"""The fixture's class lives in conftest.py, which cannot be imported by name."""

STORED = "artifacts/**/model.skops"

BINS = ScoreBins(edges=(0.5, 1.0), rows=(100, 100), sums=(20, 80), hits=(20, 80))


def columns(rows: int, *, seed: int) -> dict[str, Any]:
    """Rows that the models take, in the types of captured ones."""
    rng = np.random.default_rng(seed)
    times = [datetime.fromtimestamp(1.6e9 + at) for at in range(rows)]
    return {
        "age": pa.array(rng.integers(18, 90, rows)),
        "hours per-week": pa.array(rng.normal(40, 7, rows)),
        "member": pa.array(rng.random(rows) < 0.5),
        "job": pa.array(rng.choice(["clerk", "nurse"], rows).tolist()),
        "since": pa.array(times, pa.timestamp("us", tz="UTC")),
    }


@pytest.fixture
def released(registry: Registry, tmp_path: Path) -> Callable[..., None]:
    """`released(depth)` makes a version champion, with a reference and a baseline."""
    plain = registry.models
    reference = reference_to(columns(500, seed=1), tmp_path / "reference-rows")

    def models(*, depth: int = 2) -> Path:
        folder = tmp_path / "models" / str(depth)
        if not folder.exists():
            shutil.copytree(plain(depth=depth), folder)
            reference.write(folder / "reference.json")
        return folder

    registry.models = models

    def release(depth: int, *, baseline: bool = True) -> None:
        made = Baseline(
            task="binary", target="target", metric="accuracy", dataset="rows", rows=200,
            model=digest_of(models(depth=depth)), classes=("no", "yes"), threshold=0.4,
            scores=(BINS,), losses={"error": LossFigure(mean=0.2, deviation=0.4)},
        )  # fmt: skip
        evaluation = registry.evaluation(depth, baseline=made.digest() if baseline else "")
        decision = decide(evaluation, policy=registry.policy)
        grounds = {"baseline": made} if baseline else {}
        registration = registry.register(decision, evaluation, depth=depth, **grounds)
        promote(registry.order(registration, decision), reason="Every rule passed.")

    return release


def found(registry: Registry, *, most: int = 5) -> dict[int, Former | Unusable]:
    place = registry.folder / "recall"
    all_ = former_champions("adult", tracking_uri=registry.uri, folder=place, most=most)
    return {one.version: one for one in all_}


def reason(one: Former | Unusable) -> str:
    assert isinstance(one, Unusable)
    return one.reason


def test_the_newest_comes_first_and_scores_as_its_server_does(
    registry: Registry, released: Callable[..., None]
) -> None:
    for depth in (2, 3, 4):
        released(depth)
    all_ = found(registry)
    assert list(all_) == [2, 1]
    rows = columns(50, seed=2)
    one = all_[1]
    assert isinstance(one, Former)
    assert one.columns == ("age", "hours per-week", "member", "job", "since")
    expected = model.load(registry.models(depth=2))
    plain = {name: values.to_pylist() for name, values in rows.items()}
    assert one.predict(captured(rows)) == pytest.approx(expected.scores(expected.frame(plain)))
    assert one.reference.rows == 500
    assert one.baseline.classes == ("no", "yes")


def test_rows_without_one_of_its_inputs_are_not_scored(
    registry: Registry, released: Callable[..., None]
) -> None:
    released(2)
    released(3)
    one = found(registry)[1]
    assert isinstance(one, Former)
    with pytest.raises(PenstockError, match="the window has no column 'job'"):
        one.predict(captured({k: v for k, v in columns(5, seed=1).items() if k != "job"}))


def test_of_every_other_it_is_said_why_not(
    registry: Registry, released: Callable[..., None]
) -> None:
    for depth in (2, 3, 4, 5):
        released(depth, baseline=depth != 2)
    released(6)
    bob = Identity(name="bob", means="kubernetes user")
    approvals.give(
        "models:/adult/2", verdict="rejected", by=bob, reason="Seen.", tracking_uri=registry.uri
    )
    versions.tag("adult", 3, {versions.ROLLED_BACK: "Errors rose."}, tracking_uri=registry.uri)
    all_ = found(registry)
    assert list(all_) == [4, 3, 2, 1]
    assert isinstance(all_[4], Former)
    assert reason(all_[3]) == "it was rolled back. Errors rose."
    assert "Rejected by bob: Seen." in reason(all_[2])
    assert "models:/adult/1 has no baseline" in reason(all_[1])
    assert list(found(registry, most=2)) == [4, 3]


def test_where_nothing_was_champion_there_is_none(registry: Registry) -> None:
    assert found(registry) == {}
    registry.registered()
    assert found(registry) == {}


@pytest.mark.long
def test_a_version_that_came_back_is_no_former_one(
    registry: Registry, released: Callable[..., None]
) -> None:
    for depth in (2, 3):
        released(depth)
    set_champion("adult", 1, tracking_uri=registry.uri, event="promoted")
    assert list(found(registry)) == [2]
    set_champion("adult", 2, tracking_uri=registry.uri, event="promoted")
    assert list(found(registry)) == [1]


def test_files_that_are_torn_or_gone_are_a_sentence(
    registry: Registry, released: Callable[..., None]
) -> None:
    for depth in (2, 3, 4):
        released(depth)
    stored = {digest_of(path.parent): path for path in registry.folder.glob(STORED)}
    of = [stored[digest_of(registry.models(depth=depth))] for depth in (2, 3)]
    of[0].write_bytes(of[0].read_bytes()[:100])
    shutil.rmtree(of[1].parent)
    all_ = found(registry)
    assert "models:/adult/1: the digest of its files is" in reason(all_[1])
    assert reason(all_[2]) == (
        "what the registry keeps of it cannot be read: the folder holds no file."
    )


@pytest.mark.long
def test_a_copy_that_is_torn_is_fetched_again(
    registry: Registry, released: Callable[..., None]
) -> None:
    released(2)
    released(3)
    one = found(registry)[1]
    assert isinstance(one, Former)
    (copy,) = (registry.folder / "recall").glob("1-*/model.skops")
    whole = copy.read_bytes()
    copy.write_bytes(whole[:100])
    rows = captured(columns(5, seed=1))
    with pytest.raises(PenstockError, match="the digest of the model is"):
        one.predict(rows)
    again = found(registry)[1]
    assert isinstance(again, Former)
    assert len(again.predict(rows)) == 5
    released(4)
    found(registry, most=1)
    assert [path.name[:2] for path in (registry.folder / "recall").iterdir()] == ["2-"]


def test_the_champion_has_the_scores_that_users_got() -> None:
    rows = pa.table({"score": [0.1, None], "scores": [[0.1, 0.2, 0.7], None]})
    two = Baseline(
        task="binary", target="y", metric="accuracy", model="", dataset="", rows=200,
        classes=("no", "yes"), threshold=0.5, scores=(BINS,), losses={},
    )  # fmt: skip
    three = two.model_copy(update={"task": "multiclass", "classes": ("a", "b", "c")})
    reference = Reference(dataset="", rows=1, columns=())
    one = served(1, columns=("x",), reference=reference, baseline=two)
    assert one.predict(rows).tolist() == pytest.approx([0.1, np.nan], nan_ok=True)
    many = served(1, columns=("x",), reference=reference, baseline=three)
    assert many.predict(rows)[0].tolist() == [0.1, 0.2, 0.7]
    assert np.isnan(many.predict(rows)[1]).all()
