"""Training data: noise, flipped labels and drift are found, and sound data is left alone."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from health_world import Made, customers, dataset, make

from penstock.data.profile.reference import Drift, drift, reference_of
from penstock.data.table import write_dataset
from penstock.examples.transactions import transactions
from penstock.gate.policy import Policy
from penstock.records.health import TrainingHealth
from penstock.records.model import Model

LONG = pytest.mark.long
BLOCK = {"training_data": {"severity": "block"}}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("training") / "sound", customers())


def flipped(frame: pd.DataFrame, rows: pd.Series) -> pd.DataFrame:
    turned = frame["left"].map({"yes": "no", "no": "yes"})
    return frame.assign(left=frame["left"].where(~rows, turned))


def test_sound_data_passes(sound: Made) -> None:
    rules = sound.rules(BLOCK, page=True)
    for name in ("label noise", "flipped labels"):
        assert rules[f"training data: {name}"].verdict == "pass"
    assert rules["training data: drift"].verdict == "not applicable"
    assert "do labels look flipped" in sound.page()


def test_what_training_knows_lies_in_the_model_under_its_digest(sound: Made) -> None:
    from penstock import model

    held = {path.name for path in sound.model.iterdir()}
    assert {"health.json", "split.json", "dataset.json", "reference.json", "rows.npy"} <= held
    before = model.digest_of(sound.model)
    path = sound.model / "health.json"
    text = path.read_text()
    try:
        path.write_text(text.replace('"poisoned": 0.0', '"poisoned": 0.001'))
        assert model.digest_of(sound.model) != before
    finally:
        path.write_text(text)


@pytest.mark.long
def test_the_share_of_wrong_labels_rises_with_the_noise(tmp_path: Path) -> None:
    found = []
    for noise in (0.0, 0.1, 0.25):
        made = make(tmp_path / f"noise {noise}", customers(1500, noise=noise))
        health = TrainingHealth.read(made.model / "health.json")
        assert health.suspects == ()
        found.append(health.label_noise or 0.0)
    assert found[0] < 0.1 < found[1] < found[2]
    rule = made.rules(BLOCK)["training data: label noise"]
    assert (rule.verdict, rule.severity) == ("fail", "block")
    warned = made.rules({})["training data: label noise"]
    assert (warned.verdict, warned.severity) == ("fail", "warn")


@pytest.mark.parametrize(
    ("where", "named"),
    [
        pytest.param(
            lambda f: f["region"] == "north", "region = north", id="all of a level", marks=LONG
        ),
        pytest.param(
            lambda f: f["when"] < "2026-01-15", "when below 2026-01", id="a time", marks=LONG
        ),
        pytest.param(
            lambda f: (f["region"] == "west") & (np.arange(len(f)) % 5 < 2),
            "region = west",
            id="two fifths of a level",
        ),
    ],
)
def test_a_part_whose_labels_were_flipped_is_named_and_blocks(
    tmp_path: Path, where, named: str
) -> None:
    frame = customers(3000)
    made = make(tmp_path / "poisoned", flipped(frame, where(frame)))
    rule = made.rules(BLOCK, page=True)["training data: flipped labels"]
    assert (rule.verdict, rule.severity) == ("fail", "block")
    assert named in rule.sentence
    assert named in made.page()
    assert made.rules({})["training data: flipped labels"].severity == "warn"


def test_a_part_of_a_column_that_the_model_does_not_take_is_found(tmp_path: Path) -> None:
    frame = customers(2400)
    frame["batch"] = np.where(np.arange(len(frame)) % 7 == 0, "b", "a")
    made = make(
        tmp_path / "batch",
        flipped(frame, frame["batch"] == "b"),
        features={"columns": {"batch": "drop"}},
    )
    taken = [column.name for column in Model.read(made.model / "penstock.json").columns]
    assert "batch" not in taken
    suspects = TrainingHealth.read(made.model / "health.json").suspects
    assert "batch = b" in [suspect.name for suspect in suspects]


@pytest.mark.long
def test_a_stream_of_transactions_is_not_suspected(tmp_path: Path) -> None:
    frame = transactions(rows=6000)
    frame["fraud"] = np.where(frame["fraud"], "yes", "no")
    made = make(tmp_path / "stream", frame, target="fraud")
    health = TrainingHealth.read(made.model / "health.json")
    assert health.suspects == ()
    assert (health.label_noise or 1) < 0.05


@pytest.mark.long
def test_many_classes_have_their_noise_and_a_regression_none(tmp_path: Path) -> None:
    frame = customers(1200)
    number = (frame["age"] - 45) / 12
    classes = frame.assign(left=np.array(["a", "b", "c"])[np.digitize(number, [-0.5, 0.5])])
    made = make(tmp_path / "classes", classes)
    health = TrainingHealth.read(made.model / "health.json")
    assert health.label_noise is not None
    assert health.label_noise < 0.05
    wrong = np.random.default_rng(3).random(1200) < 0.25
    noisy = classes.assign(left=classes["left"].where(~wrong, "c"))
    worse = TrainingHealth.read(make(tmp_path / "noisy", noisy).model / "health.json")
    assert (worse.label_noise or 0) > health.label_noise + 0.08
    assert worse.suspects == ()
    regression = make(tmp_path / "regression", frame.assign(left=number + 1.5))
    rules = regression.rules(BLOCK, page=True)
    for name in ("label noise", "flipped labels"):
        assert rules[f"training data: {name}"].verdict == "not applicable"
    assert "no classes" in regression.page()


def test_drift_against_the_champion_passes_and_blocks(tmp_path: Path, sound: Made) -> None:
    same = make(tmp_path / "same", customers(seed=5))
    champion = {"champion": sound.model, "champion_uri": "models:/m/1"}
    rule = same.rules(BLOCK, **champion)["training data: drift"]
    assert rule.verdict == "pass"
    assert (rule.value or 0) < 0.05
    moved = make(tmp_path / "moved", customers(seed=5).assign(region="north"))
    rule = moved.rules(BLOCK, page=True, **champion)["training data: drift"]
    assert (rule.verdict, rule.severity) == ("fail", "block")
    assert "region has moved most" in rule.sentence
    assert "Stability index" in moved.page()


def test_drift_against_a_champion_that_carries_nothing_does_not_pass(
    tmp_path: Path, sound: Made
) -> None:
    import shutil

    old = tmp_path / "old"
    shutil.copytree(sound.model, old)
    (old / "reference.json").unlink()
    rule = sound.rules({}, champion=old, champion_uri="models:/m/1")["training data: drift"]
    assert rule.verdict == "fail"
    assert "the champion does not carry" in rule.sentence


def test_the_index_is_that_of_the_textbook(tmp_path: Path) -> None:
    def rows(name: str, north: int, south: int) -> Path:
        table = pa.table({"region": ["n"] * north + ["s"] * south})
        write_dataset([table], output=tmp_path / name, source="a test")
        return tmp_path / name

    found = drift(reference_of(rows("old", 800, 200)), reference_of(rows("new", 500, 500)))
    expected = (0.5 - 0.8) * np.log(0.5 / 0.8) + (0.5 - 0.2) * np.log(0.5 / 0.2)
    assert found.index["region"] == pytest.approx(expected - 2 / 1000)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_index_of_numbers_sees_shifts_missing_values_and_no_chance(
    tmp_path: Path, seed: int
) -> None:
    draw = np.random.default_rng(seed)

    def reference(name: str, frame: pd.DataFrame):
        return reference_of(dataset(tmp_path / name, frame))

    def frame(rows: int, shift: float = 0.0, missing: float = 0.0) -> pd.DataFrame:
        x = draw.normal(size=rows) + shift
        x[draw.random(rows) < missing] = np.nan
        return pd.DataFrame({"x": x, "count": draw.poisson(1 + shift, rows), "flag": x > 0})

    old = reference("old", frame(800))
    assert max(drift(old, reference("same", frame(700))).index.values()) < 0.06
    moved = drift(old, reference("moved", frame(700, shift=1.0))).index
    assert min(moved.values()) > 0.3
    assert drift(old, reference("missing", frame(700, missing=0.4))).index["x"] > 0.25


def test_times_are_not_held_against_later_times(sound: Made, tmp_path: Path) -> None:
    later = customers(seed=5)
    later["when"] += pd.Timedelta(days=900)
    old, new = reference_of(sound.folder / "train"), reference_of(dataset(tmp_path / "l", later))
    found = drift(old, new)
    assert set(found.index) == {"age", "spend", "region", "when", "left"}
    assert found.index["when"] == 0


FLAGS = {"integer": int, "number": float, "string": str, "boolean": bool}


def parts(**columns: list[object]) -> pa.Table:
    return pa.table({"row": range(1000), **columns})


def compared(tmp_path: Path, old: pa.Table, new: pa.Table) -> Drift:
    for name, table in (("old", old), ("new", new)):
        write_dataset([table], output=tmp_path / name, source="a test")
    return drift(reference_of(tmp_path / "old"), reference_of(tmp_path / "new"))


def test_a_flag_that_turned_has_moved_as_far_whatever_it_is_stored_as(tmp_path: Path) -> None:
    moved = {}
    for kind, store in FLAGS.items():
        before = parts(flag=[store(i >= 30) for i in range(1000)])
        later = parts(flag=[store(i >= 900) for i in range(1000)])
        moved[kind] = compared(tmp_path / kind, before, later).index["flag"]
    assert min(moved.values()) > 4
    assert max(moved.values()) - min(moved.values()) < 1e-9


@pytest.mark.parametrize(
    ("before", "later"),
    [
        ([5] * 900 + [1] * 100, [4] * 900 + [1] * 100),  # A code that was never there.
        ([0.0] * 500 + [i / 7 for i in range(500)], [0.0] * 50 + [i / 7 for i in range(950)]),
        ([0.5] * 1000, [None] * 1000),
        ([None] * 1000, ["a"] * 1000),
        (["a", "b"] * 500, [None] * 1000),
        ([datetime(2026, 1, 1)] * 1000, [None] * 1000),
    ],
    ids=["a code", "a heavy value", "gone", "come", "text gone", "time gone"],
)
def test_what_moved_is_never_left_out(
    tmp_path: Path, before: list[object], later: list[object]
) -> None:
    assert compared(tmp_path, parts(x=before), parts(x=later)).index["x"] > 0.25
    assert compared(tmp_path / "same", parts(x=before), parts(x=before)).index["x"] == 0


def test_a_column_that_cannot_be_compared_fails_by_name(tmp_path: Path, sound: Made) -> None:
    frame = customers(seed=5)
    frame["age"] = "about " + frame["age"].round(-1).astype(int).astype(str)
    changed = make(tmp_path / "changed", frame.drop(columns="spend").assign(fresh=frame["spend"]))
    champion = {"champion": sound.model, "champion_uri": "models:/m/1"}
    rule = changed.rules(BLOCK, page=True, **champion)["training data: drift"]
    assert rule.verdict == "fail"
    assert "age (it was stored as number, and is as string), spend (it is gone)" in rule.sentence
    assert "it was stored as number" in changed.page()
    assert "does not have fresh" in changed.page()


def test_what_was_not_measured_does_not_pass(sound: Made) -> None:
    from penstock.gate.decision import decide

    policy = Policy.parse(BLOCK, where="gate")
    measured = sound.evaluation(policy).model_copy(update={"training_data": None})
    decision = decide(measured, policy=policy)
    assert {rule.rule: rule.verdict for rule in decision.rules}["training data"] == "fail"
    assert not decision.approved
