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
from penstock.metrics.score_bins import error_bins, score_bins, score_edges
from penstock.records.baseline import (
    Baseline,
    Group,
    GroupColumn,
    Groups,
    LossFigure,
)
from penstock.records.model import Model

Floats = NDArray[np.float64]

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
        metric=_watched(record),
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


def _watched(record: Model) -> str:
    """Return the metric that the monitor watches by default: one of the project's own it lacks."""
    if record.code is None or record.code.metric is None:
        return record.metric
    return {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}[record.task]


def _classes(record: Model) -> tuple[bool | int | str, ...]:
    if record.task != "binary":
        return record.classes
    return tuple(sorted(record.classes, key=lambda label: label == record.positive))


def _counts(of: _Scored) -> dict[str, Any]:
    """Return the fields of a baseline that count rows by score."""
    if of.record.task == "regression":
        edges = score_edges(of.scores, None)
        bins = score_bins(of.scores, None, edges)
        return {
            "scores": (bins,),
            "errors": error_bins(of.scores, of.losses["absolute_error"], edges),
        }
    confusion = _confusion(of)
    if of.record.task == "binary":
        hits = of.truth == 1
        edges = score_edges(of.scores, hits, threshold=of.record.threshold)
        return {"confusion": confusion, "scores": (score_bins(of.scores, hits, edges),)}
    surest = of.scores.max(axis=1)
    columns = ((of.scores[:, code], of.truth == code) for code in range(of.scores.shape[1]))
    return {
        "confusion": confusion,
        "scores": tuple(score_bins(s, hits, score_edges(s, hits)) for s, hits in columns),
        "predicted": score_bins(surest, of.right, score_edges(surest, of.right)),
    }


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
    edges = score_edges(scores, hits, threshold=of.record.threshold, most=GROUP_BINS)
    levels = levels_of_code(columns, code)
    return Group(
        name=name_of(columns, levels, times=times),
        levels=levels,
        rows=len(scores),
        scores=score_bins(scores, hits, edges),
        confusion=_confusion(of) if task == "binary" else (),
        losses=of.figures(),
    )
