"""What each rule of a policy asks, in words for a reader who does not code."""

from __future__ import annotations

from collections.abc import Callable

from penstock.policy.fairness import FairnessRule
from penstock.policy.rules import Floor
from penstock.policy.spec import Policy


def asks(rule: str, policy: Policy) -> str:
    """Return what a rule asks in one or two sentences; empty for one that is not known here.

    Args:
        rule: The rule's name in a decision, for example `floor recall`.
        policy: The policy that has the rule.
    """
    for begins, words in _WORDS.items():
        if rule == begins or rule.startswith(f"{begins} "):
            return words(policy, rule[len(begins) :].strip())
    return ""


def _baseline(policy: Policy, _: str) -> str:
    return (
        "The model must do better than an answer that looks at nothing: always the commonest "
        f"class, or the mean. Even the lower end of its advantage must exceed "
        f"{policy.baseline.margin:g}, so that chance alone does not explain it."
    )


def _linear(policy: Policy, _: str) -> str:
    return (
        "The model should be worth its complexity: a plain linear model may be better by at most "
        f"{policy.linear.margin:g}."
    )


def _champion(policy: Policy, _: str) -> str:
    rule = policy.champion
    better = " It must also be shown to be better." if rule.superiority else ""
    return (
        "On the same rows the model may be worse than the champion, the version that users have "
        f"now, by no more than {rule.margin:g}, the lower end of the interval included.{better}"
    )


def _floor(policy: Policy, metric: str) -> str:
    wanted = [_floor_words(floor) for floor in policy.floors if floor.metric == metric]
    return " ".join(wanted) or f"{metric} must keep its bound."


def _floor_words(floor: Floor) -> str:
    side, bound = (
        ("at least", floor.at_least) if floor.at_least is not None else ("at most", floor.at_most)
    )
    what = f"{floor.metric} on the holdout"
    if floor.on == "interval":
        what = f"The unfavourable end of the interval of {what}"
    return f"{what} must be {side} {bound:g}."


def _slices(policy: Policy, _: str) -> str:
    rule = policy.slices
    if rule is None:
        return ""
    told = ["The model must not fail a part of the rows while it does well on the whole."]
    if rule.at_least is not None:
        told.append(f"No part may be shown to lie below {rule.at_least:g}.")
    if rule.at_most is not None:
        told.append(f"No part may be shown to lie above {rule.at_most:g}.")
    if rule.margin is not None:
        told.append(
            f"None may be shown to be worse than under the champion by more than {rule.margin:g}."
        )
    told.append(f"Parts of fewer than {rule.min_rows:,} rows are not judged.")
    return " ".join(told)


def _fairness(policy: Policy, named: str) -> str:
    rules = [rule for rule in policy.fairness if named.startswith(", ".join(rule.columns))]
    bounds = "; ".join(map(_fairness_words, rules))
    return f"The model must treat groups of people alike, within bounds. {bounds}".strip()


def _fairness_words(rule: FairnessRule) -> str:
    asked = []
    if rule.difference_at_most is not None:
        asked.append(f"may differ by at most {rule.difference_at_most:g}")
    if rule.ratio_at_least is not None:
        asked.append(f"the lowest must be at least {rule.ratio_at_least:g} of the highest")
    return f"Their {rule.metric.replace('_', ' ')}: {', and '.join(asked)}."


def _calibration(policy: Policy, _: str) -> str:
    rule = policy.calibration
    if rule is None:
        return ""
    bounds = {"Brier score": rule.brier_at_most, "calibration error": rule.ece_at_most}
    asked = [f"{name} at most {bound:g}" for name, bound in bounds.items() if bound is not None]
    return "What the model calls 30 % must happen in 30 % of the cases" + (
        f": {', '.join(asked)}." if asked else "."
    )


def _stability(policy: Policy, _: str) -> str:
    if policy.stability is None:
        return ""
    return (
        "Small errors in what is put in must not undo the model: at most "
        f"{policy.stability.drop_at_most:g} of the primary metric may be lost."
    )


def _leakage(policy: Policy, _: str) -> str:
    rule = policy.leakage
    if rule is None:
        return ""
    told = ["The figures must not rest on what will not be there when the model is used."]
    if rule.single_column is not None:
        told.append(f"No column alone may rank the target as well as {rule.single_column:g}.")
    if rule.not_at_serving:
        told.append(f"It must not take {', '.join(rule.not_at_serving)}.")
    if rule.overlap:
        told.append("It must be proved that no row judged on is a row learned from.")
    return " ".join(told)


def _training_data(policy: Policy, _: str) -> str:
    rule = policy.training_data
    if rule is None:
        return ""
    bounds = {
        "at most {:.0%} of the labels wrong": rule.label_noise_at_most,
        "at most {:.0%} flipped within one part": rule.poisoned_at_most,
        "no column further than {:g} from the champion's training data": rule.drift_at_most,
    }
    asked = [words.format(bound) for words, bound in bounds.items() if bound is not None]
    return f"The rows that the model learned from must look right: {'; '.join(asked)}."


def _cost(policy: Policy, _: str) -> str:
    rule = policy.cost
    if rule is None:
        return ""
    if rule.at_least is None:
        return "What 1,000 decisions are worth is only told."
    which = "The lower end of the worth" if rule.on == "interval" else "The worth"
    return (
        f"{which} of 1,000 decisions must be at least {rule.at_least:,g} {rule.unit}".strip() + "."
    )


def _operations(policy: Policy, _: str) -> str:
    rule = policy.operations
    if rule is None:
        return ""
    asked = []
    if rule.p99_at_most is not None:
        asked.append(f"99 of 100 single rows are answered within {rule.p99_at_most:g} seconds")
    if rule.size_at_most is not None:
        asked.append(f"what it loads is at most {rule.size_at_most:,} bytes")
    if rule.agreement:
        asked.append("its answers are those of the model that was judged")
    return f"In its server: {'; '.join(asked)}." if asked else "It must serve."


_WORDS: dict[str, Callable[[Policy, str], str]] = {
    "baseline": _baseline,
    "linear": _linear,
    "champion": _champion,
    "floor": _floor,
    "slices": _slices,
    "slice": _slices,
    "fairness": _fairness,
    "calibration": _calibration,
    "stability": _stability,
    "leakage": _leakage,
    "training data": _training_data,
    "cost": _cost,
    "operations": _operations,
}
