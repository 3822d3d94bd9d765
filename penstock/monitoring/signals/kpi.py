"""What decisions are worth, by the cost that the version's policy names: the business KPI.

Where the value of a decision follows from the true and the predicted class alone, it is a signal:
each labelled row has a value between the least and the greatest that there are. Its mean on the
holdout follows from the baseline's confusion. Without labels the mean is expected by the calibrated
scores, as metrics are (`penstock.monitoring.estimates.performance`), also where it depends on
columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from penstock.errors import InputError
from penstock.metrics.business_value import PER, DecisionValue, values_of
from penstock.monitoring.estimates.concept import Concept, learn
from penstock.monitoring.estimates.estimates import (
    BEYOND,
    Estimated,
    NotEstimated,
    Realized,
    is_number,
)
from penstock.monitoring.estimates.estimators import expected_value, predicted
from penstock.monitoring.estimates.performance import LEAST_ROWS, predictions_of
from penstock.monitoring.signals.definitions import Signal, bounded
from penstock.monitoring.signals.window import INPUTS
from penstock.records.baseline import Baseline
from penstock.records.estimate import Estimate
from penstock.records.figures import Performance
from penstock.records.monitoring import Known

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]

STREAM = "labels"
"""The stream of its signal: that of the loss, which has the same rows."""

CONCEPT = "value"
"""What labels teach about its estimate is kept under this name."""

_NORMAL = 1.96


@dataclass(frozen=True)
class Kpi:
    """The value of decisions.

    Attributes:
        value: How that of a row is computed.
        baseline: Of the version.
        table: Value by true and by predicted class, shape (classes, classes); None: it depends on
            columns too.
        reference: Of 1,000 decisions on the holdout; None: it is not known.
        limits: What of it is not watched, and why.
    """

    value: DecisionValue
    baseline: Baseline
    table: Floats | None
    reference: Estimate | None
    limits: tuple[str, ...] = ()

    @classmethod
    def of(cls, known: Known | None) -> Kpi | None:
        """Return the KPI of a version; None where its policy has none, or it cannot be watched."""
        if known is None or known.cost is None or known.baseline.task == "regression":
            return None
        baseline, value = known.baseline, DecisionValue.model_validate(known.cost)
        if value.names():
            why = (
                "The value of decisions depends on columns, whose values are not kept until labels "
                "come: it is estimated, and no alarm rests on it."
            )
            return cls(value, baseline, None, known.value, (why,))
        table = _table(value, baseline)
        if not baseline.confusion or table.max() == table.min():
            return None
        mean, deviation = _moments(table, baseline)
        half = _NORMAL * deviation / max(1, baseline.rows) ** 0.5
        ends = {"value": mean, "low": mean - half, "high": mean + half}
        reference = Estimate(**{name: PER * end for name, end in ends.items()})
        return cls(value, baseline, table, reference)

    @property
    def name(self) -> str:
        """What it is called: with its unit, for example `value of 1,000 decisions (EUR)`."""
        unit = f" ({self.value.unit})" if self.value.unit else ""
        return f"value of {PER:,} decisions{unit}"

    def tolerance(self, share: float) -> float:
        """Return how much less 1,000 decisions may be worth: a share of what they amount to."""
        if self.table is not None:
            size, _ = _moments(np.abs(self.table), self.baseline)
            return PER * share * size
        return share * abs(self.reference.value) if self.reference else 0.0

    def signal(self, *, share: float) -> Signal | None:
        """Return its signal, brought to 0 to 1; None where there is none. Only less is a change."""
        if self.table is None:
            return None
        width = float(self.table.max() - self.table.min())
        mean, deviation = _moments(self.table, self.baseline)
        found = bounded(
            "the value of decisions",
            kind="kpi",
            expected=(mean - float(self.table.min())) / width,
            tolerance=self.tolerance(share) / PER / width,
            error=deviation / width / max(1, self.baseline.rows) ** 0.5,
            rows=self.baseline.rows,
            stream=STREAM,
        )
        return replace(found, high=1.0)

    def of_labelled(self, scores: Floats, labels: Sequence[Any]) -> Floats | None:
        """Return the value of each labelled row, NaN of a class that the model does not know."""
        if self.table is None:
            return None
        seen = predictions_of(scores, labels, baseline=self.baseline)
        padded = np.append(self.table, np.full((1, len(self.table)), np.nan), axis=0)
        return np.asarray(padded[seen.truth, seen.predicted], dtype=np.float64)

    def signal_values(self, worth: Floats) -> Floats:
        """Return values of rows from 0 to 1; one that is not known says nothing."""
        assert self.table is not None
        low, high = float(self.table.min()), float(self.table.max())
        mean, _ = _moments(self.table, self.baseline)
        filled = np.where(np.isfinite(worth), worth, mean)
        return np.clip((filled - low) / (high - low), 0.0, 1.0)

    def estimate(
        self, scores: Floats, rows: pa.Table, concept: Concept, *, to_compare: bool = False
    ) -> Estimated | NotEstimated:
        """Return what 1,000 decisions are expected to be worth, without labels.

        Args:
            scores: Of the rows.
            rows: With their inputs, as `read_window` returns them.
            concept: What labels have taught.
            to_compare: Also where labels have contradicted it.
        """
        learned = concept.of(CONCEPT)
        if learned.withdrawn and not to_compare:
            return NotEstimated("Labels disagree with its estimate more often than chance explains")
        if len(scores) < LEAST_ROWS:
            return NotEstimated(f"{len(scores):,} rows are too few; {LEAST_ROWS} are needed")
        try:
            worth = self._by_class(scores, rows)
        except InputError as error:
            return NotEstimated(str(error))
        there = np.isfinite(worth).all(axis=1)
        if there.sum() < LEAST_ROWS:
            return NotEstimated(
                f"{there.sum():,} rows whose value is known are too few; {LEAST_ROWS} are needed"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            found = expected_value(scores[there], self.baseline, worth[there])
            half = learned.reach * float(np.sqrt(found.variance + learned.variance / PER**2))
        estimated = Estimated(
            value=PER * found.value,
            low=PER * (found.value - half),
            high=PER * (found.value + half),
            method=found.method,
            note="",
            error=PER * float(np.sqrt(found.variance)),
            rows=int(there.sum()),
        )
        return estimated if is_number(estimated) else BEYOND

    def _by_class(self, scores: Floats, rows: pa.Table) -> Floats:
        """Return what each row's decision is worth if the true class is each: (n, classes)."""
        given = predicted(scores, baseline=self.baseline)
        if self.table is not None:
            return self.table[:, given].T
        columns = {name: _array(rows, name) for name in self.value.names()}
        classes = np.array(self.baseline.classes)
        return np.stack(
            [
                _values(self.value, self.baseline, np.full(len(given), code), given, columns)
                for code in range(len(classes))
            ],
            axis=1,
        )


