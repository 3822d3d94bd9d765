"""What a service has besides its columns, simulated for bench_monitor.py: nothing changes in it.

Scores' losses and values of decisions, gaps between two groups, attributions of 20 columns by four
signals each, and numbers of rows by the hour, which have days and weeks and vary by themselves.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.monitoring.settings.volume import VolumeSpec
from penstock.monitoring.signals.definitions import Signal, Signals, bounded
from penstock.monitoring.signals.detector import State
from penstock.monitoring.signals.volume import Memory, count_rows, volume_signals
from penstock.monitoring.signals.window import Blocks, Carry, measure_values

Floats = npt.NDArray[np.float64]

HOLDOUT = 5000
"""Rows from which the expected values are known; they are off by chance."""

EXPLAINED = 2000
LABELLED = 400
"""Rows of an hour whose labels come."""

GAP_ROWS = 200
BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
LEARNED = 7 * 24
"""Hours of rows that were counted before the stream begins."""

_SHARES = (0.1, 0.5, 0.5, 0.1)


def rows_of_hour(rng: np.random.Generator, hour: int) -> int:
    """Return how many rows come in an hour: fewer by night and at weekends, never the same."""
    at = hour % 24
    mean = 1000 * (1 + 0.8 * np.sin(2 * np.pi * at / 24)) * (0.4 if hour // 24 % 7 >= 5 else 1.0)
    return int(rng.poisson(mean * np.exp(0.15 * rng.normal())))


class Others:
    """The other streams of a service.

    Args:
        rng: Of what is known of the holdout, and of all rows.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.spec = rng, VolumeSpec()
        self.memory: Memory | None = None
        self.value = 0.2
        self.signals = self._signals()
        for hour in range(LEARNED):
            self._volume(hour)

    def _signals(self) -> list[Signal]:
        loss = self.rng.binomial(HOLDOUT, self.value) / HOLDOUT
        error = (self.value * (1 - self.value) / HOLDOUT) ** 0.5
        fields: dict[str, Any] = {"error": error, "rows": HOLDOUT}
        found = [
            bounded("loss", kind="loss", expected=loss, tolerance=0.25 * loss, **fields),
            bounded("kpi", kind="kpi", expected=1 - loss, tolerance=0.25 * loss, **fields),
        ]
        found[1] = replace(found[1], high=1.0)
        for name in ("selection", "error", "true positives", "false positives"):
            gap = self.rng.normal(scale=0.014)
            found.append(
                bounded(
                    f"gap: {name}",
                    kind="gap",
                    expected=(gap + 1) / 2,
                    tolerance=0.025,
                    error=0.007,
                    rows=HOLDOUT,
                    stream="gaps",
                )
            )
        for column in range(20):
            for side, share in enumerate(_SHARES):
                error = (share * (1 - share) / EXPLAINED) ** 0.5
                one = bounded(
                    f"attribution of c{column}: {side}",
                    kind="attribution",
                    expected=share,
                    tolerance=0.05,
                    error=error,
                    rows=EXPLAINED,
                    stream="attribution",
                )
                found.append(replace(one, low=0.0))
        return [*found, *volume_signals(self.spec)]

    def blocks(self, hour: int, *, signals: Signals, state: State) -> list[Blocks]:
        """Return what an hour brings."""
        wrong = self.rng.random(LABELLED) < self.value
        begin = 3600.0 * hour
        pairs = np.stack([wrong, ~wrong], axis=1) + 0.0
        share = np.array([*_SHARES] * 20)
        # The deciles of the holdout are off by chance; those that are expected are not.
        beyond = self.rng.random((200, len(share))) < share
        found = [
            measure_values(
                values,
                begin + np.linspace(0, 3599, len(values)),
                signals=signals,
                stream=stream,
                carry=state.carry(stream),
            )
            for stream, values in (("labels", pairs), ("attribution", beyond + 0.0))
        ]
        gaps = self._gaps(5)
        begins = begin + np.arange(5) * 720.0
        found.append(Blocks("gaps", begins, (gaps + 1) / 2, Carry()))
        volume = self._volume(LEARNED + hour)
        return found if volume is None else [*found, volume]

    def _gaps(self, blocks: int) -> Floats:
        half = GAP_ROWS // 2
        drawn = self.rng.binomial(half, 0.3, size=(2, blocks, 4)) / half
        return np.asarray(drawn[0] - drawn[1])

    def _volume(self, hour: int) -> Blocks | None:
        count = rows_of_hour(self.rng, hour)
        begin = BEGIN + timedelta(hours=hour)
        times = begin.timestamp() + np.linspace(0, 3599, count)
        now = begin + timedelta(hours=1, minutes=5)
        found = count_rows(self.memory, times, now=now, spec=self.spec, known=True)
        self.memory = found.memory
        return found.blocks
