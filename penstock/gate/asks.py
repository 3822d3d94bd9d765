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
        if rule == begins or rule.startswith((f"{begins} ", f"{begins}:")):
            return words(policy, rule[len(begins) :].strip(" :"))
    return ""


def _baseline(policy: Policy, _: str) -> str:
    return (
        "The model must do better than a constant answer: always the commonest "
        f"class, or the mean. Even the lower end of its advantage must exceed "
        f"{policy.baseline.margin:g}, so that chance alone does not explain it."
    )


def _linear(policy: Policy, _: str) -> str:
    return (
        "The model must justify its complexity: a plain linear model may be better by at most "
        f"{policy.linear.margin:g}."
    )


def _champion(policy: Policy, named: str) -> str:
    if named == "superiority":
        return (
            "On the same rows the model must be shown to be better than the champion, the version "
            "that users have now: even the lower end of its advantage must lie above 0."
        )
    return (
        "On the same rows the model may be worse than the champion, the version that users have "
        f"now, by no more than {policy.champion.margin:g}, the lower end of the interval included."
    )


def _classes(policy: Policy, named: str) -> str:
    rule = policy.classes
    if rule is None:
        return ""
    parts = {
        "guessing": "The predicted classes must be better than guesses, which find each class "
        "alike often whatever the row is. The mean recall of the classes is compared, the lower "
        "end of its interval included.",
        "recall": f"Every class must be found: the recall of each is at least "
        f"{rule.recall_at_least:g}."
        if rule.recall_at_least is not None
        else "",
        "champion": f"The mean recall of the classes may be lower than the champion's by at most "
        f"{rule.margin:g}."
        if rule.margin is not None
        else "",
    }
    return parts.get(named) or "The predicted classes must be of use, each of them."


def _floor(policy: Policy, metric: str) -> str:
    wanted = [_floor_words(floor) for floor in policy.floors if floor.metric == metric]
    return " ".join(wanted) or f"{metric} must keep its bound."


def _floor_words(floor: Floor) -> str:
    side, bound = (
        ("at least", floor.at_least) if floor.at_least is not None else ("at most", floor.at_most)
    )
    what = f"{floor.metric} on the holdout"
    if floor.on == "interval":
        what = f"The worse end of the confidence interval of {what}"
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
    told.append(
        f"Parts of fewer than {rule.min_rows:,} rows are skipped. However many are tested, the "
        f"probability of any false alarm is {rule.alpha:.0%}."
    )
    return " ".join(told)


def _fairness(policy: Policy, named: str) -> str:
    rules = [
        rule
        for rule in policy.fairness
        if named == f"{rule.metric} by {' and '.join(rule.columns)}"
    ]
    bounds = " ".join(map(_fairness_words, rules))
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
    asked = " and ".join(f"{n} at most {bound:g}" for n, bound in bounds.items() if bound)
    return f"What the model calls 30 % must happen in 30 % of the cases: {asked}."


def _stability(policy: Policy, named: str) -> str:
    rule = policy.stability
    if rule is None:
        return ""
    disturbed = {
        "noise": f"noise of {rule.noise:g} of its standard deviation on each number",
        "missing": f"{rule.missing:.0%} of all values missing",
    }
    return (
        f"Small errors in the inputs must not degrade the model: with "
        f"{disturbed.get(named, 'small faults')}, at most {rule.drop_at_most:g} of the primary "
        "metric may be lost."
    )


def _leakage(policy: Policy, named: str) -> str:
    rule = policy.leakage
    if rule is None:
        return ""
    parts = {"overlap": "It must be proved that no row judged on is a row learned from."}
    if rule.single_column is not None:
        parts["one column"] = (
            f"No column alone may predict the target as well as {rule.single_column:g}: possible "
            "target leakage."
        )
    if rule.not_at_serving:
        parts["not at serving"] = (
            f"It must not take {', '.join(rule.not_at_serving)}, which is not known when a "
            "prediction is made."
        )
    whole = "The figures must not rest on what will not be there when the model is used."
    return parts.get(named, whole)


def _training_data(policy: Policy, named: str) -> str:
    rule = policy.training_data
    if rule is None:
        return ""
    bounds = {
        "label noise": (
            "At most {:.0%} of the training labels may be wrong.",
            rule.label_noise_at_most,
        ),
        "flipped labels": (
            "At most {:.0%} of the training rows may look as if somebody had flipped their labels.",
            rule.poisoned_at_most,
        ),
        "drift": (
            "No column may have moved further than {:g} (population stability index) from "
            "the data that the champion learned from.",
            rule.drift_at_most,
        ),
    }
    words, bound = bounds.get(named, ("", None))
    if bound is None:
        return "The rows that the model learned from must look right."
    return words.format(bound)


def _cost(policy: Policy, _: str) -> str:
    rule = policy.cost
    if rule is None:
        return ""
    if rule.at_least is None:
        return "The value per 1,000 decisions is reported, not enforced."
    which = "The lower end of the worth" if rule.on == "interval" else "The worth"
    return (
        f"{which} of 1,000 decisions must be at least {rule.at_least:,g} {rule.unit}".strip() + "."
    )


def _operations(policy: Policy, named: str) -> str:
    rule = policy.operations
    if rule is None:
        return ""
    parts = {"agreement": "Its server must answer as the model that was judged does."}
    if rule.p99_at_most is not None:
        parts["latency"] = (
            f"99 of 100 single rows must be answered within {rule.p99_at_most:g} seconds."
        )
    if rule.size_at_most is not None:
        parts["size"] = f"What its server loads must be at most {rule.size_at_most:,} bytes."
    return parts.get(named, "It must serve as it was judged, measured in its own server.")


_WORDS: dict[str, Callable[[Policy, str], str]] = {
    "baseline": _baseline,
    "linear": _linear,
    "champion": _champion,
    "classes": _classes,
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
