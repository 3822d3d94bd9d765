"""The rules on what a model rests on: leakage, and the rows that it learned from."""

from __future__ import annotations

from penstock.gate._results import not_measured, result
from penstock.policy.spec import Policy
from penstock.policy.trust import LeakageRule, TrainingDataRule
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Evaluation
from penstock.records.health import Leakage, Suspect, TrainingData

_NAMED = 5
"""Columns that a sentence names."""


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:
    """Return what the rules on leakage and training data found, one result for each part."""
    found: list[RuleResult] = []
    if policy.leakage is not None:
        found += _leakage(evaluation, policy.leakage)
    if policy.training_data is not None:
        found += _training_data(evaluation, policy.training_data)
    return tuple(found)


def _leakage(evaluation: Evaluation, rule: LeakageRule) -> list[RuleResult]:
    measured = evaluation.leakage
    if measured is None:
        return [not_measured("leakage", rule, "leakage")]
    found = []
    if rule.single_column is not None:
        found.append(_single_column(evaluation, measured, rule, rule.single_column))
    if rule.not_at_serving:
        found.append(_not_at_serving(measured, rule))
    if rule.overlap:
        found.append(_overlap(measured, rule))
    return found


def _single_column(
    evaluation: Evaluation, measured: Leakage, rule: LeakageRule, bound: float
) -> RuleResult:
    name = "leakage: one column"
    own = rule.model_copy(update={"severity": rule.single_column_severity})
    if not measured.single_columns:
        return not_measured(name, own, "how well each column alone tells the target", bound=bound)
    strongest = measured.single_columns[0]
    figure = {
        "binary": "area under the ROC curve",
        "multiclass": "mean area under the ROC curve of each class against the rest",
        "regression": "squared rank correlation",
    }[evaluation.task]
    passed = strongest.value < bound
    sentence = (
        f"The column that alone tells the target best is {strongest.column}: {figure} "
        f"{strongest.value:.4f}, {'below' if passed else 'not below'} {bound:.4g}."
    )
    if not passed:
        sentence += " Look whether it is known before the outcome is."
    return result(name, own, passed=passed, value=strongest.value, bound=bound, sentence=sentence)


def _not_at_serving(measured: Leakage, rule: LeakageRule) -> RuleResult:
    taken = ", ".join(measured.not_at_serving)
    sentence = (
        f"The model takes {taken}, which the policy says is not known when a prediction is made."
        if taken
        else f"The model takes none of {', '.join(rule.not_at_serving)}."
    )
    if measured.unknown:
        sentence += (
            f" The holdout has no column called {', '.join(measured.unknown)}, so the rule cannot "
            "pass: see that the policy spells it right."
        )
    return result(
        "leakage: not at serving",
        rule,
        passed=not taken and not measured.unknown,
        value=float(len(measured.not_at_serving)),
        bound=0.0,
        sentence=sentence,
    )


def _overlap(measured: Leakage, rule: LeakageRule) -> RuleResult:
    both = measured.rows_in_both
    passed = not measured.overlap and both is not None and both <= measured.by_chance
    if passed and not both:
        sentence = f"No holdout row is a training row: {measured.proof}."
    elif passed:
        sentence = (
            f"{both:,} different holdout rows equal training rows, which rows of few different "
            f"values do by chance; none is a copy: {measured.proof}."
        )
    elif both:
        sentence = f"Rows that are judged on were trained on: {measured.overlap}."
    else:
        why = measured.overlap or "it was not looked for"
        sentence = f"It is not proved that no holdout row is a training row: {why}."
    return result(
        "leakage: overlap",
        rule,
        passed=passed,
        value=None if both is None else float(both),
        bound=float(measured.by_chance),
        sentence=sentence,
    )


def _training_data(evaluation: Evaluation, rule: TrainingDataRule) -> list[RuleResult]:
    measured = evaluation.training_data
    if measured is None:
        return [not_measured("training data", rule, "the training data")]
    found = []
    if rule.label_noise_at_most is not None:
        found.append(_label_noise(evaluation, measured, rule, rule.label_noise_at_most))
    if rule.poisoned_at_most is not None:
        found.append(_poisoned(evaluation, measured, rule, rule.poisoned_at_most))
    if rule.drift_at_most is not None:
        found.append(_drift(evaluation, measured, rule, rule.drift_at_most))
    return found


