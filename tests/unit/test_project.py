"""The project file: what is wrong with it is said by field, value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from penstock import project
from penstock.cluster.settings import StepName
from penstock.errors import FormerNameWarning, InputError, UsageError
from penstock.pipelines import cli
from penstock.pipelines.run import RECALL_STEPS, STEPS

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
        (
            GOOD + "training: {trial: 5}\n",
            r"training.trial: Extra.*here: candidates, .*trials, pat",
        ),
        (GOOD + "gate: {slices: {rows: 5}}\n", r"slices.rows: Extra.*here: severity, because, "),
        (
            GOOD + "deployment: {canary: {steps: [{wait: 5}]}}\n",
            r"steps.0.wait: Extra.*here: weight, min_samples",
        ),
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


def test_every_step_can_be_given_resources_and_secrets() -> None:
    assert {*STEPS, *RECALL_STEPS, "notify"} == set(get_args(StepName))


def test_settings_change_a_field_and_nothing_beside_it(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "training: {trials: 9, seed: 3}\n")
    settings = (
        "training.trials=5",
        "training.candidates=[linear]",
        "gate.linear.margin=0.05",
        "gate.calibration.ece_at_most=0.1",
        "gate.slices=null",
        "deployment.canary.steps=[{weight: 30}]",
        "features.columns.age=drop",
        "positive=yes",
    )
    loaded = project.load(path, settings=settings)
    assert (loaded.training.trials, loaded.training.seed) == (5, 3)
    assert loaded.training.candidates == ("linear",)
    # The rule only warns, as it does where it is not named at all.
    assert (loaded.gate.linear.margin, loaded.gate.linear.severity) == (0.05, "warn")
    assert loaded.gate.slices is None
    assert loaded.gate.calibration is not None
    assert [step.weight for step in loaded.deployment.canary.steps] == [30]
    assert loaded.features.columns == {"age": "drop"}
    assert loaded.positive == "yes"
    assert project.load(path).training.trials == 9


FORMER = "the setting drill is called fault_injection now; the former name is still read"


def test_a_setting_is_read_under_its_former_name(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "deployment: {drill: slow}\n")
    with pytest.warns(FormerNameWarning, match=f"^{FORMER}$"):
        assert project.load(path).deployment.fault_injection == "slow"
    with pytest.warns(FormerNameWarning):
        found = project.load(written(tmp_path, GOOD), settings=["deployment.drill=errors"])
    assert found.deployment.fault_injection == "errors"
    written(tmp_path, GOOD + "deployment: {drill: slow, fault_injection: errors}\n")
    with pytest.raises(InputError, match="deployment: drill is the former name of fault_injection"):
        project.load(path)


@pytest.mark.filterwarnings("default")
def test_a_command_names_the_present_name_of_a_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, GOOD + "deployment: {drill: slow}\n")
    assert cli.main(["status", str(path)]) == 0
    assert capsys.readouterr().err == f"penstock: {FORMER}\n"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.trials=2.5", r"--set training.trials=2.5: training.trials: .*integer.*got 2.5"),
        (
            "training.trial=5",
            r"training.trial: Extra.*here: candidates, .*trials",
        ),
        ("trainig.trials=5", r"trainig: Extra inputs.*Known fields here: .*training"),
        ("training.trials", r"--set: 'training.trials' is not a setting.*training.trials=5"),
        ("=5", r"'=5' is not a setting"),
        ("training.trials.most=5", r"trials is no section, so it has no field most"),
        ("training.candidates=[linear", r"--set training.candidates=.*not valid YAML"),
        ("training={trials: 1, trials: 2}", r"the key 'trials' is given twice"),
    ],
)
def test_a_setting_is_refused_as_it_would_be_in_the_file(
    tmp_path: Path, setting: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        project.load(written(tmp_path, GOOD), settings=(setting,))
