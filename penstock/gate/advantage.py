"""What the rules on the candidate's advantage over another model on the same rows share."""

from __future__ import annotations

from pydantic import Field

from penstock.gate.rule import RuleSpec, not_measured, result
from penstock.records.decision import RuleResult
from penstock.records.evaluation import Comparison, EvaluationBase


class MarginSpec(RuleSpec):
    """A bound on the candidate's advantage over another model on the same holdout rows."""

    margin: float = Field(description="In units of the primary metric")


def lower_end_above(
    name: str,
    settings: RuleSpec,
    evaluation: EvaluationBase,
    *,
    title: str,
    comparison: Comparison | None,
    bound: float,
    rows: str = "",
) -> RuleResult:
    """Return whether the lower end of the interval of an advantage lies above a bound.

    Args:
        name: The result's.
        settings: The rule's.
        evaluation: What was measured.
        title: Which model it is compared with, in words.
        comparison: The comparison; None: it was not made, and the rule fails.
        bound: In units of the metric.
        rows: A note on the rows.
    """
    if comparison is None:
        why = evaluation.left_out(evaluation.metric)
        return not_measured(name, settings, title, bound=bound, why=why)
    advantage = comparison.advantage
    passed = advantage.low > bound
    return result(
        name,
        settings,
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
