"""What labels teach about an estimate made without them: how far off it is, and when it is wrong.

A window's labels come later. Then the metric that they give is compared with what was estimated of
the same rows, and the difference is held against the interval that was given at that time:

- its square beyond sampling and calibration is the variance of the *concept* between windows
  (method of moments; DerSimonian and Laird 1986), large windows counting more: of a small one the
  square is mostly chance;
- whether it lay within the interval moves the interval's reach, so that in the long run the share
  that lies within is the one promised, whatever the drift (quantile tracking; Angelopoulos, Candès
  and Tibshirani, Conformal PID control for time series prediction, 2023);
- misses that are more frequent than promised are evidence of concept drift (an e-detector of
  Shiryaev-Roberts form; Shin, Ramdas and Rinaldo 2022), on which the estimate is withdrawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from penstock.records.base import Value

if TYPE_CHECKING:
    from penstock.monitoring.estimates.estimates import Estimated, Realized

CONFIDENCE = 0.95
NORMAL = 1.959963984540054
"""Standard errors that an interval of `CONFIDENCE` reaches to either side, where all is normal."""

STEP = 0.1
"""How far a miss moves the reach, as a share of the largest standardized difference so far; the
value of the paper."""

MEMORY = 100
"""Windows after which one counts about a third in the variance."""

OUTLIER = 3.0
"""Standard errors beyond which a window counts as if it lay there, or one would widen all that come
after it."""

BOUND = 1_000
"""Windows between two false withdrawals, on average at least, if the misses are chance."""

RETURN = 0.1
"""Share of the bound to which the evidence has to fall before an estimate is given again."""

_MISS_IF_DRIFTED = 0.5


class MetricConcept(Value):
    """What labels have taught of the estimate of one metric."""

    windows: int = Field(default=0, description="Windows whose labels were compared")
    excess: float = Field(
        default=0.0, description="Mean squared difference beyond sampling and calibration"
    )
    weight: float = Field(default=0.0, description="Of the windows that `excess` is the mean of")
    reach: float = Field(default=NORMAL, description="Standard errors to either side")
    largest: float = Field(default=NORMAL, description="Largest difference, in standard errors")
    misses: int = Field(default=0, description="Windows that lay outside of the interval")
    evidence: float = Field(default=0.0, description="For concept drift; withdrawn at the bound")
    withdrawn: bool = False

    @property
    def variance(self) -> float:
        """Variance between windows that sampling and calibration do not explain."""
        return max(self.excess, 0.0)


class Concept(Value):
    """What labels have taught, by metric; part of the monitor's state."""

    metrics: dict[str, MetricConcept] = Field(default={})

    def of(self, metric: str) -> MetricConcept:
        """Return what is known of one metric; of a new one nothing."""
        return self.metrics.get(metric, MetricConcept())


@dataclass(frozen=True)
class Agreement:
    """Whether labels agree with what was estimated of the same rows.

    Attributes:
        agrees: Whether the metric by labels lies within the estimate's interval.
        sentence: The figures, in words.
    """

    agrees: bool
    sentence: str


def agreement(metric: str, estimated: Estimated, realized: Realized) -> Agreement:
    """Compare an estimate with what labels gave for the same rows.

    One window outside is no drift: one in twenty is. `learn` counts them.
    """
    agrees = estimated.low <= realized.value <= estimated.high
    side = "within" if agrees else "outside of"
    return Agreement(
        agrees,
        f"By the labels of {realized.rows:,} rows {metric} is {realized.value:.4g}, {side} "
        f"{estimated.low:.4g} to {estimated.high:.4g}, which was estimated without them.",
    )


def learn(
    concept: Concept | None,
    *,
    metric: str,
    estimated: Estimated,
    realized: Realized,
    bound: float = BOUND,
) -> Concept:
    """Return the concept with what one window's labels teach. Pure: the same in, the same out.

    Args:
        concept: What earlier windows taught; None: nothing.
        metric: Which metric.
        estimated: Its estimate for the rows that have labels, with the interval given at that time
            (`to_compare`, for one that is not shown).
        realized: What the labels of the same rows gave.
        bound: Windows between two false withdrawals, on average at least.
    """
    known = concept or Concept()
    before = known.of(metric)
    difference = abs(realized.value - estimated.value)
    missed = not agreement(metric, estimated, realized).agrees
    # The interval may have been cut at the end of the metric's range: the reach counts, not it.
    total = max(float(np.sqrt(estimated.error**2 + before.variance)), 1e-12)
    standard = difference / total
    largest = max(before.largest, standard)
    reach = max(NORMAL, before.reach + STEP * largest * (missed - (1 - CONFIDENCE)))
    squared = min(difference, OUTLIER * total) ** 2 - estimated.error**2
    # The variance of a square of normal deviates is proportional to their variance's square.
    added = max(estimated.error, 1e-12) ** -4
    weight = before.weight * (1 - 1 / MEMORY) + added
    evidence = (1 + before.evidence) * _ratio(missed=missed)
    after = MetricConcept(
        windows=before.windows + 1,
        excess=before.excess + (squared - before.excess) * (added / weight),
        weight=weight,
        reach=reach,
        largest=largest,
        misses=before.misses + missed,
        evidence=min(evidence, 10 * bound),
        withdrawn=evidence >= (bound * RETURN if before.withdrawn else bound),
    )
    return Concept(metrics={**known.metrics, metric: after})


def _ratio(*, missed: bool) -> float:
    """Return how much likelier a drifted concept makes what was seen."""
    if missed:
        return _MISS_IF_DRIFTED / (1 - CONFIDENCE)
    return (1 - _MISS_IF_DRIFTED) / CONFIDENCE
