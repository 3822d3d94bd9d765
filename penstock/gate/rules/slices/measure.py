"""Parts of the holdout: those that the policy names, and the weakest that can be found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from penstock.errors import InputError
from penstock.gate.holdout import Holdout
from penstock.gate.levels import Levels, crossed, levels_of
from penstock.gate.rules.slices.losses import Losses, losses_of, slice_metric
from penstock.gate.rules.slices.spec import Slice, Slices, SlicesSpec
from penstock.metrics import METRICS
from penstock.metrics.bounds import check_bounds
from penstock.metrics.slice_tests import Floats, SliceTests, compare_slices, holm
from penstock.records.estimate import Estimate

WHERE = "gate.slices"

_PAIRS_BUDGET = 100_000_000
"""Rows times pairs of columns that are searched: about fifteen seconds."""

_PAIR = 4_000
"""Rows that cost as much as a pair costs beside its rows."""

_LISTED = 100
_FLAGGED_LISTED = 20
_EXAMINED = 300
_WITHIN = 0.8
"""Share of a found slice's rows from which it counts as part of one that is already shown."""


@dataclass(frozen=True)
class _Look:
    """One column, or several crossed, and what its slices showed."""

    levels: tuple[Levels, ...]
    names: tuple[str, ...]
    found: bool
    tests: SliceTests
    judged: NDArray[np.bool_]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for one in self.levels for column in one.columns)


@dataclass(frozen=True)
class _Entry:
    """A slice that was judged."""

    look: _Look
    level: int
    p_floor: float | None
    p_worse: float | None
    flagged: bool

    @property
    def favourable(self) -> float:
        """The least loss that its interval holds."""
        return float(self.look.tests.loss[1][self.level])


def measure_slices(holdout: Holdout, settings: SlicesSpec, *, confidence: float) -> Slices:
    """Measure the slices that a policy names, and look for the weakest.

    Args:
        holdout: The rows and what the models say of them.
        settings: What to look at.
        confidence: Of each interval, on its own.

    Raises:
        InputError: If a column is not in the holdout, the metric is not measured in slices, or the
            floor is on the wrong side of it.
    """
    bounded = settings.at_least is not None or settings.at_most is not None
    metric = slice_metric(settings.metric, holdout, bounded=bounded)
    higher = METRICS[metric].higher_is_better
    bound = _bound(settings, metric, higher=higher)
    losses = losses_of(holdout, metric)
    notes: list[str] = []
    if not settings.metric and metric != holdout.record.metric:
        notes.append(
            f"Slices are judged by {metric}, because {holdout.record.metric} is not a mean over "
            "rows, which alone is sound in small parts."
        )
    looks, tiny = [], 0
    for parts, found in _parts(holdout, settings, notes):
        if found and (cells := _too_small(parts, settings)):
            tiny += cells
            continue
        looks.append(
            _look(parts, losses, settings, bound=bound, confidence=confidence, found=found)
        )
    entries = _entries(looks, settings)
    listed = _listed(entries, settings)
    small = [
        Slice(name=name, columns=look.columns, found=False, rows=int(rows))
        for look in looks
        if not look.found
        for name, rows, judged in zip(look.names, look.tests.rows, look.judged, strict=True)
        if not judged
    ]
    return Slices(
        metric=metric,
        higher_is_better=higher,
        looked_at=len(entries),
        named=sum(not entry.look.found for entry in entries),
        too_small=tiny + sum(int((~look.judged).sum()) for look in looks),
        unjudged=tuple(
            " and ".join(look.columns) for look in looks if not look.found and not look.judged.any()
        ),
        min_rows=settings.min_rows,
        omitted=sum(e.flagged for e in entries) - sum(e.flagged for e in listed),
        compared=losses.champion is not None and settings.margin is not None,
        floor=bound,
        margin=settings.margin,
        alpha=settings.alpha,
        slices=(*(_slice(entry, losses) for entry in listed), *small[:_LISTED]),
        notes=tuple(notes),
    )


def _bound(settings: SlicesSpec, metric: str, *, higher: bool) -> float | None:
    try:
        # Where the rule leaves the metric to the primary one, this was not known before.
        check_bounds(metric, at_least=settings.at_least, at_most=settings.at_most)
    except ValueError as error:
        raise InputError(str(error), where=WHERE) from error
    return settings.at_least if higher else settings.at_most


