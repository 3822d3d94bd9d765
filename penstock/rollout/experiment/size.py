"""How many users an experiment takes, computed before it begins. Pure.

With n users of whom a share p gets the challenger, and q = p (1 - p), the sum that the reading is
about has the mean n q d and the variance n q s^2, for a difference d and a standard deviation s of
the KPI. It is nearly normal, so the reading is decided at n, or before, with the power

    P(N(n q d, n q s^2) >= u(n q s^2)) = power,

u being the boundary of the confidence sequence (`penstock.rollout.experiment.sequence`), with its
bets chosen for that very variance. A test that is read once, at the end, takes the well-known

    n = (z(1 - alpha / 2) + z(power))^2 s^2 / (q d^2)

(Chow, Shao, Wang and Lokhnygina, 2018, "Sample size calculations in clinical research", section
3.2). The ratio of the two is what reading at any time costs; looks before n give some of it back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from penstock.errors import UsageError

_MOST = 10**12


@dataclass(frozen=True)
class Size:
    """What an experiment takes.

    Attributes:
        users: Of both arms together, so that a true difference of `effect` is seen by then.
        fixed: The same for a test that is read once, at the end.
        variance: Sum over these users of what the reading is about, KPI scaled to [0, 1].
        sd: Standard deviation of the KPI over users, in its own unit.
    """

    users: int
    fixed: int
    variance: float
    sd: float

    @property
    def inflation(self) -> float:
        """How many times the users of a test that is read once."""
        return self.users / self.fixed


def size_of(
    *,
    effect: float,
    sd: float,
    low: float = 0.0,
    high: float = 1.0,
    weight: int = 50,
    power: float = 0.8,
    confidence: float = 0.95,
) -> Size:
    """Return how many users an experiment takes.

    Args:
        effect: The smallest difference of the means that is to be seen, in the KPI's unit.
        sd: Standard deviation of the KPI over users of one arm, in the same unit; of the arm where
            it is larger.
        low: The least that the KPI can count.
        high: The most that it can count.
        weight: Share of users that get the challenger, in percent.
        power: Probability of seeing it, within (0, 1).
        confidence: Of the reading.

    Raises:
        UsageError: If the effect is 0 or does not fit between `low` and `high`.

    Example:
        >>> found = size_of(effect=0.01, sd=0.3)
        >>> found.users, found.fixed
        (55169, 28256)
    """
    from penstock.rollout.experiment import sequence

    effect = abs(effect)
    if not 0 < effect < high - low:
        raise UsageError(
            f"an effect of {effect:g} is not between 0 and the width of the range, {high - low:g}",
            where="effect",
        )
    if not 0 < sd <= (high - low) / 2:
        raise UsageError(
            f"a standard deviation of {sd:g} does not fit a KPI from {low:g} to {high:g}",
            where="sd",
            remedy=f"It is above 0 and at most {(high - low) / 2:g}.",
        )
    share = weight / 100
    each = share * (1 - share)
    scale = 1 - min(share, 1 - share)
    d, s = effect / (high - low), sd / (high - low)
    # What a user's KPI is compared with lies between the two means.
    spread = each * (s**2 + d**2 * ((1 - share) ** 3 + share**3))
    limit = sequence.threshold(confidence)
    z = NormalDist().inv_cdf(power)

    def seen(users: int) -> bool:
        variance = users * spread
        chosen = sequence.bets(scale=scale, variance=variance, confidence=confidence)
        needed = sequence.boundary(variance, chosen, scale=scale, threshold=limit)
        return users * each * d >= needed + z * math.sqrt(variance)

    fixed = _fixed(each=each, d=d, s=s, z=z, confidence=confidence)
    low_end, users = 1, 2 * fixed
    while not seen(users) and users < _MOST:
        low_end, users = users, 2 * users
    while users - low_end > 1:
        middle = (low_end + users) // 2
        low_end, users = (low_end, middle) if seen(middle) else (middle, users)
    return Size(users=users, fixed=fixed, variance=users * spread, sd=sd)


def _fixed(*, each: float, d: float, s: float, z: float, confidence: float) -> int:
    both = NormalDist().inv_cdf((1 + confidence) / 2) + z
    return math.ceil(both**2 * s**2 / (each * d**2))


def sd_of_rate(rate: float, *, effect: float = 0.0, weight: int = 50) -> float:
    """Return the standard deviation of a KPI that is 1 with a probability, else 0.

    A challenger whose rate is another has another variance. In the sum that the reading is about,
    each arm's counts by the other arm's share; the effect is taken to the side where it is larger.

    Args:
        rate: The champion's probability.
        effect: By how much the challenger's differs.
        weight: Share of users that get the challenger, in percent.

    Example:
        >>> round(sd_of_rate(0.1), 3), round(sd_of_rate(0.1, effect=0.02), 3)
        (0.3, 0.313)
    """
    share = weight / 100
    others = [min(max(rate + side * abs(effect), 0.0), 1.0) for side in (-1, 1)]
    challenger = max(other * (1 - other) for other in others)
    return math.sqrt((1 - share) * challenger + share * rate * (1 - rate))
