"""When the detector alarms, when it does not, and that it counts nothing twice."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from monitored_rows import HOUR, captured, follow, mixed, reference_to, score_reference

from penstock.errors import InputError
from penstock.monitoring.signals.definitions import (
    Signal,
    Signals,
    bounded,
    signals_of,
)
from penstock.monitoring.signals.dependence import FIRST
from penstock.monitoring.signals.detector import BETS, State, rearm, start, update
from penstock.monitoring.signals.window import Blocks, Carry, Window, measure, measure_values
from penstock.records.reference import Reference


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference_to(mixed(10_000, seed=1), tmp_path_factory.mktemp("reference") / "rows")


@pytest.fixture(scope="module")
def signals(reference: Reference) -> Signals:
    return signals_of(reference)


def test_what_has_not_changed_raises_no_alarm(reference: Reference, signals: Signals) -> None:
    tables = [captured(mixed(1000, seed=100 + hour), at=hour) for hour in range(30)]
    found = follow(tables, signals=signals, reference=reference)
    assert max(one.log_evidence for one in found) < found[0].threshold - math.log(10)
    assert found[0].threshold == math.log(365)


def test_a_shift_is_found_dated_and_named(reference: Reference, signals: Signals) -> None:
    tables = [
        captured(mixed(1000, seed=100 + hour, shift=0.3 * (hour >= 10)), at=hour)
        for hour in range(16)
    ]
    found = follow(tables, signals=signals, reference=reference)
    first = next(hour for hour, one in enumerate(found) if one.alarm)
    assert 10 <= first <= 14
    told = found[first]
    assert told.columns[0][0] == "amount"
    assert told.signals[0].direction == "below"
    assert told.at is not None
    assert told.since is not None
    assert abs((told.since - datetime.fromtimestamp(10 * HOUR, UTC)).total_seconds()) <= HOUR
    mean, (low, high) = told.signals[0].mean, told.signals[0].interval
    assert mean is not None
    assert low < mean < high < told.signals[0].signal.expected


def test_missing_values_and_a_new_level_are_found_within_two_windows(
    reference: Reference, signals: Signals
) -> None:
    rng = np.random.default_rng(5)
    for column in ("amount", "color"):
        tables = [captured(mixed(1000, seed=hour), at=hour) for hour in range(10, 22)]
        for hour in (22, 23):
            columns = mixed(1000, seed=hour)
            if column == "amount":
                columns["amount"] = pa.array(
                    columns["amount"].to_numpy(), mask=rng.random(1000) < 0.05
                )
            else:
                texts = columns["color"].to_numpy(zero_copy_only=False)
                columns["color"] = pa.array(np.where(rng.random(1000) < 0.02, "pink", texts))
            tables.append(captured(columns, at=hour))
        found = follow(tables, signals=signals, reference=reference)
        assert [one.alarm for one in found[:12]] == [False] * 12
        assert found[-1].alarm
        assert found[-1].columns[0][0] == column
        assert found[-1].signals[0].signal.kind in ("missing", "unseen")


def test_windows_that_are_split_give_the_same_state_to_the_last_bit(
    reference: Reference, signals: Signals
) -> None:
    table = captured(mixed(5000, seed=7, shift=0.1), hours=5)
    (whole,) = follow([table], signals=signals, reference=reference)
    cuts = [0, 1, 1, 30, 777, 778, 2500, 5000]
    parts = [table.slice(at, to - at) for at, to in pairwise(cuts)]
    split = follow(parts, signals=signals, reference=reference)
    assert split[-1].state == whole.state
    assert max(one.log_evidence for one in split) == whole.log_evidence


def test_the_state_is_json_of_a_fixed_size(reference: Reference, signals: Signals) -> None:
    tables = [captured(mixed(1030, seed=hour), at=hour) for hour in range(12)]
    found = follow(tables, signals=signals, reference=reference)
    text = found[-1].state.model_dump_json()
    assert State.model_validate_json(text) == found[-1].state
    assert len(text) < 1.2 * len(found[2].state.model_dump_json())
    again = follow(tables[6:], signals=signals, reference=reference, state=found[5].state)
    assert again[-1].state == found[-1].state


def one_signal(expected: float = 0.5, tolerance: float = 0.1) -> Signals:
    signal = Signal(
        "share", "loss", "", expected, expected - tolerance, expected + tolerance, tolerance, 100,
        weight=1.0, stream="rows",
    )  # fmt: skip
    return Signals(signals=(signal,), columns=(), block_rows=1)


def no_rows(signals: Signals) -> Window:
    nothing = Reference(dataset="", rows=1, columns=())
    return measure(captured({}), signals=signals, reference=nothing)


def blocks_of(means: np.ndarray, begins: np.ndarray) -> Blocks:
    return Blocks("rows", begins, means[:, None], Carry())


def test_the_mean_time_between_false_alarms_is_at_least_the_bound() -> None:
    """The worst that is no drift: the mean lies at the end of the range, and blocks are 0 or 1."""
    signals, bound = one_signal(), timedelta(hours=20)
    rng = np.random.default_rng(11)
    empty = measure(
        captured({}).slice(0, 0),
        signals=signals,
        reference=Reference(dataset="", rows=1, columns=()),
    )
    times = []
    for _ in range(150):
        # Blocks come at odd times, and the mean holds at each, whatever came before.
        begins = np.cumsum(rng.exponential(HOUR, size=400))
        means = (rng.random(400) < 0.6).astype(float)
        found = update(
            start(signals), empty, signals=signals, more=[blocks_of(means, begins)], bound=bound
        )
        times.append((found.at.timestamp() if found.at else begins[-1]) - begins[0])
    assert np.mean(times) >= bound.total_seconds()


def test_evidence_is_what_the_recursion_says() -> None:
    signals = one_signal()
    begins, means = np.array([0.0, 1.0, 3.0]) * 86400, np.array([0.6, 0.9, 0.0])
    empty = no_rows(signals)
    found = update(start(signals), empty, signals=signals, more=[blocks_of(means, begins)])
    total = 0.0
    for bet in BETS:
        for m, values in ((0.6, means), (0.6, 1 - means)):
            evidence = 0.0
            for waited, value in ((0.0, values[0]), (1.0, values[1]), (2.0, values[2])):
                evidence = (evidence + waited) * (1 + bet * (value / m - 1)) ** (1 / FIRST)
            total += evidence / (2 * len(BETS))
    assert found.signals[0].log_evidence == pytest.approx(math.log(total))


def test_a_clock_that_jumps_is_no_evidence(reference: Reference, signals: Signals) -> None:
    hours = [0, 1, 2, 20 * 8766, 3, 4, 20 * 8766]
    tables = [captured(mixed(1000, seed=50 + k), at=hour) for k, hour in enumerate(hours)]
    assert not any(one.alarm for one in follow(tables, signals=signals, reference=reference))


def test_a_column_that_is_absent_for_a_year_is_no_evidence(
    reference: Reference, signals: Signals
) -> None:
    tables = []
    for day in range(0, 800, 10):
        columns = mixed(200, seed=day)
        del columns["color"]
        tables.append(captured(columns, at=24 * day))
    assert not any(one.alarm for one in follow(tables, signals=signals, reference=reference))


def test_evidence_that_has_grown_beyond_all_numbers_stays_a_number(
    reference: Reference, signals: Signals
) -> None:
    tables = [captured(mixed(20_000, seed=hour, shift=3.0), at=hour) for hour in range(3)]
    tables.append(captured(mixed(1000, seed=9) | {"amount": pa.array([np.inf] * 1000)}, at=3))
    found = follow(tables, signals=signals, reference=reference)
    assert found[-1].alarm
    assert math.isfinite(found[-1].log_evidence)
    State.model_validate_json(found[-1].state.model_dump_json())
    again = rearm(found[-1].state, signals)
    calm = follow(
        [captured(mixed(1000, seed=60), at=4)], signals=signals, reference=reference, state=again
    )
    assert not calm[-1].alarm


def test_losses_are_another_stream_with_its_own_blocks(reference: Reference) -> None:
    loss = bounded("loss", kind="loss", expected=0.2, tolerance=0.02, error=0.01, rows=2000)
    signals = signals_of(reference, more=[loss])
    rng = np.random.default_rng(8)
    state = start(signals)
    for hour in range(12):
        table = captured(mixed(1000, seed=200 + hour), at=hour)
        window = measure(table, signals=signals, reference=reference, carry=state.carry("rows"))
        wrong = (rng.random((330, 1)) < (0.5 if hour >= 6 else 0.2)).astype(float)
        labels = measure_values(
            wrong, hour * HOUR + np.arange(330) * 10.0,
            signals=signals, stream="labels", carry=state.carry("labels"),
        )  # fmt: skip
        found = update(state, window, signals=signals, more=[labels])
        assert not found.alarm or hour >= 6
        state = found.state
    assert found.alarm
    assert found.signals[0].signal.name == "loss"
    assert found.state.streams["labels"].blocks == 330 * 12 // 40


def test_scores_are_watched_and_named_when_they_are_absent(reference: Reference) -> None:
    rng = np.random.default_rng(12)
    before = np.sort(rng.beta(2, 5, size=5000))
    scores = score_reference(before[49::50].tolist(), [50] * 100)
    signals = signals_of(reference, scores=scores)
    state = start(signals)
    for hour in range(20):
        columns = mixed(1000, seed=300 + hour)
        columns["score"] = pa.array(rng.beta(2, 5 if hour < 12 else 3.5, size=1000))
        window = measure(
            captured(columns, at=hour), signals=signals, reference=reference, scores=scores,
            carry=state.carry("rows"),
        )  # fmt: skip
        found = update(state, window, signals=signals)
        assert not found.alarm or hour >= 12
        state = found.state
    assert found.alarm
    assert found.signals[0].signal.kind == "score"
    assert [one.name for one in window.counts.columns][-1] == "score"
    table = captured(mixed(1000, seed=9))
    window = measure(table, signals=signals, reference=reference, scores=scores)
    assert [fault.message for fault in window.faults] == ["The scores are absent."]


def test_a_state_of_other_signals_is_refused(
    tmp_path: Path, reference: Reference, signals: Signals
) -> None:
    others = signals_of(reference, block_rows=25)
    window = measure(captured(mixed(100, seed=1)), signals=others, reference=reference)
    with pytest.raises(InputError, match="belongs to other signals"):
        update(start(signals), window, signals=others)


def test_blocks_without_a_signal_are_refused(reference: Reference, signals: Signals) -> None:
    labels = Blocks("labels", np.zeros(1), np.zeros((1, 1)), Carry())
    with pytest.raises(InputError, match="no signal is of the stream 'labels'"):
        update(start(signals), no_rows(signals), signals=signals, more=[labels])


def test_a_model_without_a_signal_is_watched_without_an_error(reference: Reference) -> None:
    signals = signals_of(reference, columns=["later"])
    (found,) = follow([captured(mixed(100, seed=1))], signals=signals, reference=reference)
    assert (found.signals, found.alarm, found.since) == ((), False, None)


def test_a_window_without_rows_changes_nothing(reference: Reference, signals: Signals) -> None:
    before = follow([captured(mixed(1000, seed=3))], signals=signals, reference=reference)[-1]
    (after,) = follow(
        [captured(mixed(0, seed=3), at=9)], signals=signals, reference=reference, state=before.state
    )
    assert after.state == before.state
    assert all(one.mean is None for one in after.signals)