def _parts(
    holdout: Holdout, settings: SlicesSpec, notes: list[str]
) -> Iterator[tuple[tuple[Levels, ...], bool]]:
    """Yield what to look at: what the policy names, then all columns, then pairs of them."""
    named = [(one,) if isinstance(one, str) else one for one in settings.columns]
    every = [c.name for c in holdout.dataset.columns if c.name != holdout.record.target]
    names = dict.fromkeys(column for columns in named for column in columns)
    names |= dict.fromkeys(every if settings.find else ())
    read = levels_of(holdout, list(names), levels=settings.levels, where=f"{WHERE}.columns")
    levels = dict(zip(names, read, strict=True))
    for columns in dict.fromkeys(named):
        yield tuple(levels[column] for column in columns), False
    if not settings.find:
        return
    telling = [column for column in every if _tells(levels[column], settings)]
    taken = {frozenset(columns) for columns in named}
    most = max(1, _PAIRS_BUDGET // (holdout.rows + _PAIR))
    paired = telling
    while len(paired) > 2 and len(paired) * (len(paired) - 1) / 2 > most:
        paired = paired[:-1]
    if len(paired) < len(telling):
        notes.append(
            f"Pairs were looked for among the first {len(paired)} of {len(telling)} columns only: "
            "all pairs would take too long."
        )
    for columns in [*((column,) for column in telling), *combinations(paired, 2)]:
        if frozenset(columns) not in taken:
            yield tuple(levels[column] for column in columns), True


def _tells(levels: Levels, settings: SlicesSpec) -> bool:
    """Return whether a column parts the rows: some slice and the rest are both large enough."""
    rows = np.bincount(levels.codes)
    return bool(((rows >= settings.min_rows) & (rows.sum() - rows >= settings.min_rows)).any())


def _too_small(parts: tuple[Levels, ...], settings: SlicesSpec) -> int:
    """Return how many slices columns have if none of them is large enough; 0 if one is."""
    codes = parts[0].codes.astype(np.int64)
    for other in parts[1:]:
        codes = codes * len(other.names) + other.codes
    rows = np.bincount(codes)
    return 0 if rows.max() >= settings.min_rows else int((rows > 0).sum())


def _look(
    parts: tuple[Levels, ...],
    losses: Losses,
    settings: SlicesSpec,
    *,
    bound: float | None,
    confidence: float,
    found: bool,
) -> _Look:
    levels = crossed(parts)
    codes, slices = losses.taken(levels.codes), len(levels.names)
    tests = compare_slices(
        codes,
        losses.candidate,
        slices=slices,
        champion=losses.champion,
        form=losses.form,
        bound=None if bound is None else losses.bound(bound),
        margin=settings.margin,
        confidence=confidence,
    )
    judged = (tests.rows >= settings.min_rows) & losses.evidence(codes, slices)
    return _Look(parts, levels.names, found, tests, judged)


def _entries(looks: list[_Look], settings: SlicesSpec) -> list[_Entry]:
    """Return every judged slice with its p-values adjusted for all of them."""
    families: list[list[float]] = [[], []]
    for look in looks:
        for p in (look.tests.p_floor, look.tests.p_worse):
            if p is not None:
                families[look.found] += p[look.judged].tolist()
    adjusted = [iter(p.tolist()) for p in holm(*(np.array(family) for family in families))]
    entries = []
    for look in looks:
        levels = np.flatnonzero(look.judged)
        floor, worse = (
            [None] * len(levels) if p is None else [next(adjusted[look.found]) for _ in levels]
            for p in (look.tests.p_floor, look.tests.p_worse)
        )
        for level, p_floor, p_worse in zip(levels, floor, worse, strict=True):
            flagged = any(p is not None and p <= settings.alpha for p in (p_floor, p_worse))
            entries.append(_Entry(look, int(level), p_floor, p_worse, flagged))
    return entries


def _listed(entries: list[_Entry], settings: SlicesSpec) -> list[_Entry]:
    """Return what is shown, the flagged first, then the weakest.

    Weak is what is bad even at the favourable end of its interval, so that a small slice that had
    bad luck does not come first.
    """
    ordered = sorted(entries, key=lambda entry: (not entry.flagged, -entry.favourable))
    shown: list[_Entry] = []
    masks: list[NDArray[np.bool_]] = []
    named, examined = 0, 0
    for entry in ordered:
        if not entry.look.found:
            named += 1
            if named <= _LISTED:
                shown.append(entry)
            continue
        enough = len(masks) >= (_FLAGGED_LISTED if entry.flagged else settings.find)
        if enough or examined >= _EXAMINED:
            continue
        examined += 1
        mask = _rows_of(entry)
        if not any(_within(mask, other) for other in masks):
            masks.append(mask)
            shown.append(entry)
    return shown


def _rows_of(entry: _Entry) -> NDArray[np.bool_]:
    return np.asarray(crossed(entry.look.levels).codes == entry.level)


def _within(one: NDArray[np.bool_], shown: NDArray[np.bool_]) -> bool:
    """Return whether a slice says nothing new: nearly all of it is in one that is as weak."""
    return bool((one & shown).sum() >= _WITHIN * one.sum())


def _slice(entry: _Entry, losses: Losses) -> Slice:
    tests, level = entry.look.tests, entry.level
    value, low, high = (losses.of(one[level : level + 1]) for one in tests.loss)
    return Slice(
        name=entry.look.names[level],
        columns=entry.look.columns,
        found=entry.look.found,
        rows=int(tests.rows[level]),
        estimate=_ordered(value, low, high),
        advantage=None
        if tests.difference is None
        else _ordered(*(0.0 - one[level : level + 1] for one in tests.difference)),
        p_floor=entry.p_floor,
        p_worse=entry.p_worse,
    )


def _ordered(value: Floats, low: Floats, high: Floats) -> Estimate:
    """Return the figure with the lower end first, whichever way it was turned."""
    ends = sorted((low.item(), high.item()))
    return Estimate(value=value.item(), low=ends[0], high=ends[1])
