"""Cross-validation folds that respect how the holdout was cut off: lists of rows, no copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.errors import InputError
from penstock.training.feature_columns import FittedFeatures
from penstock.training.fold_rule import WHERE
from penstock.training.inputs import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    Indices = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Fold:
    """One fold: which rows, and the features as a fit on its own training rows makes them.

    Args:
        problem: The training part.
        features: Its features.
        rows: Places of its training rows.
        rows_out: Places of the rows held out of it.
    """

    problem: Problem
    features: FittedFeatures
    rows: np.ndarray
    rows_out: np.ndarray

    @property
    def x(self) -> np.ndarray:
        """Features of its training rows, float64, shape (rows, features); made anew."""
        return self.features.matrix(self.rows)

    @property
    def y(self) -> np.ndarray:
        """The target of its training rows, as estimators take it."""
        of: np.ndarray = self.problem.y[self.rows]
        return of

    @property
    def x_out(self) -> np.ndarray:
        """Features of the rows held out, float64; made anew."""
        return self.features.matrix(self.rows_out)

    @property
    def truth_out(self) -> np.ndarray:
        """The target of the rows held out, as metrics take it."""
        of: np.ndarray = self.problem.truth[self.rows_out]
        return of


def make_folds(
    problem: Problem, *, folds: int, seed: int
) -> tuple[tuple[Fold, ...], tuple[str, ...]]:
    """Return the folds, and what a reader should know of them.

    `problem.fold_rule` says how they are cut. Copies of a row stay in one fold of those that are
    drawn by chance; every fold is scored on one of them, as `penstock.data.split.split` does.

    Args:
        problem: The training part.
        folds: How many. Where the project file does not name their kind, fewer when the rarest
            class, the groups or the times do not suffice.
        seed: Seed of the shuffle.

    Raises:
        InputError: If not even two folds can be made in which every class can be learned; where the
            kind is named, if there are not as many of that kind.
    """
    rule = problem.fold_rule
    indices, notes = _indices(problem, folds=folds, seed=seed)
    judged = problem.judged
    indices = [(rule.early_enough(rows, out), out[judged[out]]) for rows, out in indices]
    usable = [pair for pair in indices if _is_usable(problem, pair)]
    if rule.named and len(usable) < len(indices):
        raise _unusable(problem, indices)
    if len(usable) < 2:
        raise InputError(
            f"only {len(usable)} of {len(indices)} cross-validation folds hold {_needed(problem)}",
            where=f"target {problem.target!r}",
            remedy="Bring more rows of the rarest class, or split by another method.",
        )
    if len(usable) < len(indices):
        left_out = len(indices) - len(usable)
        notes = (*notes, f"{left_out} fold(s) without {_needed(problem)} were left out.")
    return tuple(_prepare(problem, pair) for pair in usable), (*notes, *rule.notes)


def _indices(problem: Problem, *, folds: int, seed: int) -> tuple[list[Indices], tuple[str, ...]]:
    if problem.fold_rule.kind == "time":
        return _by_time(problem, folds)
    if problem.fold_rule.kind == "group":
        return _by_group(problem, folds, seed)
    return _by_chance(problem, folds, seed)


def _by_chance(problem: Problem, folds: int, seed: int) -> tuple[list[Indices], tuple[str, ...]]:
    import numpy as np
    from sklearn.model_selection import KFold, StratifiedKFold

    first, unit = _units(problem)
    rows = np.zeros((len(first), 1))
    if problem.fold_rule.kind == "random":
        count, notes = _fewer(problem, folds, len(first) // 2, "there are only {} pairs of rows")
        pairs = KFold(count, shuffle=True, random_state=seed).split(rows)
    else:
        label, rarest = _rarest(problem.y[first])
        if rarest < 2:
            raise InputError(
                f"the class {label!r} has only {rarest} row in the training part, "
                "cross-validation needs 2 at least",
                where=f"target {problem.target!r}",
                remedy="Bring more rows of this class, merge it with another, or leave it out.",
            )
        few = f"the class {label!r} has only {{}} rows"
        count, notes = _fewer(problem, folds, rarest, few)
        by_class = StratifiedKFold(count, shuffle=True, random_state=seed)
        pairs = by_class.split(rows, problem.y[first])
    return [_whole(unit, held) for _, held in pairs], notes


def _units(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each set of rows that must stay together, and each row's set."""
    import numpy as np

    if problem.repeats is None:
        return np.arange(len(problem.y)), np.arange(len(problem.y))
    _, first, unit = np.unique(problem.repeats.units, return_index=True, return_inverse=True)
    # In the order of the rows, as if there were no copies.
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[unit]


def _whole(unit: np.ndarray, held: np.ndarray) -> Indices:
    """Return the rows to fit on and those held out, from the sets that are held out."""
    import numpy as np

    out = np.isin(unit, held)
    return np.flatnonzero(~out), np.flatnonzero(out)


