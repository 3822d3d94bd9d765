"""What a look's rows say: counted in the reference's edges, and weighed against those before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from penstock.monitoring.estimates.performance import loss_of
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.signals import detector
from penstock.monitoring.signals.attribution import (
    STREAM,
    Attributed,
    attributed,
    attribution_signals,
    why_not,
)
from penstock.monitoring.signals.bias import Bias, GroupRows
from penstock.monitoring.signals.definitions import ROWS, Signal, Signals, bounded, signals_of
from penstock.monitoring.signals.distances import distances
from penstock.monitoring.signals.kpi import Kpi
from penstock.monitoring.signals.volume import volume_signals
from penstock.monitoring.signals.window import Blocks, Window, measure, measure_values
from penstock.monitoring.store.collect import Watched
from penstock.records.base import restored
from penstock.records.baseline import Baseline
from penstock.records.figures import AttributionShare, ColumnDistance, Detected, SignalFigure
from penstock.records.monitoring import Known
from penstock.records.reference import Reference, ReferenceColumn

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]

LABELS = "labels"
"""The stream of the signals that only labelled rows have."""

_YEAR = timedelta(days=365.25)
_SHOWN = 30
"""Signals of a window that are kept, besides those that an alarm named."""

_LOSS_CUT = 5.0
"""The loss of a regression has no bound: it is cut at this many times its mean on the holdout."""


@dataclass(frozen=True)
class Losses:
    """Losses of the rows whose labels came, in the order in which they were answered.

    Attributes:
        values: Of each row, not below 0, shape (n,).
        worth: Value of each decision, NaN where it has none, shape (n,); None: there is no KPI.
        times: When it was answered, in seconds since 1970, shape (n,).
    """

    values: Floats
    times: Floats
    worth: Floats | None = None


@dataclass(frozen=True)
class Weighed:
    """What the rows of a look show.

    Attributes:
        state: The detector's memory after them, JSON-ready.
        drift: What has been gathered.
        distances: How far each column lies from the reference.
        counts: By column, JSON-ready.
        attributions: Each column's share of all; empty: they are not watched.
        missing: What cannot be watched.
        notes: What is not watched on purpose.
    """

    state: dict[str, Any]
    drift: Detected
    distances: tuple[ColumnDistance, ...]
    counts: dict[str, Any]
    attributions: tuple[AttributionShare, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def weigh(
    table: pa.Table,
    losses: Losses | None,
    *,
    groups: Sequence[GroupRows],
    others: Sequence[Blocks],
    watched: Watched,
    reference: Reference,
    spec: MonitoringSpec,
    memory: dict[str, Any] | None,
    rearm: bool,
    named: Collection[str],
) -> Weighed:
    """Return what the rows of a look say, with those before.

    Args:
        table: The rows, as `read_window` returns them.
        losses: Of the rows whose labels came.
        groups: Rows whose groups are known.
        others: Blocks of other streams.
        watched: The model that answered.
        reference: Of the rows that it learned from.
        spec: The section `monitoring`.
        memory: What the detector kept of the look before; None: it begins.
        rearm: Whether what was gathered is forgotten first: an alarm is over.
        named: Signals that an alarm named.
    """
    baseline = watched.known.baseline if watched.known else None
    signals = signals_for(watched, reference, spec)
    state, notes = _memory(memory, signals, rearm=rearm)
    window = measure(
        table,
        signals=signals,
        reference=reference,
        scores=_scores_column(baseline),
        carry=state.carry(ROWS),
    )
    more = list(others)
    bias = Bias.of(baseline, inputs=signals.columns)
    if baseline is not None:
        for rows in groups:
            more += bias.blocks(rows, baseline=baseline, carry=state.carry)
    explained = _explained(table, watched, signals, spec)
    if isinstance(explained, Attributed):
        places = [one.place for one in signals.of(STREAM)]
        more.append(
            measure_values(
                explained.values[:, places],
                explained.times,
                signals=signals,
                stream=STREAM,
                carry=state.carry(STREAM),
            )
        )
    more = [one for one in more if one.stream in signals.streams]
    if losses is not None and baseline is not None:
        more.append(
            measure_values(
                _of_labels(losses, signals, watched.known, baseline),
                losses.times,
                signals=signals,
                stream=LABELS,
                carry=state.carry(LABELS),
            )
        )
    found = detector.update(
        state,
        window,
        signals=signals,
        more=more,
        bound=_YEAR / spec.false_alarms_per_year,
    )
    return Weighed(
        state=found.state.model_dump(mode="json"),
        drift=_detected(found, named=named),
        distances=_distances(window, reference, signals),
        counts=window.counts.model_dump(mode="json"),
        missing=_faults(window),
        attributions=explained.shares if isinstance(explained, Attributed) else (),
        notes=(*notes, *signals.limits, *bias.limits, *_said(explained)),
    )


def _attributions(watched: Watched, reference: Reference, spec: MonitoringSpec) -> list[Signal]:
    if not spec.attribution_rows or watched.known is None or watched.folder is None:
        return []
    return attribution_signals(
        watched.known.explanation,
        tolerance=spec.tolerances.attribution,
        without=[column.name for column in reference.columns if column.type == "datetime"],
    )


def _explained(
    table: pa.Table, watched: Watched, signals: Signals, spec: MonitoringSpec
) -> Attributed | str:
    """Return attributions of some rows of a window, or why there are none; empty: none is due."""
    if not spec.attribution_rows or watched.known is None:
        return ""
    if watched.folder is None:
        return "Attributions are not watched: on a cluster the monitor loads no model."
    explanation = watched.known.explanation
    if explanation is None or STREAM not in signals.streams:
        return why_not(explanation)
    return attributed(
        table,
        folder=watched.folder,
        explanation=explanation,
        rows=spec.attribution_rows,
    )


def _of_labels(losses: Losses, signals: Signals, known: Known | None, baseline: Baseline) -> Floats:
    """Return what each labelled row is to the signals of its stream, shape (n, signals)."""
    kpi, found = Kpi.of(known), []
    for one in signals.of(LABELS):
        if one.kind == "kpi":
            assert kpi is not None
            assert losses.worth is not None
            found.append(kpi.signal_values(losses.worth))
        else:
            found.append(np.clip(losses.values / _scale(baseline), 0.0, 1.0))
    return np.stack(found, axis=1) if found else np.empty((len(losses.times), 0))


def signals_for(watched: Watched, reference: Reference, spec: MonitoringSpec) -> Signals:
    """Return what is watched of a version, in fixed order."""
    baseline = watched.known.baseline if watched.known else None
    columns = [column.name for column in (watched.model or reference).columns]
    bias = Bias.of(baseline, inputs=columns)
    kpi = Kpi.of(watched.known)
    worth = kpi.signal(share=spec.performance.value) if kpi else None
    return signals_of(
        reference,
        columns=columns,
        scores=_scores_column(baseline),
        more=[
            *([_loss_signal(baseline, spec)] if baseline else ()),
            *([worth] if worth else ()),
            *bias.signals(tolerance=spec.gap),
            *volume_signals(spec.volume),
            *_attributions(watched, reference, spec),
        ],
        tolerances=spec.tolerances,
        together=spec.together,
    )


def _memory(
    memory: dict[str, Any] | None, signals: Signals, *, rearm: bool
) -> tuple[detector.State, list[str]]:
    if memory is None:
        return detector.start(signals), []
    state = restored(detector.State, memory, where="state.json: progress.detector")
    if state.signals != signals.digest:
        return detector.start(signals), [
            "The settings of the monitor or what is known of the version changed: what had been "
            "gathered does not fit them any more, and began anew."
        ]
    return (detector.rearm(state, signals) if rearm else state), []


def _loss_signal(baseline: Baseline, spec: MonitoringSpec) -> Signal:
    """Return the signal of the loss. Only more of it is a change: less does no harm."""
    name = loss_of(baseline)
    figure, scale = baseline.losses[name], _scale(baseline)
    found = bounded(
        f"loss: {name.replace('_', ' ')}",
        kind="loss",
        expected=figure.mean / scale,
        tolerance=spec.performance.loss * figure.mean / scale,
        error=figure.deviation / scale / max(1, baseline.rows) ** 0.5,
        rows=baseline.rows,
        stream=LABELS,
    )
    return replace(found, low=0.0)


def _scale(baseline: Baseline) -> float:
    """Return what a loss is divided by to lie from 0 to 1."""
    if baseline.task != "regression":
        return 1.0
    return _LOSS_CUT * baseline.losses[loss_of(baseline)].mean or 1.0


def _scores_column(baseline: Baseline | None) -> ReferenceColumn | None:
    """Return how the scores on the holdout are distributed: those that captures have as `score`."""
    if baseline is None:
        return None
    bins = baseline.predicted if baseline.task == "multiclass" else baseline.scores[0]
    if bins is None:
        return None
    return ReferenceColumn(name="score", type="number", nulls=0, edges=bins.edges, counts=bins.rows)


def _detected(found: detector.Update, *, named: Collection[str]) -> Detected:
    return Detected(
        log_evidence=found.log_evidence,
        threshold=found.threshold,
        signals=tuple(
            _figure(one, one.mean)
            for rank, one in enumerate(found.signals)
            if one.mean is not None and (rank < _SHOWN or one.signal.name in named)
        ),
        since=found.since,
    )


def _figure(found: detector.SignalEvidence, mean: float) -> SignalFigure:
    signal = found.signal
    # A gap was brought from -1 to 1 to where the detector takes it.
    stretch, shift = (2.0, 1.0) if signal.kind == "gap" else (1.0, 0.0)
    values = {
        "expected": signal.expected,
        "value": mean,
        "low": found.interval[0],
        "high": found.interval[1],
        "least": signal.low,
        "greatest": signal.high,
    }
    return SignalFigure(
        name=signal.name,
        kind=signal.kind,
        column=signal.column,
        tolerance=stretch * signal.tolerance,
        log_evidence=found.log_evidence,
        since=found.since,
        **{name: stretch * value - shift for name, value in values.items()},
    )


def _distances(
    window: Window, reference: Reference, signals: Signals
) -> tuple[ColumnDistance, ...]:
    if not window.rows:
        return ()
    fields = ColumnDistance.model_fields
    return tuple(
        ColumnDistance(**{name: getattr(one, name) for name in fields})
        for one in distances(window.counts, reference)
        if one.column in signals.columns
    )


def _said(explained: Attributed | str) -> list[str]:
    return [explained] if isinstance(explained, str) and explained else []


def _faults(window: Window) -> tuple[str, ...]:
    if not window.rows:
        return ()
    return tuple(
        f"A column cannot be watched: {fault.message}"
        for fault in window.faults
        if fault.kind != "new"
    )
