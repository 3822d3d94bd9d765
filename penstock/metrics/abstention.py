"""Which rows a model leaves to a person: Chow's rule, with the costs of the policy.

C. K. Chow, On optimum recognition error and reject tradeoff, IEEE Transactions on Information
Theory, 1970. Deciding a row with the probability p of the positive class by the model loses
`(1 - p) * false_alarm` on average where it says positive, and `p * miss` where it says negative,
each being how much more a right decision is worth. A person decides right, and costs `review`. So a
person is cheaper where both losses are above that cost:

    review / miss  <  p  <  1 - review / false_alarm

Probabilities that are not calibrated make the band another one than is meant: the gate shows what
it does on the holdout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.records.model import Abstention

if TYPE_CHECKING:
    import numpy as np


def band_of(*, miss: float, false_alarm: float, review: float) -> Abstention:
    """Return the band of probabilities in which a person is cheaper than the model.

    Args:
        miss: How much more a true positive is worth than a false negative, above 0.
        false_alarm: How much more a true negative is worth than a false positive, above 0.
        review: What a person's decision costs, above 0, in the same unit.

    Raises:
        ValueError: If a cost is not above 0, or a person is cheaper nowhere.

    Example:
        >>> band = band_of(miss=10, false_alarm=2, review=0.5)
        >>> band.low, band.high
        (0.05, 0.75)
    """
    if min(miss, false_alarm, review) <= 0:
        raise ValueError(
            "review: a mistake of each kind and a person's decision must each cost something"
        )
    low, high = review / miss, 1 - review / false_alarm
    if low >= high:
        raise ValueError(
            f"review: at a cost of {review:g} a person is cheaper than the model for no row; "
            f"mistakes cost {miss:g} and {false_alarm:g}"
        )
    return Abstention(low=low, high=high)


def abstained(band: Abstention, scores: np.ndarray) -> np.ndarray:
    """Return which rows are left to a person, shape (n,).

    Args:
        band: Of a model.
        scores: Probabilities of the positive class, shape (n,).

    Example:
        >>> import numpy as np
        >>> abstained(Abstention(low=0.25, high=0.75), np.array([0.25, 0.5, 0.8])).tolist()
        [False, True, False]
    """
    found: np.ndarray = (scores > band.low) & (scores < band.high)
    return found
