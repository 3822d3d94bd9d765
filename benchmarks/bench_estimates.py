"""Accuracy estimated before labels come, on real rows, beside NannyML in an environment of its own.

The rows are ACS employment in Massachusetts (US Census, 2015 to 2018), with a model's scores, as
they ship in NannyML's wheel: a reference of 68,785 rows and 104 chunks of 2,000. The labels of a
chunk are learned from when ten more chunks have come, which is a quarter of a year.

The wheel has a simulated stream of three classes too, of which both inputs and concept change after
15 of 30 chunks: there the estimate has to be withdrawn, and soon.

    python benchmarks/bench_estimates.py [--no-peer] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
from targets import Target, report

from penstock.metrics.score_bins import score_bins, score_edges
from penstock.monitoring.estimates.concept import BOUND, Concept, learn
from penstock.monitoring.estimates.estimates import Estimated, Realized
from penstock.monitoring.estimates.performance import estimate, realized
from penstock.records.baseline import Baseline, ScoreBins

NANNYML = "0.13.1"
BUILD = Path(__file__).parent.parent / "build" / "nannyml"

CHUNK = 2_000
DELAY = 10
DELAYS = (1, 4, 10, 20)
METRICS = ("accuracy", "f1", "precision", "recall", "roc_auc", "log_loss", "brier")

CLASSES = ("prepaid_card", "highstreet_card", "upmarket_card")
CHANGED = 15
"""The first chunk of the stream of three classes in which the concept is another."""

STREAMS, WINDOWS = 200, 1_000
"""Simulated streams whose concept does not change, for false withdrawals."""

QUESTION = (
    "How near does accuracy that is estimated before labels come lie to what labels give later, "
    "how often does its interval hold that, how wide is it, how often is a right estimate "
    "withdrawn, and how soon a wrong one?"
)

PEER = """
import json, sys, time
import nannyml
began = time.process_time()
reference, analysis, targets = nannyml.load_us_census_ma_employment_data()
began = time.process_time()
cbpe = nannyml.CBPE(
    problem_type="classification_binary", y_pred_proba="predicted_probability",
    y_pred="prediction", y_true="employed", metrics=["accuracy"], chunk_size=2000,
)
cbpe.fit(reference)
found = cbpe.estimate(analysis).filter(period="analysis").to_df()["accuracy"]
spent = time.process_time() - began
names = ("value", "lower_confidence_boundary", "upper_confidence_boundary")
print(json.dumps({"cpu_seconds": spent, **{name: found[name].tolist() for name in names}}))
"""


@dataclass(frozen=True)
class Stream:
    """The rows: scores and labels (1: employed) of the reference and of what came after it."""

    reference: tuple[np.ndarray, np.ndarray]
    later: tuple[np.ndarray, np.ndarray]

    def chunks(self) -> list[tuple[np.ndarray, list[int]]]:
        """Return scores and labels of each whole chunk."""
        scores, labels = self.later
        starts = range(0, len(scores) - CHUNK + 1, CHUNK)
        return [(scores[at : at + CHUNK], labels[at : at + CHUNK].tolist()) for at in starts]


def main() -> int:
    """Print figures and targets, and write them where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-peer", action="store_true", help="leave NannyML itself out")
    options = parser.parse_args()
    figures, targets = measure(peer=not options.no_peer)
    for name, rows in figures.items():
        print(name, json.dumps(rows, indent=1) if isinstance(rows, dict) else rows)
    return report(
        "estimates",
        question=QUESTION,
        figures=figures,
        targets=targets,
        path=options.json,
    )