def _by_group(problem: Problem, folds: int, seed: int) -> tuple[list[Indices], tuple[str, ...]]:
    import numpy as np
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    groups = problem.fold_rule.values
    assert groups is not None
    distinct = len(np.unique(groups))
    limit = distinct
    if problem.task != "regression":
        # A class found in one group alone can be learned or tested, never both.
        limit = min(distinct, _rarest(problem.y)[1])
    if limit < 2:
        raise InputError(
            f"{distinct} group(s) cannot be cut into two folds with every class",
            where=f"column {problem.fold_rule.column!r}",
            remedy="Split by another column, or bring more groups.",
        )
    count, notes = _fewer(problem, folds, limit, "the groups and classes allow only {} folds")
    rows = np.zeros((len(problem.y), 1))
    if problem.task == "regression":
        splitter = GroupKFold(count, shuffle=True, random_state=seed)
    else:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    return list(splitter.split(rows, problem.y, groups)), (*notes, "Folds keep groups whole.")


def _by_time(problem: Problem, folds: int) -> tuple[list[Indices], tuple[str, ...]]:
    """Cut the rows, ordered by time, into folds + 1 blocks; rows of one time share a block."""
    import numpy as np

    times = problem.fold_rule.values
    assert times is not None
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    starts = [len(order) * part // (folds + 1) for part in range(1, folds + 1)]
    cuts = sorted({int(np.searchsorted(ordered, ordered[at])) for at in starts} - {0})
    if len(cuts) < 2:
        raise InputError(
            f"its {len(np.unique(ordered)):,} time(s) cannot be cut into two folds, each later "
            "than the rows it is fitted on",
            where=f"column {problem.fold_rule.column!r}",
            remedy="Split or cut folds by another column, or bring rows of more times.",
        )
    ends = [*cuts[1:], len(order)]
    pairs = [(order[:cut], order[cut:end]) for cut, end in zip(cuts, ends, strict=True)]
    _, notes = _fewer(problem, folds, len(pairs), "the times allow only {} folds")
    return pairs, (*notes, "Every fold is scored on rows later than those it was fitted on.")


def _fewer(
    problem: Problem, requested: int, possible: int, because: str
) -> tuple[int, tuple[str, ...]]:
    if possible >= requested:
        return requested, ()
    reason = because.format(possible)
    if problem.fold_rule.named:
        raise InputError(
            f"{requested} folds by kind {problem.fold_rule.kind} are asked for, but {reason}",
            where=WHERE,
            remedy="Make training.folds.number smaller, or bring more rows.",
        )
    return possible, (f"{possible} folds instead of {requested}: {reason}.",)


def _rarest(y: np.ndarray) -> tuple[object, int]:
    import numpy as np

    labels, rows = np.unique(y, return_counts=True)
    return labels[rows.argmin()].item(), int(rows.min())


def _needed(problem: Problem) -> str:
    """Return what a fold needs, in words."""
    needed = "two rows" if problem.task == "regression" else "every class"
    return needed if problem.weights is None else f"{needed} with a weight above 0"


def _is_usable(problem: Problem, pair: Indices) -> bool:
    import numpy as np

    rows, rows_out = pair
    if problem.weights is not None:
        # Rows of weight 0 teach nothing: a class of which a fold has no other is not learned there.
        rows = rows[problem.weights[rows] > 0]
    if problem.task == "regression":
        return len(rows) >= 2 and len(rows_out) >= 2
    learned = len(np.unique(problem.y[rows]))
    scored = len(np.unique(problem.y[rows_out]))
    # Which classes are held out matters for two classes only: most metrics need both.
    return learned == len(problem.classes) and scored >= min(2, len(problem.classes))


def _unusable(problem: Problem, indices: Sequence[Indices]) -> InputError:
    """Return what is missing in the first fold that cannot be used."""
    import numpy as np

    at, (rows, out) = next(
        (at, pair) for at, pair in enumerate(indices, 1) if not _is_usable(problem, pair)
    )
    rule = problem.fold_rule
    gap = f" (the gap of {rule.gap_text} leaves it {len(rows):,} rows)" if rule.gap else ""
    if problem.task == "regression":
        says = f"{len(rows):,} rows to fit on and {len(out):,} to score, 2 of each are needed"
    else:
        learned = rows if problem.weights is None else rows[problem.weights[rows] > 0]
        lacking = sorted(set(problem.y.tolist()) - set(np.unique(problem.y[learned]).tolist()))
        says = "rows of one class alone to be scored on"
        if lacking:
            weighed = "" if problem.weights is None else " of a weight above 0"
            says = f"no row{weighed} of the class {lacking[0]!r} to be fitted on"
    return InputError(
        f"fold {at} of {len(indices)} by kind {rule.kind} has {says}{gap}",
        where=WHERE,
        remedy="Use fewer folds, a smaller gap or another kind, or bring more rows.",
    )


def _prepare(problem: Problem, pair: Indices) -> Fold:
    rows, rows_out = pair
    return Fold(problem, problem.columns.learn(rows), rows, rows_out)
