"""The rule on how a model serves: one result each for latency, size and agreement."""

from __future__ import annotations

from penstock.gate._results import not_measured, result
from penstock.policy.operations import OperationsRule
from penstock.policy.spec import Policy
from penstock.records.decision import RuleResult
from penstock.records.operations import Operations


def rules(operations: Operations | None, policy: Policy) -> tuple[RuleResult, ...]:
    """Return what the rule on operations found."""
    rule = policy.operations
    if rule is None:
        return ()
    if operations is None or not operations.asked:
        what = "the candidate in its server"
        return (not_measured("operations", rule, what),)
    found = []
    if rule.p99_at_most is not None:
        found.append(_latency(operations, rule, rule.p99_at_most))
    if rule.size_at_most is not None:
        found.append(_size(operations, rule, rule.size_at_most))
    if rule.agreement:
        found.append(_agreement(operations, rule))
    return tuple(found)


def _latency(operations: Operations, rule: OperationsRule, bound: float) -> RuleResult:
    name = "operations: latency"
    p99, p50 = operations.p99, operations.p50
    if p99 is None or p50 is None:
        return not_measured(name, rule, "the latency", bound=bound)
    if operations.requests < rule.requests:
        sentence = (
            f"Only {operations.requests:,} single rows were timed, the policy asks for "
            f"{rule.requests:,}: the rule cannot pass."
        )
        return result(name, rule, passed=False, value=p99, bound=bound, sentence=sentence)
    passed = p99 <= bound
    sentence = (
        f"99 of 100 answers to a single row come within {1000 * p99:.1f} ms, half within "
        f"{1000 * p50:.1f} ms; at most {1000 * bound:.1f} ms are allowed "
        f"({operations.requests:,} requests to the {operations.runtime} server, "
        f"{operations.place or 'place not noted'})."
    )
    return result(name, rule, passed=passed, value=p99, bound=bound, sentence=sentence)


def _size(operations: Operations, rule: OperationsRule, bound: int) -> RuleResult:
    name = "operations: size"
    if operations.size is None:
        return not_measured(name, rule, "the model's size", bound=bound)
    passed = operations.size <= bound
    sentence = (
        f"The server loads a model of {operations.size:,} bytes ({operations.runtime}); at most "
        f"{bound:,} are allowed."
    )
    return result(name, rule, passed=passed, value=operations.size, bound=bound, sentence=sentence)


def _agreement(operations: Operations, rule: OperationsRule) -> RuleResult:
    name = "operations: agreement"
    if not operations.rows:
        return not_measured(name, rule, "whether the server answers as the model does", bound=0)
    passed = operations.differences == 0
    if passed:
        sentence = (
            f"The server answers {operations.rows:,} holdout rows as the model itself does: equal "
            f"labels, and scores that differ by {operations.largest:.1g} at most."
        )
    else:
        sentence = (
            f"The server answers {operations.differences:,} of {operations.rows:,} holdout rows "
            f"otherwise than the model itself: {operations.first_difference or 'not said how'}."
        )
    return result(
        name, rule, passed=passed, value=operations.differences, bound=0, sentence=sentence
    )