def measure(*, peer: bool = True) -> tuple[dict[str, Any], list[Target]]:
    """Return what was measured, and what it is to reach.

    Args:
        peer: Whether NannyML itself is run too.
    """
    stream = read_stream()
    baseline = baseline_of(*stream.reference)
    chunks = stream.chunks()
    found = {f"labels {delay} chunks later": run(chunks, baseline, delay=delay) for delay in DELAYS}
    ours = found[f"labels {DELAY} chunks later"]
    withdrawals = false_withdrawals()
    classes = run(class_chunks(), class_baseline(), delay=DELAY)
    soon = classes["first withdrawn"] - DELAY - CHANGED + 1
    figures: dict[str, Any] = {
        "accuracy": {**found, **({"NannyML": run_peer(chunks)} if peer else {})},
        f"every metric, labels {DELAY} chunks later": {
            metric: run(chunks, baseline, delay=DELAY, metric=metric) for metric in METRICS
        },
        "three classes, the concept changes": {"accuracy": classes},
        "chunks": len(chunks),
        "CPU seconds for 100,000 rows": cpu_of_estimate(stream, baseline),
        "false withdrawals in 1,000 windows": withdrawals,
    }
    return figures, [
        Target("mean error of the estimated accuracy", ours["mean error"], 0.0071, ""),
        Target("chunks that the 95 % interval covers", ours["covered"], 0.93, "", "at least"),
        Target("mean half-width of the interval", ours["mean half-width"], 0.02, ""),
        Target("false withdrawals in 1,000 windows", withdrawals, 1.0, ""),
        Target("labelled chunks of a new concept until the estimate is withdrawn", soon, 4, ""),
        Target("the same, counted from its first", soon, 1, "", "at least"),
    ]


def run(
    chunks: Sequence[tuple[np.ndarray, Sequence[Any]]],
    baseline: Baseline,
    *,
    delay: int,
    metric: str = "accuracy",
) -> dict[str, float]:
    """Go through the chunks in order, learning from labels as they come."""
    concept: Concept | None = None
    given: list[Estimated] = []
    known: list[Realized] = []
    hidden: list[int] = []
    for at, (scores, labels) in enumerate(chunks):
        if at >= delay:
            then = at - delay
            concept = learn(concept, metric=metric, estimated=given[then], realized=known[then])
        if concept is not None and concept.of(metric).withdrawn:
            hidden.append(at)
        one = estimate(scores, baseline=baseline, metric=metric, concept=concept, to_compare=True)
        true = realized(scores, labels, baseline=baseline, metric=metric)
        assert isinstance(one, Estimated)
        assert isinstance(true, Realized)
        given.append(one)
        known.append(true)
    pairs = list(zip(given, known, strict=True))
    return {
        "mean error": float(np.mean([abs(g.value - k.value) for g, k in pairs])),
        "covered": float(np.mean([g.low <= k.value <= g.high for g, k in pairs])),
        "mean half-width": float(np.mean([(g.high - g.low) / 2 for g in given])),
        "withdrawn chunks": float(len(hidden)),
        "first withdrawn": float(hidden[0]) if hidden else float("nan"),
    }


def baseline_of(scores: np.ndarray, labels: np.ndarray) -> Baseline:
    """Return what the evaluate step would have kept of the reference."""
    hits = labels == 1
    bins = score_bins(scores, hits, score_edges(scores, hits, threshold=0.5))
    return Baseline(
        task="binary",
        target="employed",
        metric="accuracy",
        model="sha256:0",
        dataset="rows1:0",
        rows=len(scores),
        classes=(0, 1),
        threshold=0.5,
        scores=(bins,),
        losses={},
    )


def class_baseline() -> Baseline:
    """Return what the evaluate step would have kept of the reference of three classes."""
    scores, labels = _class_rows("mc_reference", "mc_reference")
    truth = np.array([CLASSES.index(label) for label in labels])

    def bins(column: np.ndarray, hits: np.ndarray) -> ScoreBins:
        return score_bins(column, hits, score_edges(column, hits))

    return Baseline(
        task="multiclass",
        target="y_true",
        metric="accuracy",
        model="sha256:0",
        dataset="rows1:0",
        rows=len(scores),
        classes=CLASSES,
        scores=tuple(bins(scores[:, code], truth == code) for code in range(len(CLASSES))),
        predicted=bins(scores.max(axis=1), scores.argmax(axis=1) == truth),
        losses={},
    )


def class_chunks() -> list[tuple[np.ndarray, list[str]]]:
    """Return scores and labels of each chunk of three classes."""
    scores, labels = _class_rows("mc_analysis", "mc_analysis_gt")
    starts = range(0, len(scores) - CHUNK + 1, CHUNK)
    return [(scores[at : at + CHUNK], labels[at : at + CHUNK]) for at in starts]


