"""Performance in the window of a look: estimated at once, and measured as labels come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from penstock.errors import PenstockError
from penstock.monitoring.estimates.concept import Concept, learn
from penstock.monitoring.estimates.estimates import Estimated, NotEstimated, Realized
from penstock.monitoring.estimates.performance import estimate, loss_of, realized
from penstock.monitoring.evidence import Losses
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.signals.bias import Bias, GroupRows
from penstock.monitoring.signals.kpi import Kpi, window_value
from penstock.monitoring.signals.window import INPUTS
from penstock.monitoring.store.answered import Answered, keys_of
from penstock.records.base import restored
from penstock.records.baseline import Baseline, GroupColumn
from penstock.records.estimate import Estimate
from penstock.records.figures import DueLabels, Performance
from penstock.records.monitoring import Known
from penstock.reports.words import percent

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WindowPerformance:
    """What was found.

    Attributes:
        performance: The figures.
        kpi: What decisions are worth; None: the policy does not say.
        losses: Of the rows whose labels came; None: none did.
        groups: Rows whose groups are known: of the window, and those whose labels came.
        concept: What labels have taught of the estimates, JSON-ready.
        notes: What a reader should know.
        missing: What cannot be watched.
    """

    performance: Performance
    kpi: Performance | None
    losses: Losses | None
    groups: tuple[GroupRows, ...]
    concept: dict[str, Any]
    notes: tuple[str, ...]
    missing: tuple[str, ...] = ()


def window_performance(
    table: pa.Table,
    labels: pa.Table,
    *,
    known: Known,
    spec: MonitoringSpec,
    answered: Answered,
    number: int,
    now: datetime,
    taught: dict[str, Any] | None,
) -> WindowPerformance:
    """Return the performance in the window of a look.

    Args:
        table: Its rows, as `read_window` returns them.
        labels: The labels that came, as `read_labels` returns them.
        known: The version on the holdout.
        spec: The section `monitoring`.
        answered: Scores of earlier rows, to which those of this look are added.
        number: Of the look.
        now: Its time.
        taught: What labels had taught before.
    """
    baseline, metric = known.baseline, spec.performance.metric or known.baseline.metric
    concept = restored(Concept, taught or {}, where="state.json: progress.concept")
    rows, scores = _scored(table, baseline)
    bias = Bias.of(baseline, inputs=inputs_of(table))
    codes, times = bias.codes(rows), times_of_rows(rows)
    answered.keep(number, keys=keys_of(rows), scores=scores, times=times, codes=codes)
    guess = _estimate(scores, baseline, metric, concept)
    kpi = Kpi.of(known)
    found, losses, notes = _labelled(
        labels, baseline, metric, answered, kpi, number=number, columns=bias.columns
    )
    if found is not None and losses is not None:
        again = _estimate(found.scores, baseline, metric, concept, to_compare=True)
        if isinstance(again, Estimated) and isinstance(found.measured, Realized):
            concept = learn(concept, metric=metric, estimated=again, realized=found.measured)
    measured = found.measured if found else None
    if isinstance(measured, NotEstimated):
        notes.append(measured.reason)
    reference = known.metrics.get(metric)
    due, missing = _due(answered, now=now, spec=spec)
    missing += _unscored(table.num_rows - rows.num_rows, of=table.num_rows, spec=spec)
    performance = Performance(
        metric=metric,
        higher_is_better=known.higher_is_better.get(metric, True),
        reference=reference,
        tolerance=spec.performance.tolerance * abs(reference.value) if reference else 0.0,
        estimated=_figure(guess) if isinstance(guess, Estimated) else None,
        method=guess.method if isinstance(guess, Estimated) else "",
        not_estimated=guess.reason if isinstance(guess, NotEstimated) else "",
        realized=_figure(measured) if isinstance(measured, Realized) else None,
        labels=len(found.scores) if found else 0,
        due=due,
        withdrawn=concept.of(metric).withdrawn,
    )
    if isinstance(guess, Estimated) and guess.note:
        notes.append(guess.note)
    value = None
    if kpi is not None:
        notes += kpi.limits
        value, concept = window_value(
            kpi,
            rows,
            scores,
            labelled=(found.scores, found.worth) if found and found.worth is not None else None,
            concept=concept,
            share=spec.performance.value,
        )
    groups = [GroupRows(scores, bias.columns, codes, times)]
    groups += [found.groups] if found else []
    return WindowPerformance(
        performance=performance,
        kpi=value,
        losses=losses,
        groups=tuple(groups) if bias.streams else (),
        concept=concept.model_dump(mode="json"),
        notes=tuple(notes),
        missing=missing,
    )


def _due(
    answered: Answered, *, now: datetime, spec: MonitoringSpec
) -> tuple[DueLabels | None, tuple[str, ...]]:
    """Return how many of the rows whose labels were due last have them, and what hides that."""
    within = timedelta(hours=spec.performance.labels_within)
    if not within:
        return None, ()
    until, since = now - within, now - 2 * within
    rows, known, oldest = answered.labelled(since=since.timestamp(), until=until.timestamp())
    full = answered.rows >= spec.performance.remember
    if not rows and full and oldest is not None and oldest >= until.timestamp():
        return None, (
            "Rows are forgotten before their labels are due: let monitoring.performance.remember "
            "be larger.",
        )
    return DueLabels(since=since, until=until, rows=rows, labelled=known), ()


def _unscored(gone: int, *, of: int, spec: MonitoringSpec) -> tuple[str, ...]:
    """Return that too many rows have no score that is a number, in a sentence."""
    if gone <= spec.lost * of:
        return ()
    return (
        f"{gone:,} of {of:,} rows have no score that is a number; {percent(spec.lost)} may have "
        "none. What the model answers to them is not watched.",
    )


def times_of_rows(table: pa.Table) -> Floats:
    """Return when rows were answered, in seconds since 1970."""
    times = table.column("time").to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
    return np.asarray(times, dtype=np.float64)


def inputs_of(table: pa.Table) -> list[str]:
    """Return the inputs that captured rows have."""
    return [name.removeprefix(INPUTS) for name in table.column_names if name.startswith(INPUTS)]


@dataclass(frozen=True)
class _Found:
    """Labels that found their rows."""

    scores: Floats
    measured: Realized | NotEstimated
    worth: Floats | None
    groups: GroupRows


def _labelled(
    labels: pa.Table,
    baseline: Baseline,
    metric: str,
    answered: Answered,
    kpi: Kpi | None,
    *,
    number: int,
    columns: tuple[tuple[GroupColumn, ...], ...],
) -> tuple[_Found | None, Losses | None, list[str]]:
    import pyarrow.compute as pc

    notes: list[str] = []
    labels = labels.filter(pc.is_valid(labels.column("label")))
    if not labels.num_rows:
        return None, None, notes
    joined = answered.join(number, keys_of(labels), groups=len(columns))
    strays = labels.num_rows - len(joined.places) - joined.repeated
    if strays:
        notes.append(
            f"{strays:,} of {labels.num_rows:,} labels are of rows that are not known: of another "
            "version, or too old."
        )
    if joined.repeated:
        notes.append(f"{joined.repeated:,} labels are of rows that had theirs; they do not count.")
    if not len(joined.places):
        return None, None, notes
    kept = labels.take(joined.places)
    truths = kept.column("label").to_pylist()
    try:
        measured = realized(joined.scores, truths, baseline=baseline, metric=metric)
    except PenstockError as error:
        return None, None, [*notes, f"The labels cannot be used: {error}"]
    answered.note(number, joined)
    worth = kpi.of_labelled(joined.scores, truths) if kpi else None
    losses = None
    # Labels of many hours may come at once, and in any order: their rows' times define blocks.
    order = np.argsort(joined.times, kind="stable")
    by_group = GroupRows(
        joined.scores[order],
        columns,
        joined.codes[order],
        joined.times[order],
        [truths[at] for at in order.tolist()],
    )
    if isinstance(measured, Realized):
        losses = Losses(
            measured.losses[loss_of(baseline)][order],
            joined.times[order],
            None if worth is None else worth[order],
        )
    return _Found(joined.scores, measured, worth, by_group), losses, notes


def _scored(table: pa.Table, baseline: Baseline) -> tuple[pa.Table, Floats]:
    """Return the rows whose score, or each of whose scores, is a number; and the scores."""
    if baseline.task != "multiclass":
        scores = table.column("score").to_numpy().astype(np.float64)
        there = np.isfinite(scores)
        return table.filter(there), scores[there]
    classes = len(baseline.classes)
    given = table.column("scores").to_pylist()
    there = np.array([one is not None and len(one) == classes for one in given], dtype=bool)
    kept = [one for one, good in zip(given, there, strict=True) if good]
    vectors = np.array(kept, dtype=np.float64).reshape(-1, classes)
    finite = np.isfinite(vectors).all(axis=1)
    there[there] = finite
    return table.filter(there), vectors[finite]


def _estimate(
    scores: Floats,
    baseline: Baseline,
    metric: str,
    concept: Concept,
    *,
    to_compare: bool = False,
) -> Estimated | NotEstimated:
    try:
        return estimate(
            scores,
            baseline=baseline,
            metric=metric,
            concept=concept,
            to_compare=to_compare,
        )
    except PenstockError as error:
        return NotEstimated(str(error))


def _figure(found: Estimated | Realized) -> Estimate:
    return Estimate(value=found.value, low=found.low, high=found.high)
