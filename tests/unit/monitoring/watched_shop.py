"""A simulated shop: the rows that its model learned from, what it was worth, and its captures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from monitored_rows import reference_to

from penstock.captures.segments import CapturedModel
from penstock.captures.writer import Bounds
from penstock.monitoring.interventions.intervening import Interventions
from penstock.monitoring.look import Monitor
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.store.collect import Watched
from penstock.monitoring.store.state import MonitorFolder
from penstock.notification import NotifySpec
from penstock.records.baseline import (
    Baseline,
    Group,
    GroupColumn,
    Groups,
    LossFigure,
    ScoreBins,
)
from penstock.records.dataset import Column
from penstock.records.estimate import Estimate
from penstock.records.monitoring import Known, Verdict
from penstock.serving.capture import Capture, Rows, Truths

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
COLUMNS = (Column(name="amount", type="number"), Column(name="city", type="string"))
MODEL = CapturedModel(
    service="shop",
    version="1",
    task="binary",
    classes=("no", "yes"),
    positive="yes",
    columns=COLUMNS,
)


def table(rows: int, *, seed: int, shift: float = 0.0, missing: float = 0.0) -> dict[str, Any]:
    """Amounts, shifted by so many standard deviations, cities, some of them missing."""
    rng = np.random.default_rng(seed)
    cities = rng.choice(["Bonn", "Kiel", "Ulm"], size=rows, p=[0.5, 0.3, 0.2]).tolist()
    gone = rng.random(rows) < missing
    return {
        "amount": (rng.normal(size=rows) + shift).tolist(),
        "city": [None if g else city for g, city in zip(gone, cities, strict=True)],
    }


def scores_of(columns: dict[str, Any], *, favoured: str = "") -> list[float]:
    """The probability of yes, which amounts decide; one city may be favoured."""
    amounts = np.array(columns["amount"])
    extra = 1.5 * (np.array(columns["city"]) == favoured)
    return (1 / (1 + np.exp(-2 * (amounts + extra)))).tolist()


def truths_of(scores: list[float], *, seed: int, turned: float = 0.0) -> list[str]:
    """True labels as the scores promise; a share of them is the opposite."""
    rng = np.random.default_rng(seed)
    yes = rng.random(len(scores)) < np.array(scores)
    yes ^= rng.random(len(scores)) < turned
    return ["yes" if one else "no" for one in yes]


def known(rows: int = 20_000) -> Known:
    """What the model was worth on a holdout, and by city."""
    columns = table(rows, seed=1)
    scores = np.array(scores_of(columns))
    truth = np.array(truths_of(scores.tolist(), seed=2)) == "yes"
    edges = np.unique(np.append(np.quantile(scores, np.linspace(0.05, 1, 20)), 0.4999999))
    place = np.searchsorted(edges, scores, side="left")
    wrong = (scores >= 0.5) != truth
    city = np.array(columns["city"])
    loss = {"error": LossFigure(mean=float(wrong.mean()), deviation=float(wrong.std()))}

    def confusion(of: Any) -> tuple[tuple[int, ...], ...]:
        codes = truth[of] * 2 + (scores[of] >= 0.5)
        counts = np.bincount(codes, minlength=4).tolist()
        return (tuple(counts[:2]), tuple(counts[2:]), (0, 0))

    def bins(of: Any) -> ScoreBins:
        hits = np.bincount(place[of & truth], minlength=len(edges))
        return ScoreBins(
            edges=tuple(edges),
            rows=tuple(np.bincount(place[of], minlength=len(edges)).tolist()),
            sums=tuple(np.bincount(place[of], weights=scores[of], minlength=len(edges)).tolist()),
            hits=tuple(hits.tolist()),
        )

    every = np.ones(rows, dtype=bool)
    cities = GroupColumn(name="city", kind="category", values=("Bonn", "Kiel", "Ulm"))
    groups = tuple(
        Group(
            name=f"city = {name}",
            levels=(level,),
            rows=int((city == name).sum()),
            scores=bins(city == name),
            confusion=confusion(city == name),
            losses=loss,
        )
        for level, name in enumerate(cities.values)
    )
    baseline = Baseline(
        task="binary",
        target="buys",
        metric="accuracy",
        model="sha256:0",
        dataset="xxh3:0",
        rows=rows,
        classes=("no", "yes"),
        threshold=0.5,
        scores=(bins(every),),
        confusion=confusion(every),
        losses=loss,
        fairness=(Groups(columns=(cities,), groups=groups),),
    )
    value = float(1 - wrong.mean())
    figure = Estimate(value=value, low=value - 0.01, high=value + 0.01)
    return Known(
        model="sha256:0",
        baseline=baseline,
        metrics={"accuracy": figure},
        higher_is_better={"accuracy": True},
        form=2,
    )


@dataclass
class Shop:
    """The shop, its captures and its monitor, all below a folder."""

    folder: Path
    # It has no model that could be explained.
    spec: MonitoringSpec = field(default_factory=lambda: MonitoringSpec(attribution_rows=0))
    notify: NotifySpec = field(default_factory=NotifySpec)
    hours: float = 0.0
    known: Known | None = field(default_factory=known)
    problem: str = ""
    missing: tuple[str, ...] = ()
    count: int = 0
    interventions: Interventions | None = None
    version: int = 1

    def __post_init__(self) -> None:
        self.reference = reference_to(
            {name: pa.array(values) for name, values in table(20_000, seed=0).items()},
            self.folder / "train",
        )
        self.captures = self.folder / "captures"

    def serve(
        self,
        rows: int = 2000,
        *,
        labels: bool = False,
        turned: float = 0.0,
        turned_for: str = "",
        size: int = 50,
        favoured: str = "",
        perfect: bool = False,
        unscored: float = 0.0,
        amount: float | None = None,
        **changes: Any,
    ) -> None:
        """Answer rows, spread over the next hour, and have their labels come."""
        self.count += 1
        columns = table(rows, seed=100 + self.count, **changes)
        scores = scores_of(columns, favoured=favoured)
        if amount is not None:
            columns["amount"][0] = amount
            scores[0] = 1.0
        truths = truths_of(scores, seed=200 + self.count, turned=turned)
        if perfect:
            truths = ["yes" if one >= 0.5 else "no" for one in scores]
        if turned_for:
            usual = truths_of(scores, seed=200 + self.count)
            pairs = zip(columns["city"], truths, usual, strict=True)
            truths = [one if city == turned_for else other for city, one, other in pairs]
        begin = (BEGIN + timedelta(hours=self.hours)).timestamp()
        with self._capture() as capture:
            for start in range(0, rows, size):
                part = slice(start, start + size)
                capture.rows(
                    Rows(
                        request_id=f"{self.count}-{start}",
                        time=begin + 3600 * start / rows,
                        version=str(self.version),
                        mirrored=False,
                        replayed=False,
                        inputs={name: values[part] for name, values in columns.items()},
                        scores=[
                            None if row < unscored * rows else score
                            for row, score in enumerate(scores[part], start)
                        ],
                        labels=["yes" if one >= 0.5 else "no" for one in scores[part]],
                    ),
                    size=10,
                )
            if labels:
                told = [
                    (f"{self.count}-{row - row % size}", row % size, truth)
                    for row, truth in enumerate(truths)
                ]
                capture.truths(Truths(time=begin + 3599, labels=told), size=10)

    @contextmanager
    def _capture(self) -> Iterator[Capture]:
        capture = Capture(
            self.captures,
            bounds=Bounds(),
            written=lambda _: None,
            dropped=lambda _: None,
            model=MODEL.model_copy(update={"version": str(self.version)}),
        )
        yield capture
        capture.close()

    def watched(self) -> Watched:
        """What is to be watched now."""
        if self.problem:
            return Watched("shop", problem=self.problem)
        return Watched(
            service="shop",
            version=self.version,
            captures=str(self.captures),
            reference=self.reference,
            known=self.known,
            missing=self.missing,
        )

    @property
    def monitor(self) -> Monitor:
        """The monitor of the shop, at its clock."""
        return Monitor(
            folder=MonitorFolder(self.folder / "home"),
            service="shop",
            spec=self.spec,
            notify=self.notify,
            beside=self.folder,
            watched=self.watched,
            interventions=self.interventions,
            now=lambda: BEGIN + timedelta(hours=self.hours),
        )

    def look(self, *, hours: float = 1.0) -> Verdict:
        """Look once, an hour later."""
        self.hours += hours
        with self.monitor.held():
            return self.monitor.look()[0]

    @property
    def state(self):
        """What the monitor keeps."""
        return self.monitor.folder.read(service="shop")[0]
