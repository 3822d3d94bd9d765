"""The rules on whether a model can be believed: its probabilities, and how steady it is."""

from __future__ import annotations

from penstock.gate._results import not_measured, result
from penstock.policy.spec import Policy
from penstock.policy.trust import CalibrationRule, StabilityRule
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Evaluation

_CALIBRATION = {
    "brier": "The Brier score (squared distance of stated probabilities from what happened)",
    "ece": "The expected calibration error (how far stated probabilities lie from what happens)",
}


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:
    """Return what the rules on calibration and stability found, one result for each bound."""
    found: list[RuleResult] = []
    if policy.calibration is not None:
        bounds = {"brier": policy.calibration.brier_at_most, "ece": policy.calibration.ece_at_most}
        found += [
            _calibration(evaluation, policy.calibration, name, bound)
            for name, bound in bounds.items()
            if bound is not None
        ]
    if policy.stability is not None:
        amounts = {"noise": policy.stability.noise, "missing": policy.stability.missing}
        found += [
            _stability(evaluation, policy.stability, kind, amount)
            for kind, amount in amounts.items()
            if amount
        ]
    return tuple(found)


def _calibration(
    evaluation: Evaluation, rule: CalibrationRule, figure: str, bound: float
) -> RuleResult:
    name = f"calibration {figure}"
    found = evaluation.calibration
    if found is None:
        return not_measured(name, rule, "calibration", bound=bound)
    estimate = found.brier if figure == "brier" else found.ece
    value = estimate.high if rule.on == "interval" else estimate.value
    passed = value <= bound
    subject = "the upper end of its interval" if rule.on == "interval" else "it"
    return result(
        name,
        rule,
        passed=passed,
        value=value,
        bound=bound,
        sentence=f"{_CALIBRATION[figure]} is {estimate.value:.4g} ({evaluation.confidence:.0%} "
        f"interval {estimate.low:.4g} to {estimate.high:.4g}); {subject} "
        f"{'is' if passed else 'is not'} at most {bound:.4g}.",
    )


def _stability(evaluation: Evaluation, rule: StabilityRule, kind: str, amount: float) -> RuleResult:
    name = f"stability {kind}"
    found = next(
        (one for one in evaluation.stability if (one.kind, one.amount) == (kind, amount)), None
    )
    if found is None:
        return not_measured(name, rule, f"stability under {kind}", bound=rule.drop_at_most)
    if kind == "noise" and found.columns == 0:
        sentence = "The model takes no number that varies, so that there is none to add noise to."
        return result(name, rule, passed=None, bound=rule.drop_at_most, sentence=sentence)
    done = (
        f"noise of {amount:.3g} of its standard deviation is added to each number"
        if kind == "noise"
        else f"{amount:.3g} of all values are missing"
    )
    if found.value is None or found.drop is None:
        return result(
            name,
            rule,
            passed=False,
            bound=rule.drop_at_most,
            sentence=f"When {done}, the model does not answer: {found.failed or 'no reason given'}",
        )
    passed = found.drop.value <= rule.drop_at_most
    return result(
        name,
        rule,
        passed=passed,
        value=found.drop.value,
        bound=rule.drop_at_most,
        sentence=f"When {done}, {evaluation.metric} goes from {found.before:.4g} to "
        f"{found.value.value:.4g}: a loss of {found.drop.value:+.4g} ({evaluation.confidence:.0%} "
        f"interval {found.drop.low:+.4g} to {found.drop.high:+.4g}), "
        f"{'not above' if passed else 'above'} {rule.drop_at_most:.4g}.",
    )
