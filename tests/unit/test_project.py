"""The project file: what is wrong with it is said by field, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock import project
from penstock.errors import InputError

GOOD = "name: wine\ntarget: quality\nsource:\n  uri: wine.csv\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "project.yaml"
    path.write_text(text)
    return path


def test_source_and_target_are_enough(tmp_path: Path) -> None:
    loaded = project.load(written(tmp_path, GOOD))
    assert loaded.split.holdout == 0.2
    assert project.resolved_uri(loaded, folder=tmp_path) == str(tmp_path / "wine.csv")


def test_only_true_and_false_are_booleans(tmp_path: Path) -> None:
    gate = "gate:\n  floors:\n  - {metric: f1, at_least: 0.5, on: interval}\n"
    positive = "positive: yes\n"
    strict = "  champion: {superiority: true}\n  slices: null\n"
    loaded = project.load(written(tmp_path, GOOD + positive + gate + strict))
    assert loaded.gate.floors[0].on == "interval"
    assert loaded.positive == "yes"
    assert loaded.gate.champion.superiority is True
    assert loaded.gate.slices is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "spilt: {}\n", r"project.yaml: spilt: Extra inputs.*Known fields here: .*split"),
        (GOOD + "split: {holdout: -0.2}\n", r"split.holdout: .*greater than 0, got -0.2"),
        (GOOD + "split: {holdout: lots}\n", r"split.holdout: .*valid number.*got 'lots'"),
        (GOOD + "split: {method: alphabetical}\n", r"split.method: .*'stratified'.*got"),
        (GOOD + "training: {trials: 2.5}\n", r"training.trials: .*integer.*got 2.5"),
        (GOOD + "name: other\n", r"the key 'name' is given twice"),
        (GOOD.replace("wine\n", "Wine Quality\n", 1), r"name: .*pattern.*got 'Wine Quality'"),
        ("name: x\ntarget: y\n", r"source: Field required"),
        ("- a\n- b\n", r"a project file is a mapping"),
        ("name: [\n", r"not valid YAML"),
        (GOOD + "expectations: suite.json\n", r"suite.json"),
        (GOOD + "expectations: [{type: column_exists}]\n", r"expectations"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        project.load(written(tmp_path, text))


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="penstock init"):
        project.load(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("uri", "local"),
    [("a.csv", True), ("file:///a.csv", True), ("s3://b/a.csv", False), ("https://h/a", False)],
)
def test_addresses_are_told_from_paths(uri: str, local: bool) -> None:
    assert project.is_local(uri) is local


def test_a_database_file_is_found_from_the_project(tmp_path: Path) -> None:
    text = GOOD.replace("uri: wine.csv", "uri: sqlite:///wine.db\n  query: select 1")
    loaded = project.load(written(tmp_path, text))
    assert project.resolved_uri(loaded, folder=tmp_path) == f"sqlite:///{tmp_path / 'wine.db'}"
