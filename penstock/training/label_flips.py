"""Parts of a table whose labels look flipped. Imported only while training.

A model that states probabilities also states how often it expects to be wrong in any part of the
table. Where it is wrong far more often than that, and than it is elsewhere, some labels may have
been flipped there. Where most were, a model learns that the part is different and expects it; but a
linear one has the same slopes everywhere, so within the part it ranks the rows the wrong way round.
Either can also mean that the relation is another one there: both are for people to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstock.training.subgroups import Subgroups

ALPHA = 0.01
"""Probability that a part of sound data is suspected, over all parts (Bonferroni)."""

LEAST_ROWS = 30

LEAST_OF_CLASS = 5
"""Rows of either class that a part must have for its order to be looked at."""

FAR = 0.1
"""Share of a part's labels that must look flipped beyond elsewhere, however sure that is."""

INFORMED = 0.4
"""How much a model must know of a part to find a flipped label there: 1 is all, 0 a coin."""

_EVEN = 0.5
_TELLING = 0.6
"""Areas under the ROC curve: what guessing gives, and what a model needs elsewhere to count."""

MOST = 10
"""Suspects that are looked for."""


@dataclass(frozen=True)
class FlippedLabels:
    """A part whose labels look flipped: its name, its rows, and the share of them."""

    name: str
    rows: int
    flipped: float
    excess: float
    chance: float


@dataclass(frozen=True)
class _View:
    """What one model says of each row, shape (n,) each.

    Args:
        wrong: 1 where the label is not the likeliest class.
        expected: How probable the model thought that.
        informed: By how much a flipped label would make it more probable.
    """

    wrong: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]
    informed: npt.NDArray[np.float64]


def find_flipped_labels(
    truth: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    parts: Sequence[Subgroups],
    *,
    linear: npt.NDArray[np.float64] | None,
) -> tuple[list[FlippedLabels], float]:
    """Return the suspected parts, the surest first, and the share of all rows that look flipped.

    If a share f of a part's labels were flipped, the labels that differ from the likeliest class
    would number sum(q) + f sum(1 - q k / (k - 1)), q being the probability that the model gives to
    all other classes and k the number of classes. That gives f in the part and elsewhere; the count
    in the part is held against the binomial distribution with the share of elsewhere. Of two
    classes the order of the linear model's scores is looked at too: a part in which positives score
    lower than negatives (Mann and Whitney's test) while they score higher elsewhere. The rows of a
    suspect are left out before the next is looked for, so none counts twice.

    Args:
        truth: Class codes, shape (n,).
        probabilities: The winner's, shape (n, classes).
        parts: How columns cut the rows into parts.
        linear: Of two classes the linear model's scores, shape (n,); of more None: flips of most
            labels of a part, which the winner can learn, are then not found.
    """
    view = _view(truth, probabilities)
    family = max(1, 2 * sum(len(part.names) for part in parts))
    left = np.ones(len(truth), dtype=bool)
    found: list[FlippedLabels] = []
    flipped = 0.0
    while len(found) < MOST:
        suspects = [
            (suspect, part.codes == place)
            for part in parts
            for place, suspect in (
                *_suspects(view, part, left),
                *_reversed(truth, linear, part, left),
            )
            if suspect.chance * family < ALPHA and suspect.excess >= FAR
        ]
        if not suspects:
            break
        worst, rows = min(suspects, key=lambda pair: (pair[0].chance, -pair[0].excess))
        found.append(worst)
        flipped += worst.excess * worst.rows
        left &= ~rows
    return found, float(flipped / max(len(truth), 1))


def _view(truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> _View:
    classes = probabilities.shape[1]
    expected = 1 - probabilities.max(axis=1)
    return _View(
        wrong=(probabilities.argmax(axis=1) != truth).astype(float),
        expected=expected,
        informed=np.maximum(1 - expected * classes / (classes - 1), 0.0),
    )


def _suspects(
    view: _View, part: Subgroups, left: npt.NDArray[np.bool_]
) -> list[tuple[int, FlippedLabels]]:
    from scipy.stats import binom

    size = len(part.names) + 1
    codes = part.codes[left]
    rows = np.bincount(codes, minlength=size).astype(float)
    wrong, expected, informed = (
        np.bincount(codes, weights=values[left], minlength=size)
        for values in (view.wrong, view.expected, view.informed)
    )
    judged = np.flatnonzero(
        (rows >= LEAST_ROWS) & (rows < rows.sum() / 2) & (informed >= INFORMED * rows)
    )
    found = []
    for place in judged[judged < len(part.names)]:
        here = (wrong[place] - expected[place]) / informed[place]
        others = informed.sum() - informed[place]
        beyond = (wrong.sum() - wrong[place]) - (expected.sum() - expected[place])
        elsewhere = max(0.0, float(beyond / others)) if others > 0 else 0.0
        usual = min(1.0, (expected[place] + elsewhere * informed[place]) / rows[place])
        found.append(
            (
                int(place),
                FlippedLabels(
                    name=part.names[place],
                    rows=int(rows[place]),
                    flipped=float(min(1.0, max(0.0, here))),
                    excess=float(min(1.0, here) - elsewhere),
                    chance=float(binom.sf(wrong[place] - 1, int(rows[place]), usual)),
                ),
            )
        )
    return found


def _reversed(
    truth: npt.NDArray[np.int64],
    linear: npt.NDArray[np.float64] | None,
    part: Subgroups,
    left: npt.NDArray[np.bool_],
) -> list[tuple[int, FlippedLabels]]:
    """Return the parts in which the model ranks the classes the wrong way round."""
    from scipy.stats import norm, rankdata

    if linear is None:
        return []
    positive, scores, codes = truth[left] == 1, linear[left], part.codes[left]
    found = []
    for place in np.flatnonzero(np.bincount(codes, minlength=1)):
        here = codes == place
        a, b = int(positive[here].sum()), int((~positive[here]).sum())
        if place >= len(part.names) or min(a, b) < LEAST_OF_CLASS or 2 * (a + b) > len(codes):
            continue
        inside = _area(rankdata(scores[here]), positive[here])
        if inside >= _EVEN:
            continue
        elsewhere = _area(rankdata(scores[~here]), positive[~here])
        if not elsewhere >= _TELLING:
            continue
        # The variance of the statistic when both classes score alike.
        deviation = np.sqrt((a + b + 1) / (12 * a * b))
        share = min(1.0, (elsewhere - inside) / (2 * elsewhere - 1))
        found.append(
            (
                int(place),
                FlippedLabels(
                    name=part.names[place],
                    rows=a + b,
                    flipped=float(share),
                    excess=float(share),
                    chance=float(norm.cdf((inside - _EVEN) / deviation)),
                ),
            )
        )
    return found


def _area(ranks: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve; NaN without one of the classes."""
    a, b = int(positive.sum()), int((~positive).sum())
    if not a * b:
        return float("nan")
    return float((ranks[positive].sum() - a * (a + 1) / 2) / (a * b))
