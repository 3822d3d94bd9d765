"""What an experiment shows: counts, means, the difference with its confidence sequence. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from penstock.records.experiment import (
    KPI,
    ArmReading,
    ExperimentPlan,
    ExperimentReading,
    Verdict,
)
from penstock.records.rollout import Finding
from penstock.rollout.experiment.words import sentence_of

if TYPE_CHECKING:
    from penstock.rollout.experiment.observations import Sums

_IMBALANCE = math.log(1000)
"""Evidence from which the arms are known not to get the users they should: it comes about by chance
in at most one of 1,000 experiments, however often one looks."""


def reading_of(
    sums: Sums, plan: ExperimentPlan, *, weight: int, waiting: int, now: datetime
) -> ExperimentReading:
    """Return what the sums show.

    Args:
        sums: Of the users so far.
        plan: The experiment's.
        weight: The challenger's share of new users, in percent.
        waiting: Users whose window is not over.
        now: The time of the reading.
    """
    arms = [_arm(sums, plan, side) for side in (0, 1)]
    difference, low, high = _interval(sums, plan)
    imbalance = imbalance_of(sums.exposed)
    reading = ExperimentReading(
        time=now,
        weight=weight,
        champion=arms[0],
        challenger=arms[1],
        difference=difference,
        low=low,
        high=high,
        verdict=_verdict(low, high, plan, trusted=imbalance < _IMBALANCE),
        waiting=waiting,
        without=sums.without,
        clipped=sums.clipped,
        apart=sums.apart,
        unknown=sums.unknown,
        repeated=sums.repeated,
        moved=sums.moved,
        damaged=sums.damaged,
        changing=sums.changing,
        dropped=sums.dropped,
        silent=sums.silent,
        imbalance=imbalance,
    )
    return reading.model_copy(update={"sentence": sentence_of(reading, plan)})


def finding_of(reading: ExperimentReading) -> Finding:
    """Return a reading as the evidence that an experiment ends on."""
    verdicts = {"better": "pass", "worse": "fail", "open": "inconclusive"}
    return Finding.model_validate(
        {
            "rule": KPI,
            "verdict": verdicts.get(reading.verdict, "not judged"),
            "value": reading.difference,
            "low": reading.low,
            "high": reading.high,
            "bound": 0.0,
            "stable_samples": reading.champion.users,
            "candidate_samples": reading.challenger.users,
            "sentence": reading.sentence,
        }
    )


def imbalance_of(exposed: Mapping[int, Sequence[int]]) -> float:
    """Return the logarithm of the evidence that users do not come to the arms by the weight.

    Always valid: for each weight the likelihood ratio of `log_wealth_of_share`, both sides mixed;
    the product over the weights (Lindon and Malek, 2022, "Anytime-valid inference for multinomial
    count data", NeurIPS 35).

    Args:
        exposed: Users of the champion and of the challenger, by the weight that they came at.
    """
    import numpy as np

    from penstock.rollout.analysis._means import log_wealth_of_share

    total = 0.0
    for weight, (stable, candidate) in exposed.items():
        null = np.array([weight / 100])
        sides = [
            float(log_wealth_of_share(candidate, stable + candidate, null, above=above)[0])
            for above in (True, False)
        ]
        peak = max(sides)
        total += peak + math.log(sum(math.exp(side - peak) for side in sides) / 2)
    return total


def _arm(sums: Sums, plan: ExperimentPlan, side: int) -> ArmReading:
    users = sums.users[side]
    mean = plan.low + sums.totals[side] / users * (plan.high - plan.low) if users else None
    exposed = sum(both[side] for both in sums.exposed.values())
    return ArmReading(exposed=exposed, users=users, mean=mean)


def _interval(sums: Sums, plan: ExperimentPlan) -> tuple[float | None, float | None, float | None]:
    if not all(sums.users):
        return None, None, None
    from penstock.rollout.experiment import sequence

    # The weight only grows, up to a half, so the first one bounds what a user can add.
    scale = 1 - plan.weight / 100
    bets = sequence.bets(scale=scale, variance=plan.variance, confidence=plan.confidence)
    half = sequence.boundary(
        sums.squared, bets, scale=scale, threshold=sequence.threshold(plan.confidence)
    )
    width = plan.high - plan.low
    ends = (
        sums.score / sums.share,
        (sums.score - half) / sums.share,
        (sums.score + half) / sums.share,
    )
    # No difference of two means in [0, 1] lies outside of this.
    value, low, high = (min(max(end, -1.0), 1.0) * width for end in ends)
    return value, low, high


def _verdict(
    low: float | None, high: float | None, plan: ExperimentPlan, *, trusted: bool
) -> Verdict:
    if not trusted:
        return "not trusted"
    if low is None or high is None or low <= 0 <= high:
        return "open"
    return "better" if (low > 0) == (plan.better == "higher") else "worse"
