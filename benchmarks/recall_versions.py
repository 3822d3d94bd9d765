"""Versions that bench_recall.py trains, as the monitor and a recall take them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from monitor_streams import reference_of
from recall_streams import Flags, Floats, Part
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from penstock.metrics.losses import losses_by_name
from penstock.metrics.score_bins import score_bins, score_edges
from penstock.monitoring.interventions.recall import Former
from penstock.records.baseline import Baseline, LossFigure
from penstock.records.estimate import Estimate
from penstock.records.monitoring import Known


@dataclass(frozen=True)
class Version:
    """A trained version.

    Attributes:
        former: As `choose` takes it.
        known: As the monitor takes it.
        regime: Of most rows that it was trained on.
        model: The fitted classifier.
    """

    former: Former
    known: Known
    regime: str
    model: Any

    def scores(self, x: Floats) -> Floats:
        """Return the probability of the positive class."""
        return np.asarray(self.model.predict_proba(x)[:, 1])


def best(x: Floats, y: Flags, *, linear: bool) -> Any:
    """Return the better of two kinds of models, or the linear one, fitted on all rows."""
    logistic = make_pipeline(StandardScaler(), LogisticRegression())
    if linear:
        return logistic.fit(x, y)
    kinds = [logistic, HistGradientBoostingClassifier(random_state=0)]
    return max(
        kinds, key=lambda kind: cross_val_score(kind, x, y, cv=4, scoring="roc_auc").mean()
    ).fit(x, y)


def trained(
    number: int, part: Part, columns: tuple[str, ...], *, linear: bool = False
) -> tuple[Version, float]:
    """Return a version trained on rows, and the CPU seconds of its fit."""
    held = np.arange(len(part.y)) % 4 == 3
    began = time.process_time()
    model = best(part.x[~held], part.y[~held], linear=linear)
    spent = time.process_time() - began
    scores, truth = model.predict_proba(part.x[held])[:, 1], part.y[held].astype(np.int64)
    predicted = (scores >= 0.5).astype(np.int64)
    losses = losses_by_name("binary", truth, scores, predicted)
    hits = truth == 1
    baseline = Baseline(
        task="binary", target="y", metric="roc_auc", model=f"sha256:{number}", dataset="rows1:0",
        rows=len(truth), classes=(False, True), threshold=0.5,
        scores=(score_bins(scores, hits, score_edges(scores, hits, threshold=0.5)),),
        losses={
            name: LossFigure(mean=float(one.mean()), deviation=float(one.std()))
            for name, one in losses.items()
        },
    )  # fmt: skip
    right = float((predicted == truth).mean())
    known = Known(
        model=baseline.model, baseline=baseline, higher_is_better={"accuracy": True},
        metrics={"accuracy": Estimate(value=right, low=right, high=right)},
    )  # fmt: skip
    kept = dict(zip(columns, map(pa.array, part.x[~held].T), strict=True))

    def predict(rows: pa.Table) -> Floats:
        x = np.stack([rows.column(f"inputs.{name}").to_numpy() for name in columns], axis=1)
        return np.asarray(model.predict_proba(x)[:, 1])

    former = Former(number, columns, reference_of(kept), baseline, predict)
    return Version(former, known, part.regime, model), spent
