"""How the intervals of a stage are put together: fixed by position alone, whatever is in them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from penstock.records.rollout import Interval, merged

_SINGLE, _SHORT = 64, 256
"""Looks of a stage that are strata of their own, and that go by fours; later ones go by 16."""
_RECENT = 16
"""Newest looks that are kept apart in any case: a burst is looked for among them."""


def strata_of(looks: int) -> tuple[list[int], int]:
    """Return the first look of each stratum of a stage, and how many of its looks lie in strata.

    A stratum that is not full yet is left out.

    Args:
        looks: Of the stage, so far.
    """
    firsts = list(range(min(looks, _SINGLE)))
    kept = len(firsts)
    for size, until in ((4, _SHORT), (16, looks)):
        while kept + size <= min(looks, until):
            firsts.append(kept)
            kept += size
    return firsts, kept


def compacted(intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    """Return the same evidence in fewer intervals: those of one stratum as one.

    What is judged by the result is judged as by all of them, for the tests only ever read strata;
    the newest looks are left as they are, for a burst is looked for in single ones.

    Args:
        intervals: All intervals of a rollout, oldest first; some may be merged already.
    """
    recent = len(intervals) - _RECENT
    result: list[Interval] = []
    for _, group in groupby(enumerate(intervals), key=lambda one: (one[1].phase, one[1].step)):
        stage = list(group)
        strata = _by_stratum([one for _, one in stage])
        place = stage[0][0]
        for stratum in strata:
            place += len(stratum)
            result += [merged(stratum)] if place <= recent and len(stratum) > 1 else stratum
    return tuple(result)


def _by_stratum(stage: Sequence[Interval]) -> list[list[Interval]]:
    """Return a stage's intervals by stratum; those that are in none yet one by one."""
    firsts, kept = strata_of(sum(one.looks for one in stage))
    edges = set(firsts)
    result: list[list[Interval]] = []
    place = 0
    for one in stage:
        if place in edges or place >= kept or not result:
            result.append([])
        result[-1].append(one)
        place += one.looks
    return result
