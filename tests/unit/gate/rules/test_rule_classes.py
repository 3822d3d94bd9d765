"""The rule on predicted classes: labels of no use are refused, whatever accuracy says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score

from penstock.evaluation.model_metrics import measure_models
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.evaluation import Evaluation
from penstock.gate.holdout import CANDIDATE, CHAMPION, Holdout
from penstock.gate.policy import Policy
from penstock.gate.rule import Case
from penstock.gate.rules.classes import RULE
from penstock.gate.rules.classes.measure import measure_classes
from penstock.gate.rules.classes.spec import Classes
from penstock.records.decision import RuleResult
from penstock.records.model import Model


class _Loaded:
    def __init__(self, record: Model, digest: str) -> None:
        self.record, self.digest = record, digest


def holdout(truth: np.ndarray, *, threshold: float | None = 0.5, **scores: np.ndarray) -> Holdout:
    """Return rows as models that gave these scores see them."""
    names = ("no", "yes") if threshold is not None else ("a", "b", "c")
    record = Model(
        name="linear", task="binary" if threshold is not None else "multiclass", target="y",
        classes=names, positive="yes" if threshold is not None else None, threshold=threshold,
        columns=(), metric="roc_auc", score=0.5, parameters={}, dataset="d", seed=0, libraries={},
        trusted_types=(),
    )  # fmt: skip
    models: Any = {name: _Loaded(record, name) for name in scores}
    return Holdout(Path(), None, record, truth, scores, models, ())


def rules_on(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:
    (settings,) = RULE.settings(policy)
    return tuple(RULE.judge(settings, Case(evaluation=evaluation, policy=policy)))


def judged(rows: Holdout, **policy: Any) -> tuple[Classes, dict[str, RuleResult]]:
    """Measure the candidate and judge it by a policy's rule on classes."""
    spec = EvaluationSpec()
    measured = measure_models(rows, spec)
    found = measure_classes(
        rows, measured.metrics[CANDIDATE], measured.comparisons, confidence=spec.confidence
    )
    assert found is not None
    champion = CHAMPION in rows.models
    evaluation = Evaluation(
        task=rows.record.task, metric="roc_auc", higher_is_better={}, dataset="d", model="m",
        rows=rows.rows, confidence=0.95, resamples=10, seed=1, scores=(), comparisons=(),
        classes=found, champion="models:/m/1" if champion else "",
        champion_state="compared" if champion else "none",
    )  # fmt: skip
    results = rules_on(evaluation, Policy.parse(policy, where="gate"))
    return found, {one.rule: one for one in results}


def blind(rows: int = 2000, *, share: float = 0.15, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores of a model that finds 6 % of the rare class, most of them right."""
    random = np.random.default_rng(seed)
    truth = (np.arange(rows) < share * rows).astype(np.int64)
    scores = 0.3 * random.random(rows) + 0.1 * truth
    scores[np.flatnonzero(truth)[: int(0.06 * truth.sum())]] = 0.9
    scores[np.flatnonzero(truth == 0)[:4]] = 0.8
    return truth, scores


def test_a_model_that_finds_next_to_nothing_of_a_class_is_refused_with_better_accuracy() -> None:
    truth, scores = blind()
    assert ((scores >= 0.5) == truth).mean() > 1 - truth.mean()
    found, rules = judged(holdout(truth, candidate=scores))
    recall = rules["classes: recall"]
    assert (recall.verdict, recall.severity, recall.value) == ("fail", "block", 0.06)
    assert "y = yes 0.06 (18 of 300 rows)" in recall.sentence
    # What would help is said: a threshold, with what it gives.
    cut = found.others[-1]
    assert cut.sentence() in recall.sentence
    called = scores >= cut.threshold
    assert cut.recall == recall_score(truth, called)
    assert cut.precision == precision_score(truth, called)
    assert found.sentences()[0].startswith(
        "At the threshold 0.5: recall 6.0% and precision 82% of y = yes (300 of 2,000 rows)"
    )


def test_another_threshold_of_the_same_model_passes() -> None:
    truth, scores = blind()
    _, rules = judged(holdout(truth, threshold=0.3, candidate=scores))
    assert {rule.verdict for rule in rules.values()} == {"pass", "not applicable"}


@pytest.mark.parametrize("every", [0.0, 1.0])
def test_guesses_are_refused(every: float) -> None:
    truth, _ = blind()
    random = np.random.default_rng(2).random(len(truth))
    for threshold in (0.85, 0.5):
        _, rules = judged(holdout(truth, threshold=threshold, candidate=random))
        assert rules["classes: guessing"].verdict == "fail"
    _, rules = judged(holdout(truth, candidate=np.full(len(truth), every)))
    assert rules["classes: guessing"].verdict == "fail"
    assert rules["classes: recall"].verdict == "fail"


def test_labels_that_find_less_than_the_champions_are_refused() -> None:
    truth, scores = blind()
    good = np.where(truth == 1, scores + 0.3, scores)
    _, rules = judged(holdout(truth, candidate=scores, champion=good))
    beside = rules["classes: champion"]
    assert beside.verdict == "fail"
    assert beside.value == pytest.approx(
        balanced_accuracy_score(truth, scores >= 0.5) - balanced_accuracy_score(truth, good >= 0.5)
    )
    assert "of y = yes 6% (champion " in beside.sentence
    _, rules = judged(holdout(truth, candidate=good, champion=scores))
    assert rules["classes: champion"].verdict == "pass"


def test_where_worth_is_stated_a_low_recall_only_warns() -> None:
    truth, scores = blind()
    worth = {"matrix": {"true_positive": 1, "false_positive": -9}}
    _, rules = judged(holdout(truth, candidate=scores), cost=worth)
    assert (rules["classes: recall"].verdict, rules["classes: recall"].severity) == ("fail", "warn")
    _, rules = judged(holdout(truth, candidate=scores), classes={"recall_severity": "info"})
    assert rules["classes: recall"].severity == "info"


def test_of_several_classes_the_least_found_is_named_first() -> None:
    random = np.random.default_rng(3)
    truth = np.repeat([0, 1, 2], [500, 300, 60])
    scores = random.dirichlet([1, 1, 1], len(truth)) * 0.2
    scores[np.arange(len(truth)), truth] += 1
    scores[truth == 2] = [0.6, 0.3, 0.1]
    found, rules = judged(holdout(truth, threshold=None, candidate=scores))
    assert found.sentences()[0].startswith(
        "Lowest recall by class: recall 0.0% and precision not defined of y = c (60 of 860 rows); "
    )
    recall = rules["classes: recall"]
    assert (recall.verdict, recall.severity) == ("fail", "warn")
    assert recall.sentence == "Recall lies below 0.1: y = c 0 (0 of 60 rows)."
    _, rules = judged(holdout(truth, threshold=None, candidate=scores), classes={"min_rows": 61})
    assert rules["classes: recall"].verdict == "pass"
    assert "Not judged, with fewer than 61 rows: c." in rules["classes: recall"].sentence


def test_a_regression_is_not_asked_and_an_evaluation_without_figures_fails() -> None:
    fields: dict[str, Any] = {
        "metric": "r2", "higher_is_better": {}, "dataset": "d", "model": "m", "rows": 9, "seed": 1,
        "confidence": 0.95, "resamples": 10, "scores": (), "comparisons": (),
    }  # fmt: skip
    assert rules_on(Evaluation(task="regression", **fields), Policy()) == ()
    (rule,) = rules_on(Evaluation(task="binary", **fields), Policy())
    assert (rule.rule, rule.verdict, rule.severity) == ("classes", "fail", "block")
