"""Leakage: each part is seen to pass and to block, and what is not known does not pass."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from health_world import Made, customers, dataset, make

from penstock.data.hashing import rows as fingerprints
from penstock.data.hashing.digest import hash_rows
from penstock.data.split import table_hashes
from penstock.data.table import read_table
from penstock.errors import InputError, IntegrityError
from penstock.gate.decision import decide
from penstock.gate.policy import Policy
from penstock.records.dataset import RECORD_NAME, Dataset, Split


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("leakage") / "sound", customers())


def test_a_sound_model_passes_and_the_page_says_why(sound: Made) -> None:
    rules = sound.rules({"leakage": {"not_at_serving": ["when"]}}, page=True)
    assert {rules[f"leakage: {part}"].verdict for part in ("one column", "overlap")} == {"pass"}
    assert "compared every row" in rules["leakage: overlap"].sentence
    page = sound.page()
    assert "No row of the holdout was trained on" in page
    assert page.index("age") < page.index("Area under the ROC curve of the column alone")


def test_a_column_that_no_table_has_is_refused_before_training(tmp_path: Path) -> None:
    policy = {"leakage": {"not_at_serving": ["spent"]}}
    with pytest.raises(InputError, match=r"not_at_serving: .*'spent'\. Did you mean 'spend'\?"):
        make(tmp_path / "misspelt", customers(200), policy=policy)
    assert not (tmp_path / "misspelt" / "model").exists()


@pytest.mark.parametrize(
    "policy",
    [
        {"slices": {"columns": [["region", "regionn"]]}},
        {"fairness": [{"columns": ["regionn"], "difference_at_most": 0.1}]},
        {"leakage": {"not_at_serving": ["regionn"]}},
        {"cost": {"expression": "(truth == predicted) * (regionn == 'north')"}},
    ],
)
def test_a_rule_that_names_no_column_is_refused(sound: Made, policy: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"no column 'regionn'\. Did you mean 'region'\?"):
        sound.rules(policy)


def test_a_record_with_a_misspelt_column_does_not_pass(sound: Made) -> None:
    policy = Policy.parse({"leakage": {"not_at_serving": ["when"]}}, where="gate")
    found = sound.evaluation(policy)
    leakage = found.leakage
    assert leakage is not None
    record = found.model_copy(
        update={"leakage": leakage.model_copy(update={"unknown": ("spent",)})}
    )
    rules = {rule.rule: rule for rule in decide(record, policy=policy).rules}
    assert rules["leakage: not at serving"].verdict == "fail"


def test_a_column_that_is_not_known_when_serving_blocks(sound: Made) -> None:
    rule = sound.rules({"leakage": {"not_at_serving": ["spend"]}})["leakage: not at serving"]
    assert (rule.verdict, rule.severity) == ("fail", "block")
    assert "The model takes spend" in rule.sentence


LEAKS = {
    "not monotone": lambda f, left: (
        (left * 7 + 3) % 5 * 1.0 + np.where(f.index % 2, 100.0, 0.0) * left
    ),
}
MORE_LEAKS = {
    "copy": lambda f, left: 0 * f["age"] + left * 2.0 + 1,
    "falling": lambda f, left: -(left * 10 + f["age"] / 1000),
    # Known only once the outcome is.
    "by missing": lambda f, left: f["age"].where(left == 1),
    "text": lambda f, left: pd.Series(np.where(left == 1, "closed", "open"), f.index),
}


@pytest.mark.parametrize(
    "leak",
    [
        *(pytest.param(leak, id=name) for name, leak in LEAKS.items()),
        *(pytest.param(leak, id=name, marks=pytest.mark.long) for name, leak in MORE_LEAKS.items()),
    ],
)
def test_one_column_that_tells_all_is_found(tmp_path: Path, leak) -> None:
    frame = customers(600)
    frame["status"] = leak(frame, (frame["left"] == "yes").astype(int))
    made = make(tmp_path / "leaking", frame)
    warned = made.rules({})["leakage: one column"]
    assert (warned.verdict, warned.severity) == ("fail", "warn")
    assert "best is status" in warned.sentence
    strict = made.rules({"leakage": {"single_column_severity": "block"}})["leakage: one column"]
    assert strict.severity == "block"


def test_columns_are_read_together_and_not_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that is parsed once a column costs four times as much for twice the columns."""
    from penstock.data.profile.reference import reference_of
    from penstock.data.table import dataset as table
    from penstock.gate.holdout import read_holdout
    from penstock.gate.rules.leakage.measure import measure_leakage
    from penstock.gate.rules.leakage.spec import LeakageSpec
    from penstock.gate.rules.slices.measure import measure_slices
    from penstock.gate.rules.slices.spec import SlicesSpec

    frame = customers(200)
    more = pd.DataFrame({f"x{at}": frame["age"] * at for at in range(1, 41)})
    wide = pd.concat([frame, more], axis=1)
    made = make(tmp_path / "wide", wide)
    read: list[Path] = []
    whole = table.read_dataset

    def counted(folder: Path) -> Any:
        read.append(folder)
        return whole(folder)

    monkeypatch.setattr(table, "read_dataset", counted)
    rows = read_holdout(made.holdout, model=made.model, baselines=None, champion=None)
    found = measure_leakage(rows, LeakageSpec(overlap=False), model=made.model, seed=1)
    measure_slices(rows, SlicesSpec(min_rows=10), confidence=0.9)
    assert len(found.single_columns) > 40
    assert len(reference_of(made.holdout).columns) == 45
    assert len(read) < 10


