"""Which levels of a category are kept, and what stands for the others."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MISSING = "(missing)"
"""The level of a text that is missing; of a number that is NaN."""

RARE = "(rare or unseen)"


@dataclass(frozen=True)
class KeptLevels:
    """The levels of a category that become a feature each.

    Args:
        levels: In ascending order, NaN last.
        rows: Rows that hold each.
        other_rows: Rows that hold none of them: one feature stands for these, if there are any.
    """

    levels: tuple[Any, ...]
    rows: tuple[int, ...]
    other_rows: int


def kept_levels(
    counts: Mapping[Any, int], *, rows: int, rare_share: float, max_levels: int
) -> KeptLevels:
    """Return the levels that are kept: common ones, and of too many the commonest.

    Args:
        counts: Rows by level; those that are rare in any case may be left out.
        rows: All rows.
        rare_share: Levels in a smaller share of the rows are rare.
        max_levels: Levels that are kept at most. Of equally common ones the last are, in ascending
            order, as scikit-learn does.
    """
    import numpy as np

    # Beside NaN nothing else can be ordered.
    ascending = sorted(counts, key=lambda level: (level != level, 0 if level != level else level))
    common = [level for level in ascending if counts[level] >= rare_share * rows]
    if len(common) > max_levels:
        order = np.argsort([counts[level] for level in common], kind="stable")
        common = [common[at] for at in np.sort(order[-max_levels:])]
    held = tuple(counts[level] for level in common)
    return KeptLevels(tuple(common), held, rows - sum(held))


def stand_in(kept: Sequence[Any], *, text: bool) -> Any:
    """Return a text, or else a number, that is none of some levels."""
    if text:
        return next(name for at in itertools.count() if (name := RARE + "_" * at) not in kept)
    return next(float(at) for at in itertools.count() if at not in kept)


def level_text(level: Any) -> str:
    """Return a level as records and pages name it."""
    if isinstance(level, str):
        return level
    if level != level:
        return MISSING
    # -0.0 is 0.
    return f"{level + 0.0:.15g}"
