"""What a policy asks of parts of the holdout and of its figures' trust, measured."""

from __future__ import annotations

from typing import TypedDict

from penstock.evaluation.calibration import measure_calibration
from penstock.evaluation.fairness import measure_fairness
from penstock.evaluation.holdout import Holdout
from penstock.evaluation.slices import measure_slices
from penstock.evaluation.spec import EvaluationSpec
from penstock.evaluation.stability import measure_stability
from penstock.policy.spec import Policy
from penstock.records.estimate import Estimate
from penstock.records.fairness import Fairness
from penstock.records.health import Calibration, Disturbed
from penstock.records.slices import Slices


class Parts(TypedDict):
    """The fields of the evaluation that are measured here."""

    slices: Slices | None
    fairness: tuple[Fairness, ...]
    calibration: Calibration | None
    stability: tuple[Disturbed, ...]


def parts_of(
    holdout: Holdout, policy: Policy, spec: EvaluationSpec, *, brier: Estimate | None
) -> Parts:
    """Measure slices, groups, calibration and stability, as far as the policy asks.

    Args:
        holdout: The rows and what the models say of them.
        policy: What the gate will ask.
        spec: Confidence, resamples, seed.
        brier: The candidate's Brier score if it has been measured.

    Raises:
        InputError: If a rule asks for what these rows or this model cannot give.
    """
    confidence, seed = spec.confidence, spec.seed
    return Parts(
        slices=None
        if policy.slices is None
        else measure_slices(holdout, policy.slices, confidence=confidence),
        fairness=tuple(
            measure_fairness(
                holdout, rule, confidence=confidence, resamples=spec.resamples, seed=seed
            )
            for rule in policy.fairness
        ),
        calibration=None
        if policy.calibration is None
        else measure_calibration(
            holdout, policy.calibration, brier=brier, confidence=confidence, seed=seed
        ),
        stability=()
        if policy.stability is None
        else measure_stability(holdout, policy.stability, spec),
    )
