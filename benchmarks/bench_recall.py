"""Recall of former champions beside retraining, on streams whose regimes come back.

An hour's window after the other is answered; its labels come with the next. The monitor's own
detector watches inputs, scores and loss. From an alarm on the rows since the change are gathered,
and one of two policies acts: `recall` asks `choose` for a former champion at each look, and trains
on these rows only when none was chosen before enough of them have labels; `always` trains then
without asking. A version is the better of logistic regression and gradient boosting by four-fold
cross-validation on three of four rows; the fourth is the holdout. Every alarm is acted on, that on
the data too, as by a person who follows each suggestion. The simulated stream has the monitor's
defaults: training takes 5,000 labelled rows, and half of those since the change are the gate's.

    python benchmarks/bench_recall.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from targets import Target, report  # isort: skip
from monitor_streams import captured
from recall_cost import costs
from recall_streams import Flags, Floats, Part, Stream, rainfall, simulated
from recall_versions import Version, trained

from penstock.monitoring.evidence import Losses, weigh
from penstock.monitoring.interventions.former_champions import served
from penstock.monitoring.interventions.recall import choose
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.store.collect import Watched

QUESTION = (
    "When a regime comes back, does the monitor recall the version that was trained in it, is the "
    "loss then no higher than that of training again each time, and how much training does it save?"
)
SPEC = MonitoringSpec()
AGAIN, RAIN = "simulated, A-B-A-B", "rainfall, winter and summer in turn"
"""Streams whose figures have targets."""


@dataclass
class Outcome:
    """What a policy did on a stream.

    Attributes:
        losses: Share of wrong answers of each window.
        returns: For each regime that came back: the regime of the version that was recalled first,
            "trained", or "nothing"; and whether it is the right one.
        waits: Windows from each change to the first action.
        trainings: How often it trained.
        choosing: CPU seconds of the choices up to each action.
        training: CPU seconds of each fit.
        further: Actions in a part after the first one.
        strange: Versions recalled in a regime that none had been trained in.
    """

    losses: list[float] = field(default_factory=list)
    returns: list[tuple[str, bool]] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    trainings: int = 0
    choosing: list[float] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    further: int = 0
    strange: int = 0


class Service:
    """A served version under its monitor, and a policy.

    Args:
        stream: What comes.
        recall: Whether former champions are asked before training.
    """

    def __init__(self, stream: Stream, *, recall: bool) -> None:
        self.stream, self.recall, self.done = stream, recall, Outcome()
        self.champion, _ = trained(1, stream.before, stream.columns)
        self.formers: list[Version] = []
        self.count = 1
        self.hour = 0
        self.spent = 0.0
        self._begin()

    def _begin(self) -> None:
        self.memory: dict[str, Any] | None = None
        self.since: float | None = None
        self.seen: list[tuple[pa.Table, Part]] = []
        self.late: Losses | None = None

    def run(self) -> Outcome:
        """Answer the whole stream."""
        size = self.stream.window
        for part in self.stream.parts:
            known = {one.regime for one in (*self.formers, self.champion)}
            changed = part.regime != self.champion.regime
            acts: list[tuple[int, str]] = []
            for place in range(0, len(part.y) - size + 1, size):
                rows = Part(part.regime, part.x[place : place + size], part.y[place : place + size])
                act = self._window(rows)
                if act:
                    acts.append((place // size + 1, act))
            self._note(part, acts, back=changed and part.regime in known, changed=changed)
        return self.done

    def _note(self, part: Part, acts: list[tuple[int, str]], *, back: bool, changed: bool) -> None:
        if changed:
            self.done.waits += [acts[0][0]] if acts else []
        self.done.further += max(0, len(acts) - changed)
        self.done.strange += changed and not back and bool(acts) and acts[0][1] != "trained"
        if back:
            first = acts[0][1] if acts else "nothing"
            self.done.returns.append((first, first == part.regime))

    def _window(self, rows: Part) -> str:
        """Answer a window and look at it; return what was done: a regime, "trained" or nothing."""
        scores = self.champion.scores(rows.x)
        wrong = (scores >= 0.5) != rows.y
        self.done.losses.append(float(wrong.mean()))
        columns = dict(zip(self.stream.columns, map(pa.array, rows.x.T), strict=True))
        table = captured(columns, hour=self.hour).append_column("score", pa.array(scores))
        self.hour += 1
        self.seen.append((table, rows))
        found = weigh(
            table,
            self.late,
            None,
            watched=Watched(
                "bench", self.count, reference=self.champion.former.reference,
                known=self.champion.known,
            ),
            reference=self.champion.former.reference,
            spec=SPEC,
            memory=self.memory,
            rearm=False,
            named=(),
        )  # fmt: skip
        self.memory = found.state
        self.late = Losses(wrong.astype(np.float64), _seconds(table))
        if self.since is None and found.drift.alarms and found.drift.changed is not None:
            self.since = found.drift.changed.timestamp()
        return "" if self.since is None else self._act(self.since)

    def _act(self, since: float) -> str:
        table = pa.concat_tables([one for one, _ in self.seen])
        kept = _seconds(table) >= since
        # The labels of the newest window have not come.
        known = np.arange(len(table)) < len(table) - self.stream.window
        y = np.concatenate([part.y for _, part in self.seen])
        if self.recall and self.formers:
            half = kept
            if self.stream.gate:
                # Every other row is for the gate, which needs so many with labels.
                half = kept & (np.arange(len(kept)) % 2 == 0)
            chosen = None
            if (kept & known & ~half).sum() >= self.stream.gate:
                chosen = self._chosen(table.filter(half), y[half], known[half])
            if chosen is not None:
                return chosen
        of = kept & known
        if of.sum() < self.stream.retrain:
            return ""
        x = np.concatenate([part.x for _, part in self.seen])[of]
        named = np.repeat([part.regime for _, part in self.seen], self.stream.window)[of]
        names, counts = np.unique(named, return_counts=True)
        self.count += 1
        rows = Part(str(names[counts.argmax()]), x, y[of])
        version, spent = trained(self.count, rows, self.stream.columns)
        self.done.training.append(spent)
        self.done.trainings += 1
        self._replace(version)
        return "trained"

    def _chosen(self, rows: pa.Table, y: Flags, known: Flags) -> str | None:
        champion = self.champion.former
        now = served(
            champion.version, columns=champion.columns, reference=champion.reference,
            baseline=champion.baseline,
        )  # fmt: skip
        latest = sorted(self.formers, key=lambda one: -one.former.version)[: SPEC.recall.versions]
        labels = [bool(a) if b else None for a, b in zip(y, known, strict=True)]
        began = time.process_time()
        choice = choose(
            [one.former for one in latest],
            champion=now, rows=rows, labels=labels, spec=SPEC.recall, tolerances=SPEC.tolerances,
        )  # fmt: skip
        self.spent += time.process_time() - began
        if choice.version is None:
            return None
        (version,) = [one for one in latest if one.former.version == choice.version]
        self.formers.remove(version)
        self._replace(version)
        return version.regime

    def _replace(self, version: Version) -> None:
        self.formers.append(self.champion)
        self.champion = version
        if self.recall:
            self.done.choosing.append(self.spent)
            self.spent = 0.0
        self._begin()


def _seconds(table: pa.Table) -> Floats:
    return table.column("time").to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6


def beside(streams: Sequence[Stream], pool: ProcessPoolExecutor) -> dict[str, float]:
    """Return what both policies did on streams."""
    recall = list(pool.map(_run, streams, [True] * len(streams)))
    always = list(pool.map(_run, streams, [False] * len(streams)))
    returns = [one for done in recall for one in done.returns]
    loss = float(np.mean([np.mean(done.losses) for done in recall]))
    loss_always = float(np.mean([np.mean(done.losses) for done in always]))
    trainings, all_ = (sum(done.trainings for done in of) for of in (recall, always))
    fits = [one for done in always for one in done.training]
    picked = [one for done in recall for one in done.choosing if one]
    return {
        "returns of a regime": len(returns),
        "right version": sum(right for _, right in returns) / max(1, len(returns)),
        "another version": sum(not right and what not in ("trained", "nothing")
                               for what, right in returns),
        "trained instead": sum(what == "trained" for what, _ in returns),
        "nothing done": sum(what == "nothing" for what, _ in returns),
        "mean loss with recall": loss,
        "mean loss of always retraining": loss_always,
        "loss ratio": loss / loss_always,
        "trainings with recall": trainings,
        "trainings of always retraining": all_,
        "windows from change to action with recall": _median([w for d in recall for w in d.waits]),
        "the same of always retraining": _median([w for d in always for w in d.waits]),
        "further actions with recall": sum(done.further for done in recall),
        "further actions of always retraining": sum(done.further for done in always),
        "versions recalled in a new regime": sum(done.strange for done in recall),
        "CPU ms of all choices up to an action": 1000 * _median(picked),
        "CPU ms of one search and fit": 1000 * _median(fits),
    }  # fmt: skip


def chosen_by_luck(seed: int) -> bool:
    """Return whether one of ten equal versions is chosen, trained on rows of one regime."""
    stream = simulated(seed, parts=1, rows=12_000)
    (part,) = stream.parts
    versions = []
    for k in range(11):
        rows = slice(1000 * k, 1000 * (k + 1))
        drawn = Part(part.regime, part.x[rows], part.y[rows])
        versions.append(trained(k, drawn, stream.columns, linear=True)[0].former)
    x, y = part.x[11_000:], part.y[11_000:]
    found = choose(
        versions[1:],
        champion=versions[0],
        rows=captured(dict(zip(stream.columns, map(pa.array, x.T), strict=True)), hour=0),
        labels=y.tolist(),
        spec=SPEC.recall,
    )
    return found.version is not None


def _run(stream: Stream, recall: bool) -> Outcome:
    return Service(stream, recall=recall).run()


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def main() -> int:
    """Print figures and targets, and write them where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    seeds = range(1 if options.quick else options.seeds)
    streams = {AGAIN: [simulated(seed) for seed in seeds], RAIN: [rainfall(seed) for seed in seeds]}
    if not options.quick:
        few = seeds[:2]
        streams |= {
            "simulated, A-B-A-B, retraining from 1,000 rows": [
                simulated(seed, retrain=1000) for seed in few
            ],
            "simulated, A-B-C-A-B-C": [simulated(seed, names="ABC") for seed in few],
            "rainfall, all 50 years": [rainfall(seed, last=18_000) for seed in few],
        }
    found = {}
    with ProcessPoolExecutor(options.workers) as pool:
        for name, parts in streams.items():
            found[name] = beside(parts, pool)
            print(name, json.dumps(found[name], indent=1), flush=True)
        lucky = list(pool.map(chosen_by_luck, range(20 if options.quick else 200)))
    cost = costs()
    print(json.dumps(cost, indent=1), flush=True)
    targets = []
    for name in (AGAIN, RAIN):
        one = found[name]
        saved = one["trainings with recall"] / max(1, one["trainings of always retraining"])
        targets += [
            Target(f"{name}: the right version", 100 * one["right version"], 90, "%", "at least"),
            Target(f"{name}: loss beside always retraining", one["loss ratio"], 1),
            Target(f"{name}: trainings beside always retraining", saved, 0.5),
        ]
    luck = 100 * sum(lucky) / len(lucky)
    targets += [
        Target("CPU of a recall beside the train step", cost["ratio"], 0.1),
        Target("seeds in which one of ten equal versions is chosen", luck, 5, "%"),
    ]
    return report(
        "recall",
        question=QUESTION,
        figures={"quick": options.quick, "streams": found, "cost": cost},
        targets=targets,
        path=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