def test_a_split_by_time_proves_that_no_row_is_on_both_sides(tmp_path: Path) -> None:
    made = make(tmp_path / "timed", customers(600), method="time", column="when")
    assert made.rules({})["leakage: overlap"].verdict == "pass"


def test_a_foreign_holdout_is_looked_up_row_by_row(sound: Made, tmp_path: Path) -> None:
    fresh = dataset(tmp_path / "fresh", customers(400, seed=9))
    rule = sound.rules({}, holdout=fresh)["leakage: overlap"]
    assert rule.verdict == "pass"
    assert "hashes of the training rows" in rule.sentence
    seen = read_table(sound.folder / "train").slice(0, 3).to_pandas()
    mixed = dataset(tmp_path / "mixed", pd.concat([customers(400, seed=9), seen]))
    rule = sound.rules({}, holdout=mixed)["leakage: overlap"]
    assert (rule.verdict, rule.severity, rule.value) == ("fail", "block", 3)
    assert "3 of 403 rows" in rule.sentence


def test_a_foreign_holdout_is_hashed_once_and_is_what_its_record_says(
    sound: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []

    def counted(cells: Any, *, rows: int) -> Any:
        hashed.append(rows)
        return hash_rows(cells, rows=rows)

    fresh = dataset(tmp_path / "fresh", customers(400, seed=9))
    for module in (table_hashes, fingerprints):
        monkeypatch.setattr(module, "hash_rows", counted)
    sound.rules({}, holdout=fresh)
    assert hashed == [400]
    hashed.clear()
    sound.rules({})
    assert hashed == []

    told = Dataset.of(fresh)
    dataset(tmp_path / "other", customers(400, seed=10))
    shutil.copy(tmp_path / "other" / told.files[0].name, fresh)
    size = (fresh / told.files[0].name).stat().st_size
    files = (told.files[0].model_copy(update={"bytes": size}),)
    told.model_copy(update={"files": files}).write(fresh / RECORD_NAME)
    with pytest.raises(IntegrityError, match=r"the rows have digest .*, the record says rows1:"):
        sound.rules({}, holdout=fresh)


def test_rows_that_cannot_be_compared_prove_nothing(tmp_path: Path) -> None:
    frame = customers(600)
    frame["name"] = [f"c-{i:05}" for i in range(len(frame))]
    made = make(tmp_path / "named", frame)
    assert made.rules({})["leakage: overlap"].verdict == "pass"
    unnamed = dataset(tmp_path / "unnamed", customers(300, seed=9))
    rule = made.rules({}, holdout=unnamed)["leakage: overlap"]
    assert rule.verdict == "fail"
    assert "has no column 'name'" in rule.sentence
    numbered = dataset(tmp_path / "numbered", customers(300, seed=9).assign(name=1))
    rule = made.rules({}, holdout=numbered)["leakage: overlap"]
    assert rule.verdict == "fail"
    assert "holds as integer the column 'name'" in rule.sentence


def test_a_model_that_carries_nothing_does_not_pass(sound: Made, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(sound.model, old)
    for name in ("split.json", "rows.npy", "reference.json", "health.json", "dataset.json"):
        (old / name).unlink()
    rules = sound.rules({}, model=old)
    assert rules["leakage: overlap"].verdict == "fail"
    assert "does not carry hashes" in rules["leakage: overlap"].sentence
    noise = rules["training data: label noise"]
    assert (noise.verdict, noise.severity) == ("fail", "warn")
    assert "Train it again" in noise.sentence


def test_a_part_of_the_hashes_finds_rows_but_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "LIMIT", 200)
    made = make(tmp_path / "large", customers(900))
    fresh = dataset(tmp_path / "fresh", customers(300, seed=9))
    rule = made.rules({}, holdout=fresh)["leakage: overlap"]
    assert (rule.verdict, rule.value) == ("fail", None)
    assert "could be looked up" in rule.sentence
    seen = read_table(made.folder / "train").to_pandas()
    mixed = dataset(tmp_path / "mixed", pd.concat([customers(300, seed=9), seen]))
    rule = made.rules({}, holdout=mixed)["leakage: overlap"]
    assert rule.value == 200
    assert "are training rows" in rule.sentence


def test_a_split_record_of_another_split_proves_nothing(sound: Made, tmp_path: Path) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(sound.model, forged)
    split = Split.read(forged / "split.json")
    split.model_copy(update={"holdout": "rows1:" + "0" * 32}).write(forged / "split.json")
    (forged / "rows.npy").unlink()
    rule = sound.rules({}, model=forged)["leakage: overlap"]
    assert rule.verdict == "fail"
    assert "not proved" in rule.sentence


def test_what_was_not_measured_does_not_pass(sound: Made) -> None:
    from penstock.gate.decision import decide

    measured = sound.evaluation(Policy()).model_copy(update={"leakage": None})
    rules = {rule.rule: rule for rule in decide(measured, policy=Policy()).rules}
    assert rules["leakage"].verdict == "fail"


def sampled(rows: int, seed: int) -> pd.DataFrame:
    """Rows of few different values, as a survey has them."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({f"q{j}": draw.choice(list("abcdef"), rows) for j in range(4)})
    frame["left"] = np.where(draw.random(rows) < 0.2 + 0.5 * (frame["q0"] == "a"), "yes", "no")
    return frame


def test_rows_that_are_equal_by_chance_are_no_leak(tmp_path: Path) -> None:
    made = make(tmp_path / "sampled", sampled(1_500, 1))
    split = Split.read(made.model / "split.json")
    assert split.rows_in_both > 50
    rule = made.rules({})["leakage: overlap"]
    assert (rule.verdict, rule.value) == ("pass", split.rows_in_both)
    assert "by chance; none is a copy" in rule.sentence
    for seed in range(2, 5):
        fresh = dataset(tmp_path / f"fresh-{seed}", sampled(600, seed))
        rule = made.rules({}, holdout=fresh)["leakage: overlap"]
        assert rule.verdict == "pass", rule.sentence
        assert 100 < rule.value <= rule.bound < 600
    seen = read_table(made.folder / "train").to_pandas()
    mixed = pd.concat([sampled(300, 9), seen.sample(300, random_state=1)])
    rule = made.rules({}, holdout=dataset(tmp_path / "mixed", mixed))["leakage: overlap"]
    assert rule.verdict == "fail"
    assert "chance explains" in rule.sentence


def test_the_pages_tell_the_cross_validated_figure_and_the_repeats(tmp_path: Path) -> None:
    frame = customers(800).drop(columns="when")
    copies = pd.concat([frame, frame.sample(200, random_state=1)], ignore_index=True)
    copies.loc[::50, "left"] = None
    made = make(tmp_path / "copied", copies, drop_missing_target=True)
    split = Split.read(made.model / "split.json")
    assert split.without_target == 20
    assert split.copied_rows > 150
    evaluation = made.evaluation(Policy(), page=True)
    told = f"{split.copied_rows:,} rows are copies of others"
    assert any(told in note for note in evaluation.notes)
    for page in (made.page(), (made.folder / "training.html").read_text()):
        assert told in page
        assert "20 rows without a target were left out" in page
    assert "In cross-validation" in made.page()
