"""Too few and too many rows: beside what the service had before, and never before that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from penstock.monitoring.settings.volume import VolumeSpec
from penstock.monitoring.signals import detector
from penstock.monitoring.signals.definitions import Signals
from penstock.monitoring.signals.volume import Counted, Memory, count_rows, volume_signals

BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
SPEC = VolumeSpec()
# A tenth of all weight, as beside columns and scores.
SIGNALS = Signals(tuple(replace(one, weight=0.05) for one in volume_signals(SPEC)), columns=())


def times_of(counts: Sequence[int], *, begin: int = 0) -> NDArray[np.float64]:
    """The times of rows, of which each hour from `begin` has so many."""
    hours = [
        BEGIN.timestamp() + 3600 * (k + np.arange(count) / max(count, 1))
        for k, count in enumerate(counts, start=begin)
    ]
    return np.concatenate(hours)


class Service:
    """Counts hours; whether they become an alarm."""

    def __init__(self, spec: VolumeSpec = SPEC) -> None:
        self.spec, self.hour = spec, 0
        self.memory: Memory | None = None
        self.state = detector.start(SIGNALS)
        self.alarms: list[int] = []

    def serve(self, *rows: int, known: bool = True) -> Counted:
        """Answer so many rows in each of the next hours; look each day, and five minutes later."""
        found = Counted(None, None, None)
        for first in range(0, len(rows), 24):
            counts = rows[first : first + 24]
            times = times_of(counts, begin=self.hour)
            self.hour += len(counts)
            now = BEGIN + timedelta(hours=self.hour, minutes=5)
            found = count_rows(self.memory, times, now=now, spec=self.spec, known=known)
            self.memory = found.memory
            if found.blocks is not None:
                seen = detector.follow(self.state, [found.blocks], signals=SIGNALS)
                self.state = detector.rearm(seen.state, SIGNALS) if seen.alarm else seen.state
                self.alarms += [self.hour] * seen.alarm
        return found


def usual(hours: int, *, seed: int = 0, begin: int = 0, weekend: float = 1.0) -> list[int]:
    """Rows by hour of a service that is busy by day, and less at weekends."""
    rng = np.random.default_rng(seed)
    at = begin + np.arange(hours)
    mean = 200 * (1 + 0.8 * np.sin(2 * np.pi * at / 24)) * np.where(at // 24 % 7 >= 5, weekend, 1)
    return rng.poisson(mean).tolist()


def test_nothing_is_judged_before_a_week_is_known() -> None:
    service = Service()
    # The first hour is not known to be whole.
    for _ in range(7 * 24 + 1):
        found = service.serve(100)
        assert found.blocks is None
    assert found.figure is not None
    assert found.figure.usual is None
    assert found.figure.learned == BEGIN + timedelta(days=7, hours=1)
    found = service.serve(100)
    assert found.blocks is not None
    assert found.figure is not None
    assert (found.figure.usual, found.figure.learned) == (100, None)


@pytest.mark.parametrize("weekend", [1.0, 0.2])
def test_usual_weeks_are_no_alarm(weekend: float) -> None:
    service = Service()
    service.serve(*usual(6 * 168, weekend=weekend))
    assert service.alarms == []


@pytest.mark.parametrize("share", [0.3, 4.0])
def test_too_few_or_too_many_rows_are_an_alarm_within_a_day(share: float) -> None:
    service = Service()
    service.serve(*usual(4 * 168))
    changed = [int(share * rows) for rows in usual(30, begin=4 * 168)]
    found = service.serve(*changed)
    assert service.alarms
    assert service.alarms[0] <= 4 * 168 + 24
    figure = found.figure
    assert figure is not None
    assert figure.by == "at this hour of this day of the week"
    assert not figure.low <= figure.rows <= figure.high


def test_what_is_within_the_factor_is_no_alarm() -> None:
    service = Service()
    service.serve(*usual(4 * 168))
    service.serve(*[int(0.7 * rows) for rows in usual(168, begin=4 * 168)])
    assert service.alarms == []


def test_a_new_level_becomes_usual_only_after_weeks() -> None:
    service = Service()
    service.serve(*[300] * 3 * 168, *[60] * 12 * 24)
    found = service.serve(60)
    assert found.figure is not None
    assert found.figure.rows < found.figure.low
    found = service.serve(*[60] * 40 * 24)
    assert found.figure is not None
    assert found.figure.low < 60 < found.figure.high


def test_hours_without_any_row_count() -> None:
    service = Service()
    service.serve(*[300] * 168, *[0] * 30)
    assert service.alarms


def test_hours_whose_rows_were_lost_are_not_judged() -> None:
    service = Service()
    service.serve(*[300] * 200)
    assert service.serve(*[0] * 30, known=False).blocks is None
    # The hour that was open when rows were lost is not known either.
    assert service.serve(300).blocks is None
    assert service.serve(300).blocks is not None
    assert service.alarms == []


def test_a_late_look_judges_each_hour_once() -> None:
    one = Service()
    rows = usual(300)
    for count in rows:
        one.serve(count)
    times = times_of(rows)
    now = BEGIN + timedelta(hours=300, minutes=5)
    found = count_rows(None, times, now=now, spec=SPEC, known=True)
    assert found.memory == one.memory
    again = count_rows(found.memory, times[:0], now=now, spec=SPEC, known=True)
    assert again.blocks is None
    assert again.memory == found.memory


def test_a_clock_that_jumps_is_no_drop() -> None:
    service = Service()
    service.serve(*[300] * 200)
    later = BEGIN + timedelta(days=2000)
    found = count_rows(service.memory, np.empty(0), now=later, spec=SPEC, known=True)
    assert (found.memory, found.blocks) == (None, None)
    found = count_rows(
        service.memory, np.array([later.timestamp()]), now=later, spec=SPEC, known=True
    )
    assert found.blocks is None
    assert found.memory is not None
    assert not found.memory.rows
    # It is set back: learned anew once more, and not silent for years.
    service.memory = found.memory
    service.serve(*[300] * 200)
    assert service.memory is not None
    assert len(service.memory.rows) == 200


def test_memory_does_not_grow() -> None:
    service = Service()
    service.serve(*[30] * 40 * 24)
    assert service.memory is not None
    # And the hour that has begun.
    assert len(service.memory.rows) == 35 * 24 + 1
    assert Memory.model_validate(service.memory.model_dump(mode="json")) == service.memory


def test_days_are_counted_where_hours_have_few_rows() -> None:
    spec = VolumeSpec(period="1d")
    at = np.arange(0, 20 * 86_400, 7200.0)
    times = BEGIN.timestamp() + at[at < 18 * 86_400]
    now = BEGIN + timedelta(days=20, hours=1)
    found = count_rows(None, times, now=now, spec=spec, known=True)
    assert found.blocks is not None
    # From the ninth day; 10 rows beside 12 say nothing alone, so days of 12 rows are never too few.
    assert len(found.blocks.means) == 20 - 8
    assert found.figure is not None
    assert (found.figure.rows, found.figure.usual, found.figure.low) == (0, 12, 1)