def window_value(
    kpi: Kpi,
    rows: pa.Table,
    scores: Floats,
    *,
    labelled: tuple[Floats, Floats] | None,
    concept: Concept,
    share: float,
) -> tuple[Performance, Concept]:
    """Return the KPI in a window, and the concept with what its labels teach.

    Args:
        kpi: The KPI.
        rows: Of the window.
        scores: Theirs.
        labelled: Scores and values of the rows whose labels came; None: none did.
        concept: What labels had taught.
        share: The setting `monitoring.performance.value`.
    """
    guess = kpi.estimate(scores, rows, concept)
    realized = None
    if labelled is not None:
        known = np.isfinite(labelled[1])
        realized = _realized(labelled[1][known])
        if realized is not None:
            again = kpi.estimate(labelled[0][known], rows, concept, to_compare=True)
            if isinstance(again, Estimated):
                concept = learn(concept, metric=CONCEPT, estimated=again, realized=realized)
    return (
        Performance(
            metric=kpi.name,
            higher_is_better=True,
            reference=kpi.reference,
            tolerance=kpi.tolerance(share),
            estimated=_figure(guess) if isinstance(guess, Estimated) else None,
            method=guess.method if isinstance(guess, Estimated) else "",
            not_estimated=guess.reason if isinstance(guess, NotEstimated) else "",
            realized=_figure(realized) if realized else None,
            labels=realized.rows if realized else 0,
            withdrawn=concept.of(CONCEPT).withdrawn,
        ),
        concept,
    )


def _realized(worth: Floats) -> Realized | None:
    if len(worth) < LEAST_ROWS:
        return None
    mean, half = float(worth.mean()), _NORMAL * float(worth.std(ddof=1)) / len(worth) ** 0.5
    made = Realized(PER * mean, PER * (mean - half), PER * (mean + half), len(worth), {})
    return made if is_number(made) else None


def _figure(found: Estimated | Realized) -> Estimate:
    return Estimate(value=found.value, low=found.low, high=found.high)


def _table(value: DecisionValue, baseline: Baseline) -> Floats:
    size = len(baseline.classes)
    truth, given = (grid.ravel() for grid in np.indices((size, size)))
    return _values(value, baseline, truth, given, {}).reshape(size, size)


def _values(
    value: DecisionValue,
    baseline: Baseline,
    truth: NDArray[np.int64],
    given: NDArray[np.int64],
    columns: dict[str, NDArray[Any]],
) -> Floats:
    classes = np.array(baseline.classes)
    return np.asarray(
        values_of(
            value,
            task=baseline.task,
            columns=columns,
            truth=classes[truth],
            predicted=classes[given],
            # Of two classes the positive one is last.
            positive=baseline.classes[-1],
            negative=baseline.classes[0],
        ),
        dtype=np.float64,
    )


def _moments(table: Floats, baseline: Baseline) -> tuple[float, float]:
    """Return mean and standard deviation over the holdout's rows of known classes."""
    rows = np.array(baseline.confusion[:-1], dtype=np.float64)
    mean = float((rows * table).sum() / rows.sum())
    return mean, float(np.sqrt((rows * (table - mean) ** 2).sum() / rows.sum()))


def _array(rows: pa.Table, name: str) -> NDArray[Any]:
    """Return a column as an expression takes it: numbers, NaN for missing; or texts."""
    import pyarrow as pa

    if INPUTS + name not in rows.column_names:
        raise InputError(f"requests do not have the column {name!r}", where="gate.cost")
    values = rows.column(INPUTS + name)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return np.array(values.to_pylist(), dtype=object)
    return np.asarray(values.cast(pa.float64()).to_numpy(), dtype=np.float64)
