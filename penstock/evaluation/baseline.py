"""The baseline of a candidate: how it scores the holdout, as counts that later windows are held to.

Imported only while evaluating.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.data.groups import group_codes, group_column, levels_of_code, name_of
from penstock.data.table import iter_columns
from penstock.gate.holdout import CANDIDATE, Holdout
from penstock.gate.policy import Policy
from penstock.gate.rules.fairness.spec import FairnessSpec
from penstock.metrics.losses import losses_by_name
from penstock.records.baseline import (
    Baseline,
    ErrorBins,
    Group,
    GroupColumn,
    Groups,
    LossFigure,
    ScoreBins,
)
from penstock.records.model import Model

Floats = NDArray[np.float64]

MOST_BINS = 50
ROWS_A_BIN = 50
"""About how many rows a bin is to hold. Of so few the share of hits has a standard error of 0.07 at
most, and over all bins these cancel."""

HITS_A_BIN = 10
"""Of the rarer outcome: where it lies, bins are finer, or a rare class would fall into one bin."""

GROUP_BINS = 10
MOST_GROUPS = 50
MOST_CLASSES = 50
"""Classes up to which the confusion is kept."""


@dataclass(frozen=True)
class _Scored:
    """Rows with their truth, as the holdout has them, and what the candidate says of them.

    Args:
        record: The candidate's.
        truth: Shape (n,).
        scores: Shape (n,) or (n, classes).
        predicted: Codes, of a regression values, shape (n,).
        losses: Of each row by name, shape (n,) each.
    """

    record: Model
    truth: NDArray[np.generic]
    scores: Floats
    predicted: NDArray[np.generic]
    losses: Mapping[str, Floats]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each row is predicted right."""
        return np.asarray(self.predicted == self.truth)

    def of(self, member: NDArray[np.bool_]) -> _Scored:
        """Return some of the rows."""
        return _Scored(
            record=self.record,
            truth=self.truth[member],
            scores=self.scores[member],
            predicted=self.predicted[member],
            losses={name: values[member] for name, values in self.losses.items()},
        )

    def figures(self) -> dict[str, LossFigure]:
        """Return mean and deviation of each loss."""
        return {
            name: LossFigure(mean=float(values.mean()), deviation=float(values.std()))
            for name, values in self.losses.items()
        }


def baseline_of(holdout: Holdout, policy: Policy) -> Baseline:
    """Return how the candidate scores the holdout.

    Args:
        holdout: The rows and what the models say of them.
        policy: Its rules on fairness name the groups.
    """
    record = holdout.record
    truth, scores = holdout.truth, holdout.scores[CANDIDATE]
    predicted = holdout.predicted(CANDIDATE)
    scored = _Scored(
        record, truth, scores, predicted, losses_by_name(record.task, truth, scores, predicted)
    )
    made = list(_groups(holdout, policy, scored))
    return Baseline(
        task=record.task,
        target=record.target,
        metric=record.metric,
        model=holdout.models[CANDIDATE].digest,
        dataset=holdout.dataset.content,
        rows=holdout.rows,
        classes=_classes(record),
        threshold=record.threshold,
        losses=scored.figures(),
        fairness=tuple(groups for groups, _ in made),
        notes=tuple(note for _, notes in made for note in notes),
        **_counts(scored),
    )


def _classes(record: Model) -> tuple[bool | int | str, ...]:
    if record.task != "binary":
        return record.classes
    return tuple(sorted(record.classes, key=lambda label: label == record.positive))


def _counts(of: _Scored) -> dict[str, Any]:
    """Return the fields of a baseline that count rows by score."""
    if of.record.task == "regression":
        edges = _edges(of.scores, None, None)
        bins = score_bins(of.scores, None, edges)
        return {"scores": (bins,), "errors": _error_bins(of.scores, of.losses, edges)}
    confusion = _confusion(of)
    if of.record.task == "binary":
        hits = of.truth == 1
        edges = _edges(of.scores, hits, of.record.threshold)
        return {"confusion": confusion, "scores": (score_bins(of.scores, hits, edges),)}
    surest = of.scores.max(axis=1)
    columns = ((of.scores[:, code], of.truth == code) for code in range(of.scores.shape[1]))
    return {
        "confusion": confusion,
        "scores": tuple(score_bins(s, hits, _edges(s, hits, None)) for s, hits in columns),
        "predicted": score_bins(surest, of.right, _edges(surest, of.right, None)),
    }