def _unknown(
    name: str, evaluation: Evaluation, measured: TrainingData, rule: TrainingDataRule, bound: float
) -> RuleResult:
    if evaluation.task == "regression":
        sentence = "A regression has no classes, so that wrong labels are not estimated."
        return result(name, rule, passed=None, bound=bound, sentence=sentence)
    if measured.health is None:
        sentence = (
            "It is not known, for the model carries no record of its training data's health, so "
            "the rule cannot pass. Train it again with this release of Penstock."
        )
        return result(name, rule, passed=False, bound=bound, sentence=sentence)
    return not_measured(name, rule, "it", bound=bound)


def _label_noise(
    evaluation: Evaluation, measured: TrainingData, rule: TrainingDataRule, bound: float
) -> RuleResult:
    name = "training data: label noise"
    value = None if measured.health is None else measured.health.label_noise
    if value is None:
        return _unknown(name, evaluation, measured, rule, bound)
    passed = value <= bound
    return result(
        name,
        rule,
        passed=passed,
        value=value,
        bound=bound,
        sentence=(
            f"An estimated {value:.1%} of the training labels are wrong or belong to rows that the "
            f"columns cannot tell apart, {'not more' if passed else 'more'} than {bound:.4g} of 1."
        ),
    )


def _poisoned(
    evaluation: Evaluation, measured: TrainingData, rule: TrainingDataRule, bound: float
) -> RuleResult:
    name = "training data: flipped labels"
    health = measured.health
    if health is None or health.poisoned is None:
        return _unknown(name, evaluation, measured, rule, bound)
    passed = health.poisoned <= bound
    if health.suspects:
        sentence = (
            f"Labels look flipped where {_suspects(health.suspects)}: {health.poisoned:.1%} of all "
            f"training rows beyond what is so elsewhere, {'not more' if passed else 'more'} than "
            f"{bound:.1%}. Or the relation is another one there: look at these rows."
        )
    else:
        sentence = f"In none of {health.parts:,} parts of the training data do labels look flipped."
    return result(name, rule, passed=passed, value=health.poisoned, bound=bound, sentence=sentence)


def _suspects(suspects: tuple[Suspect, ...]) -> str:
    told = [f"{s.name} ({s.flipped:.0%} of {s.rows:,} rows)" for s in suspects[:_NAMED]]
    more = len(suspects) - len(told)
    return ", where ".join(told) + (f" and in {more} other parts" if more else "")


def _drift(
    evaluation: Evaluation, measured: TrainingData, rule: TrainingDataRule, bound: float
) -> RuleResult:
    name = "training data: drift"
    if evaluation.champion_state == "none":
        sentence = "There is no champion yet whose training data could have been another."
        return result(name, rule, passed=None, bound=bound, sentence=sentence)
    if measured.drift is None:
        why = measured.drift_note or "the champion's was not given"
        sentence = (
            "How far the training data has moved from the champion's is not known, so the rule "
            f"cannot pass: {why}."
        )
        return result(name, rule, passed=False, bound=bound, sentence=sentence)
    if measured.incomparable:
        told = ", ".join(f"{c.column} ({c.note})" for c in measured.incomparable[:_NAMED])
        more = len(measured.incomparable) - _NAMED
        sentence = (
            "Not every column can be held against the champion's training data, so the rule "
            f"cannot pass: {told}{f' and {more} more' if more > 0 else ''}."
        )
        return result(name, rule, passed=False, bound=bound, sentence=sentence)
    if not measured.drift:
        sentence = "The champion learned from none of the columns that can be compared."
        return result(name, rule, passed=False, bound=bound, sentence=sentence)
    strongest = measured.drift[0]
    passed = strongest.value <= bound
    moved = [figure.column for figure in measured.drift if figure.value > bound]
    sentence = (
        f"Against the champion's training data {strongest.column} has moved most: population "
        f"stability index {strongest.value:.3f}, {'not above' if passed else 'above'} {bound:.4g}."
    )
    if len(moved) > 1:
        named = ", ".join(moved[1 : 1 + _NAMED])
        sentence += f" Above it too: {named}{' and others' if len(moved) > 1 + _NAMED else ''}."
    if measured.new_columns:
        named = ", ".join(measured.new_columns[:_NAMED])
        more = len(measured.new_columns) - _NAMED
        sentence += (
            f" The champion's training data does not have {named}"
            f"{f' and {more} more' if more > 0 else ''}."
        )
    return result(name, rule, passed=passed, value=strongest.value, bound=bound, sentence=sentence)