def _class_rows(scored: str, labelled: str) -> tuple[np.ndarray, list[str]]:
    unpack()
    table = pyarrow.csv.read_csv(BUILD / "data" / f"{scored}.csv")
    columns = [table.column(f"y_pred_proba_{name}").to_numpy() for name in CLASSES]
    labels = pyarrow.csv.read_csv(BUILD / "data" / f"{labelled}.csv").column("y_true").to_pylist()
    return np.stack(columns, axis=1).astype(np.float64), labels


def cpu_of_estimate(stream: Stream, baseline: Baseline) -> float:
    """Return what one estimate of accuracy costs, the least of five."""
    scores = stream.later[0][:100_000]
    spent = []
    for _ in range(5):
        began = time.process_time()
        estimate(scores, baseline=baseline, metric="accuracy")
        spent.append(time.process_time() - began)
    return min(spent)


def false_withdrawals() -> float:
    """Return how often in 1,000 windows an estimate is withdrawn that is right but for chance."""
    rng = np.random.default_rng(20)
    began = 0
    for _ in range(STREAMS):
        concept: Concept | None = None
        before = False
        for off in rng.normal(scale=0.01, size=WINDOWS):
            learned = (concept or Concept()).of("accuracy")
            half = learned.reach * np.sqrt(0.01**2 + learned.variance)
            one = Estimated(0.8, 0.8 - half, 0.8 + half, "", "", 0.01, CHUNK)
            true = Realized(0.8 + off, 0.0, 1.0, CHUNK, {})
            concept = learn(concept, metric="accuracy", estimated=one, realized=true, bound=BOUND)
            now = concept.of("accuracy").withdrawn
            began += now and not before
            before = now
    return began / STREAMS


def read_stream() -> Stream:
    """Return the rows of ACS employment."""
    unpack()

    def column(name: str, column: str) -> np.ndarray:
        path = BUILD / "data" / f"employment_MA_{name}.pq"
        return pq.read_table(path, columns=[column]).column(column).to_numpy()

    score = "predicted_probability"
    return Stream(
        reference=(column("reference", score), column("reference", "employed")),
        later=(column("analysis", score), column("analysis_target", "employed")),
    )


def unpack() -> None:
    """Put the data of NannyML's wheel into `build/`, by pip, unless they are there."""
    folder = BUILD / "data"
    done = BUILD / "unpacked"
    if done.exists():
        return
    BUILD.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--dest", BUILD, f"nannyml=={NANNYML}"], check=True)
    folder.mkdir(exist_ok=True)
    (wheel,) = BUILD.glob(f"nannyml-{NANNYML}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if "/employment_MA_" in name or "/data/mc_" in name:
                (folder / Path(name).name).write_bytes(archive.read(name))
    done.touch()


def run_peer(chunks: list[tuple[np.ndarray, list[int]]]) -> dict[str, float]:
    """Return NannyML's figures; not numbers where it does not install or run here.

    Its interval is of three standard errors by sampling alone; the half-width is what it gives.
    """
    environment = BUILD / "env"
    python = environment / "bin" / "python"
    missing = float("nan")
    nothing = {"mean error": missing, "covered": missing, "mean half-width": missing}
    uv = Path(sys.executable).with_name("uv")
    commands: list[list[Any]] = [
        [uv, "venv", "--quiet", "--clear", "--python", "3.11", environment],
        # It does not name statsmodels, which it imports.
        [uv, "pip", "install", "--quiet", "--python", python, f"nannyml=={NANNYML}",
         "statsmodels", "pandas<3"],
    ]  # fmt: skip
    silent = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1"}
    try:
        if not (BUILD / "installed").exists():
            for command in commands:
                subprocess.run(command, check=True)
            (BUILD / "installed").touch()
        done = subprocess.run(
            [python, "-W", "ignore", "-c", PEER], check=True, capture_output=True, text=True,
            env=silent,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"NannyML {NANNYML} does not run here: {error}", file=sys.stderr)
        return nothing
    found = json.loads(done.stdout.splitlines()[-1])
    size = len(chunks)
    value, low, high = (
        np.array(found[name][:size])
        for name in ("value", "lower_confidence_boundary", "upper_confidence_boundary")
    )
    true = np.array([np.mean((scores >= 0.5) == labels) for scores, labels in chunks])
    return {
        "mean error": float(np.abs(value - true).mean()),
        "covered": float(np.mean((low <= true) & (true <= high))),
        "mean half-width": float(np.mean((high - low) / 2)),
    }


if __name__ == "__main__":
    sys.exit(main())