def _edges(
    scores: Floats, hits: NDArray[np.bool_] | None, threshold: float | None, most: int = MOST_BINS
) -> Floats:
    """Return rising edges of bins, the last the maximum.

    Bins hold about equally many rows; where the rarer outcome lies they are finer. Rows on the two
    sides of the threshold never share one.
    """
    cuts = [_quantiles(scores, min(most, max(1, len(scores) // ROWS_A_BIN)))]
    if hits is not None:
        rarer = scores[hits if 2 * hits.sum() < len(hits) else ~hits]
        cuts.append(_quantiles(rarer, min(most // 2, len(rarer) // HITS_A_BIN)))
    edges = np.unique(np.concatenate([*cuts, [scores.max()]]))
    if threshold is not None and scores.min() < threshold <= scores.max():
        # A score at the threshold is predicted positive: the edge is the number just below it.
        edges = np.unique(np.append(edges, np.nextafter(threshold, -np.inf)))
    return np.asarray(edges)


def _quantiles(values: Floats, parts: int) -> Floats:
    if parts < 1 or not len(values):
        return np.empty(0)
    at = np.linspace(0, 1, parts + 1)[1:]
    return np.asarray(np.quantile(values, at, method="higher"))


def score_bins(scores: Floats, hits: NDArray[np.bool_] | None, edges: Floats) -> ScoreBins:
    """Return the counts of rows in bins; those without any row are joined with the next.

    Args:
        scores: Shape (n,).
        hits: Whether what was scored was true, shape (n,); None: a regression.
        edges: Rising, shape (k,), the last at or above every score.
    """
    places = np.searchsorted(edges, scores, side="left")
    rows = np.bincount(places, minlength=len(edges))
    kept = rows > 0
    return ScoreBins(
        edges=tuple(edges[kept].tolist()),
        rows=tuple(rows[kept].tolist()),
        sums=_sums(places, scores, kept),
        hits=() if hits is None else tuple(map(int, _sums(places, hits, kept))),
    )


def _sums(
    places: NDArray[np.int64], values: NDArray[np.generic], kept: NDArray[np.bool_]
) -> tuple[float, ...]:
    found = np.bincount(places, weights=values.astype(np.float64), minlength=len(kept))
    return tuple(found[kept].tolist())


def _error_bins(scores: Floats, losses: Mapping[str, Floats], edges: Floats) -> ErrorBins:
    places = np.searchsorted(edges, scores, side="left")
    kept = np.bincount(places, minlength=len(edges)) > 0
    squared = losses["squared_error"]
    return ErrorBins(
        absolute=_sums(places, losses["absolute_error"], kept),
        squared=_sums(places, squared, kept),
        fourth=_sums(places, squared**2, kept),
    )


def _confusion(of: _Scored) -> tuple[tuple[int, ...], ...]:
    from penstock.metrics.curves import confusion

    classes = len(of.record.classes)
    if classes > MOST_CLASSES:
        return ()
    truth, predicted = of.truth.astype(np.int64), of.predicted.astype(np.int64)
    return tuple(map(tuple, confusion(truth, predicted, classes=classes).tolist()))


def _groups(
    holdout: Holdout, policy: Policy, scored: _Scored
) -> Iterator[tuple[Groups, tuple[str, ...]]]:
    """Yield the groups of each rule on fairness, and what a reader should know of them."""
    from penstock.gate.rules.fairness import RULE

    done: set[tuple[str, ...]] = set()
    for settings in RULE.settings(policy):
        if settings.columns not in done:
            done.add(settings.columns)
            yield _groups_of(holdout, settings, scored)


def _groups_of(
    holdout: Holdout, settings: FairnessSpec, scored: _Scored
) -> tuple[Groups, tuple[str, ...]]:
    read = dict(iter_columns(holdout.folder, settings.columns))
    table = {name: values.combine_chunks() for name, values in read.items()}
    columns = tuple(group_column(name, table[name]) for name in settings.columns)
    codes, places, rows = np.unique(
        group_codes(columns, table), return_inverse=True, return_counts=True
    )
    order = np.argsort(-rows, kind="stable").tolist()
    enough = [at for at in order if rows[at] >= settings.min_rows][:MOST_GROUPS]
    times = [c.name for c in holdout.dataset.columns if c.type == "datetime"]
    groups = tuple(
        _group(columns, int(codes[at]), scored.of(places == at), times=times) for at in enough
    )
    notes = list(_unseen_notes(settings.columns, holdout.record))
    if left_out := len(codes) - len(enough):
        notes.append(
            f"{left_out:,} groups by {', '.join(settings.columns)} are left out: they have fewer "
            f"than {settings.min_rows:,} rows, or {MOST_GROUPS} groups are larger."
        )
    return Groups(columns=columns, groups=groups), tuple(notes)


def _unseen_notes(columns: tuple[str, ...], record: Model) -> Iterator[str]:
    taken = {column.name for column in record.columns}
    for name in columns:
        if name not in taken:
            yield (
                f"The model does not take {name!r}, so requests do not have it: the gaps between "
                "its groups cannot be watched."
            )


def _group(columns: tuple[GroupColumn, ...], code: int, of: _Scored, *, times: list[str]) -> Group:
    task = of.record.task
    scores = of.scores.max(axis=1) if task == "multiclass" else of.scores
    hits = {"binary": of.truth == 1, "multiclass": of.right}.get(task)
    edges = _edges(scores, hits, of.record.threshold, GROUP_BINS)
    levels = levels_of_code(columns, code)
    return Group(
        name=name_of(columns, levels, times=times),
        levels=levels,
        rows=len(scores),
        scores=score_bins(scores, hits, edges),
        confusion=_confusion(of) if task == "binary" else (),
        losses=of.figures(),
    )
