"""Adult with its sensitive columns: the known disparities are shown, and a bound blocks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.records.decision import Decision
from penstock.records.model import Model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def adult(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the published test part as `holdout` and a boosted model as `model`.

    The model is trained as a release trains it, of one setting; sex and race are among its columns.
    """
    from threadpoolctl import threadpool_limits

    from penstock.data.ingest import ingest
    from penstock.data.spec import SourceSpec
    from penstock.features.fit import fit_features
    from penstock.features.spec import FeaturesSpec
    from penstock.training import estimators
    from penstock.training.environment import libraries
    from penstock.training.inputs import read_problem
    from penstock.training.saving import save_model

    home = tmp_path_factory.mktemp("adult")
    text = (shared_data / "adult-test.csv").read_text()
    (home / "test.csv").write_text(text.replace("K.\n", "K\n"))  # a dot that only this file has
    ingest(SourceSpec(uri=str(shared_data / "adult-train.csv")), output=home / "train")
    ingest(SourceSpec(uri=str(home / "test.csv")), output=home / "holdout")
    fit_features(
        home / "train",
        target="income",
        spec=FeaturesSpec(),
        output=home / "features",
        report=home / "features.html",
    )
    problem = read_problem(
        home / "train",
        features=home / "features",
        target="income",
        task="binary",
        positive="",
        split=None,
    )
    inputs = problem.transformer.transform(problem.frame)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = estimators.build("hist_gradient_boosting", {}, task="binary", seed=0)
        estimator.fit(inputs, problem.y)
    record = Model(
        name="hist_gradient_boosting",
        task="binary",
        target="income",
        classes=problem.classes,
        positive=problem.positive,
        threshold=0.5,
        columns=problem.inputs,
        metric="roc_auc",
        score=0.92,
        parameters={},
        dataset="rows1:0",
        seed=0,
        libraries=libraries(),
        trusted_types=(),
    )
    save_model(
        home / "model",
        transformer=problem.transformer,
        estimator=estimator,
        record=record,
        frame=problem.frame,
    )
    return home


def gate(adult: Path, **policy: Any) -> tuple[Decision, Evaluation, str]:
    parsed = Policy.parse({"slices": None, **policy}, where="gate")
    report = adult / "report.html"
    found = evaluate(
        adult / "holdout",
        model=adult / "model",
        baselines=None,
        policy=parsed,
        spec=EvaluationSpec(resamples=100),
        output=adult / "evaluation.json",
        report=report,
    ).evaluation
    return decide(found, policy=parsed), found, report.read_text()


def rule(decision: Decision, name: str) -> Any:
    return next(one for one in decision.rules if one.rule.startswith(name))


@pytest.mark.long
def test_the_known_disparities_are_shown_and_demographic_parity_blocks(adult: Path) -> None:
    bound = {"metric": "selection_rate", "difference_at_most": 0.1, "ratio_at_least": 0.8}
    decision, found, page = gate(
        adult, fairness=[{"columns": ["sex"], **bound}, {"columns": ["race"], **bound}]
    )
    by_sex, by_race = found.fairness
    rates = {one.name: one.figures["selection_rate"] for one in by_sex.groups}
    # Of the men more than a quarter are said to earn over 50K, of the women fewer than a tenth.
    assert rates["sex = Male"] == pytest.approx(0.26, abs=0.02)
    assert rates["sex = Female"] == pytest.approx(0.08, abs=0.02)
    assert by_sex.difference.low > 0.15
    assert by_sex.ratio.high < 0.4
    assert by_race.difference.low > 0.05
    assert not decision.approved
    for name in ("sex", "race"):
        refused = rule(decision, f"fairness selection_rate by {name}")
        assert (refused.verdict, refused.severity) == ("fail", "block")
    assert "highest 0.2" in rule(decision, "fairness selection_rate by sex").sentence
    assert "sex = Female" in decision.reason()
    assert "sex = Female" in page


@pytest.mark.long
def test_an_equalised_odds_run_is_described(adult: Path) -> None:
    decision, found, page = gate(
        adult,
        fairness=[
            {
                "columns": ["sex", "race"],
                "metric": "equalized_odds",
                "difference_at_most": 0.1,
                "because": "Errors should not depend on who somebody is",
            }
        ],
    )
    (groups,) = found.fairness
    assert len(groups.groups) == 10
    small = [one.name for one in groups.groups if one.small]
    assert "sex = Female and race = Other" in small
    assert groups.difference is not None
    refused = rule(decision, "fairness equalized_odds by sex and race")
    assert refused.verdict == "fail"
    assert "true positive rate: lowest" in refused.sentence
    assert "false positive rate: lowest" in refused.sentence
    assert refused.because == "Errors should not depend on who somebody is"
    assert "small, left out" in page
    assert "sex = Female and race = Other" in page


@pytest.mark.long
def test_slices_of_sex_and_race_are_named(adult: Path) -> None:
    rules = {"columns": [["sex", "race"]], "metric": "accuracy", "at_least": 0.5, "find": 3}
    decision, found, _ = gate(adult, slices=rules)
    named = [one for one in found.slices.slices if not one.found]
    assert len(named) == 10
    assert rule(decision, "slices").verdict == "pass"
    strict, _, _ = gate(adult, slices={**rules, "at_least": 0.85})
    assert "sex = Male and race = White" in rule(strict, "slices").sentence


@pytest.mark.long
def test_it_is_calibrated_and_steady(adult: Path) -> None:
    decision, found, _ = gate(
        adult, calibration={"ece_at_most": 0.03, "brier_at_most": 0.1}, stability={"missing": 0.05}
    )
    assert found.calibration.ece.high < 0.03
    for name in ("calibration ece", "calibration brier", "stability noise", "stability missing"):
        assert rule(decision, name).verdict == "pass", name
