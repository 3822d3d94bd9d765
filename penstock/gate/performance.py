"""The rules on figures over the whole holdout: baseline, linear model, champion, floors."""

from __future__ import annotations

from penstock.gate._results import not_measured, result
from penstock.policy.rules import ChampionRule, Floor, MarginRule, Rule
from penstock.policy.spec import Policy
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Comparison, Evaluation

_BASELINES = ("majority", "mean")


def rules(evaluation: Evaluation, policy: Policy) -> tuple[RuleResult, ...]:
    """Return what the rules on the whole holdout found."""
    return (
        _baseline(evaluation, policy.baseline),
        _linear(evaluation, policy.linear),
        *_champion(evaluation, policy.champion),
        *(_floor(evaluation, floor) for floor in policy.floors),
    )


def _baseline(evaluation: Evaluation, rule: MarginRule) -> RuleResult:
    name = next((n for n in _BASELINES if evaluation.scores_of(n)), _BASELINES[0])
    return _lower_end_above(
        "baseline",
        rule,
        evaluation,
        title=f"the {name} baseline",
        comparison=evaluation.comparison(against=name, metric=evaluation.metric),
        bound=rule.margin,
    )


def _champion(evaluation: Evaluation, rule: ChampionRule) -> tuple[RuleResult, ...]:
    """Return whether the candidate is not worse and, if the policy asks, whether it is better."""
    bounds = [("champion", -rule.margin)]
    if rule.superiority:
        bounds.append(("champion superiority", 0.0))
    return tuple(_beside_champion(evaluation, rule, name, bound) for name, bound in bounds)


def _beside_champion(
    evaluation: Evaluation, rule: ChampionRule, name: str, bound: float
) -> RuleResult:
    if evaluation.champion_state == "none" and not evaluation.champion:
        sentence = "There is no champion yet to compare with."
        return result(name, rule, passed=None, bound=bound, sentence=sentence)
    if evaluation.champion_state != "compared":
        return result(name, rule, passed=False, bound=bound, sentence=_not_compared(evaluation))
    champion = evaluation.scores_of("champion")
    if champion is None or {evaluation.candidate.dataset, champion.dataset} != {evaluation.dataset}:
        sentence = (
            "The record does not show that the candidate and the champion were measured on the "
            f"same rows ({evaluation.dataset}), so the rule cannot pass. Evaluate again."
        )
        return result(name, rule, passed=False, bound=bound, sentence=sentence)
    return _lower_end_above(
        name,
        rule,
        evaluation,
        title=f"the champion {evaluation.champion}",
        comparison=evaluation.comparison(against="champion", metric=evaluation.metric),
        bound=bound,
        rows=f", both on the same {evaluation.rows:,} rows ({evaluation.dataset}),",
    )


def _not_compared(evaluation: Evaluation) -> str:
    """Return in words why a champion that should be there was not compared, and what to do."""
    named = f"the champion {evaluation.champion}" if evaluation.champion else "the champion"
    note = f" {evaluation.champion_note}" if evaluation.champion_note else ""
    unseen = "so nothing shows that the candidate is not worse."
    if evaluation.champion_state == "gone":
        return (
            f"There was a champion, but no version is it now, {unseen}{note} Give the alias "
            "back to the version that serves, then evaluate again."
        )
    if evaluation.champion_state == "unloadable":
        return (
            f"It was not possible to load {named}, {unseen}{note} Restore its files or register "
            "it again; to replace it unseen, take the alias champion from it."
        )
    if evaluation.champion_state == "different":
        return (
            f"It was not possible to compare {named} on these rows, since it answers another "
            f"question or takes other columns, {unseen}{note}"
        )
    return f"The record names {named} but does not say how it stands, {unseen} Evaluate again."


def _linear(evaluation: Evaluation, rule: MarginRule) -> RuleResult:
    comparison = evaluation.comparison(against="linear", metric=evaluation.metric)
    if comparison is None:
        why = _left_out(evaluation, evaluation.metric)
        return not_measured("linear", rule, "the linear model", bound=-rule.margin, why=why)
    value = comparison.advantage.value
    passed = value >= -rule.margin
    return result(
        "linear",
        rule,
        passed=passed,
        value=value,
        bound=-rule.margin,
        sentence=(
            f"On {evaluation.metric} the candidate's advantage over a plain linear model is "
            f"{value:+.4g}, {'not below' if passed else 'below'} {-rule.margin:+.4g}."
        ),
    )


def _floor(evaluation: Evaluation, floor: Floor) -> RuleResult:
    name = f"floor {floor.metric}"
    estimate = evaluation.candidate.metrics.get(floor.metric)
    if estimate is None:
        bound = floor.at_least if floor.at_least is not None else floor.at_most
        why = _left_out(evaluation, floor.metric)
        return not_measured(name, floor, floor.metric, bound=bound, why=why)
    if floor.at_least is not None:
        value = estimate.low if floor.on == "interval" else estimate.value
        passed, bound, must = value >= floor.at_least, floor.at_least, "at least"
    else:
        value = estimate.high if floor.on == "interval" else estimate.value
        bound = floor.at_most if floor.at_most is not None else float("-inf")
        passed, must = value <= bound, "at most"
    subject = "The worse end of its confidence interval" if floor.on == "interval" else "It"
    return result(
        name,
        floor,
        passed=passed,
        value=value,
        bound=bound,
        sentence=f"{floor.metric} must be {must} {bound:.4g}. {subject} is {value:.4g}.",
    )


def _lower_end_above(
    name: str,
    rule: Rule,
    evaluation: Evaluation,
    *,
    title: str,
    comparison: Comparison | None,
    bound: float,
    rows: str = "",
) -> RuleResult:
    if comparison is None:
        why = _left_out(evaluation, evaluation.metric)
        return not_measured(name, rule, title, bound=bound, why=why)
    advantage = comparison.advantage
    passed = advantage.low > bound
    return result(
        name,
        rule,
        passed=passed,
        value=advantage.low,
        bound=bound,
        sentence=(
            f"On {comparison.metric} the candidate's advantage over {title}{rows} is "
            f"{advantage.value:+.4g} ({evaluation.confidence:.0%} interval {advantage.low:+.4g} to "
            f"{advantage.high:+.4g}); its lower end {'lies' if passed else 'does not lie'} above "
            f"{bound:+.4g}."
        ),
    )


def _left_out(evaluation: Evaluation, metric: str) -> str:
    """Return why the evaluation has no figure of a metric; empty if it does not say."""
    return next((note for note in evaluation.notes if note.startswith(f"{metric} ")), "")
