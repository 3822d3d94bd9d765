"""What is counted of a window, and what is wrong with its columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from monitored_rows import captured, mixed, reference_to

from penstock.errors import InputError
from penstock.monitoring.signals.definitions import signals_of
from penstock.monitoring.signals.window import Counts, measure, measure_values
from penstock.records.reference import Reference


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference_to(mixed(5000, seed=1), tmp_path_factory.mktemp("reference") / "rows")


def counts_of(columns: dict[str, Any], reference: Reference) -> Counts:
    return measure(captured(columns), signals=signals_of(reference), reference=reference).counts


def test_numbers_are_counted_between_the_edges(tmp_path: Path) -> None:
    reference = reference_to({"amount": pa.array(np.arange(1, 1001) / 10)}, tmp_path / "rows")
    counts = counts_of({"amount": pa.array([0.0, 1.0, 1.01, 100.0, 100.1, np.inf])}, reference)
    (amount,) = counts.columns
    assert amount.counts[:2] == (2, 1)
    assert amount.counts[-2:] == (1, 2)
    assert sum(amount.counts) == 6
    assert amount.infinite == 1


def test_nan_is_missing_as_null_is(reference: Reference) -> None:
    columns = mixed(4, seed=2) | {"amount": pa.array([1.0, np.nan, None, -np.inf])}
    amount, *_ = counts_of(columns, reference).columns
    assert amount.missing == 2
    assert (sum(amount.counts), amount.counts[0], amount.infinite) == (2, 1, 1)


def test_numbers_of_few_values_are_counted_by_value(tmp_path: Path) -> None:
    reference = reference_to({"step": pa.array([1.0, 2.0, 4.0] * 100)}, tmp_path / "rows")
    (step,) = counts_of({"step": pa.array([1.0, 2.0, 2.0, 3.0, 4.0, 5.0])}, reference).columns
    assert step.counts == (1, 2, 1, 2)


def test_a_constant_that_changes_is_seen_below_and_above(tmp_path: Path) -> None:
    reference = reference_to({"unit": pa.array([5.0, 5.0])}, tmp_path / "rows")
    (unit,) = counts_of({"unit": pa.array([5.0, 4.0, 6.0])}, reference).columns
    assert unit.counts == (1, 2)


@pytest.mark.parametrize("how", ["string", "large_string", "dictionary", "null"])
def test_texts_are_counted_by_level_however_arrow_holds_them(
    reference: Reference, how: str
) -> None:
    texts = pa.array(["red", "blue", "pink", None, "red"])
    values = {
        "string": texts,
        "large_string": texts.cast(pa.large_string()),
        "dictionary": texts.dictionary_encode(),
        "null": pa.nulls(5),
    }[how]
    counts = counts_of(mixed(5, seed=2) | {"color": values}, reference)
    color = counts.columns[-1]
    assert counts.faults == ()
    if how == "null":
        assert (color.missing, sum(color.counts)) == (5, 0)
    else:
        # In the order of the reference: red, green, blue, gray, and any other.
        assert (color.missing, color.counts) == (1, (2, 0, 1, 0, 1))


def test_long_texts_are_cut_where_the_reference_cuts_them(tmp_path: Path) -> None:
    long = "é" * 199 + "xyz"
    reference = reference_to({"text": pa.array([long] * 6 + ["short"] * 6)}, tmp_path / "rows")
    now = pa.array([long, long[:200] + "other", "é" * 200 + "z", long[:200], "short", None])
    (text,) = counts_of({"text": now}, reference).columns
    names = [level.value[-2:] for level in reference.columns[0].levels]
    levels = dict(zip(names, text.counts[:-1], strict=True))
    assert levels == {"x…": 2, "rt": 1}
    assert (text.counts[-1], text.missing) == (2, 1)


def test_booleans_are_counted_and_what_is_missing_in_them(tmp_path: Path) -> None:
    reference = reference_to({"open": pa.array([True, True, False] * 5)}, tmp_path / "rows")
    (flag,) = counts_of({"open": pa.array([True, False, False, None])}, reference).columns
    assert (flag.counts, flag.missing) == ((1, 2, 0), 1)


def test_of_times_and_of_what_was_always_missing_only_missing_values_count(tmp_path: Path) -> None:
    stamp = pa.timestamp("us", tz="UTC")
    columns = {"day": pa.array([1, 2, 3], stamp), "empty": pa.nulls(3, pa.float64())}
    reference = reference_to(columns, tmp_path / "rows")
    counts = counts_of(
        {"day": pa.array([10**15, None], stamp), "empty": pa.array([1.0, np.nan])}, reference
    )
    assert [(one.counts, one.missing) for one in counts.columns] == [((), 1), ((), 1)]
    assert counts.faults == ()


def test_absent_new_and_changed_columns_are_named(reference: Reference) -> None:
    columns = mixed(100, seed=2)
    del columns["visits"]
    columns["amount"] = pa.array(["1.5"] * 100)
    columns["extra"] = pa.array([1] * 100)
    window = measure(captured(columns), signals=signals_of(reference), reference=reference)
    assert [(fault.column, fault.kind, fault.message) for fault in window.faults] == [
        ("amount", "type", "'amount' was of type number and is string."),
        ("visits", "absent", "'visits' is absent."),
        ("extra", "new", "'extra' is new: the model does not know it."),
    ]
    assert [column.name for column in window.counts.columns] == ["color"]
    signals = signals_of(reference).signals
    without = {
        signal.column
        for signal, means in zip(signals, window.blocks.means.T, strict=True)
        if np.isnan(means).all()
    }
    assert without == {"amount", "visits"}


def test_whole_numbers_and_others_are_one_type(reference: Reference) -> None:
    columns = mixed(10, seed=2)
    columns["visits"] = columns["visits"].cast(pa.float64())
    columns["amount"] = pa.array([1] * 10, pa.int32())
    assert counts_of(columns, reference).faults == ()


@pytest.mark.parametrize("rows", [0, 1])
def test_a_window_may_be_tiny(reference: Reference, rows: int) -> None:
    window = measure(
        captured(mixed(rows, seed=2)), signals=signals_of(reference), reference=reference
    )
    assert window.rows == rows
    assert window.blocks.means.shape == (0, len(signals_of(reference).signals))
    assert window.blocks.carry.rows == rows
    assert (window.counts.begin is None) == (rows == 0)


def test_counts_of_parts_add_up_to_those_of_the_whole(reference: Reference) -> None:
    signals = signals_of(reference)
    table = captured(mixed(1234, seed=2))
    whole = measure(table, signals=signals, reference=reference).counts
    parts = [
        measure(table.slice(at, 333), signals=signals, reference=reference).counts
        for at in range(0, 1234, 333)
    ]
    summed = sum(parts[1:], parts[0])
    assert summed == whole
    assert Counts.model_validate_json(summed.model_dump_json()) == whole


def test_blocks_go_on_over_windows(reference: Reference) -> None:
    signals = signals_of(reference)
    columns = mixed(500, seed=2)
    columns["amount"] = pa.array([None, *columns["amount"].to_pylist()[1:]])
    table = captured(columns)
    whole = measure(table, signals=signals, reference=reference).blocks
    carry, means, begins = None, [], []
    for at, rows in ((0, 20), (20, 0), (20, 3), (23, 130), (153, 347)):
        part = measure(table.slice(at, rows), signals=signals, reference=reference, carry=carry)
        carry = type(part.blocks.carry).model_validate_json(part.blocks.carry.model_dump_json())
        means.append(part.blocks.means)
        begins.append(part.blocks.begins)
    assert np.array_equal(np.concatenate(means), whole.means)
    assert np.array_equal(np.concatenate(begins), whole.begins)
    assert carry == whole.carry


def test_a_missing_value_says_nothing_of_the_others(reference: Reference) -> None:
    columns = mixed(50, seed=2) | {"amount": pa.nulls(50, pa.float64())}
    window = measure(captured(columns), signals=signals_of(reference), reference=reference)
    for signal, (mean,) in zip(signals_of(reference).signals, window.blocks.means.T, strict=True):
        if signal.column == "amount":
            assert mean == pytest.approx(1 if signal.kind == "missing" else signal.expected)


def test_values_at_hand_become_blocks_too(reference: Reference) -> None:
    from penstock.monitoring.signals.definitions import bounded

    loss = bounded("loss", kind="loss", expected=0.2, tolerance=0.02, error=0.01, rows=400)
    signals = signals_of(reference, more=[loss], block_rows=50)
    rng = np.random.default_rng(3)
    losses, times = rng.random((120, 1)), np.arange(120.0)
    whole = measure_values(losses, times, signals=signals, stream="labels")
    assert whole.means[:, 0] == pytest.approx(losses[:100].reshape(2, 50).mean(axis=1))
    first = measure_values(losses[:70], times[:70], signals=signals, stream="labels")
    then = measure_values(
        losses[70:], times[70:], signals=signals, stream="labels", carry=first.carry
    )
    assert np.array_equal(np.concatenate([first.means, then.means]), whole.means)
    assert then.carry == whole.carry
    with pytest.raises(InputError, match="not from 0 to 1"):
        measure_values(losses + 1, times, signals=signals, stream="labels")
    with pytest.raises(InputError, match="not 120 rows of 1 signals"):
        measure_values(np.hstack([losses, losses]), times, signals=signals, stream="labels")


def test_rows_without_a_time_are_refused(reference: Reference) -> None:
    table = captured(mixed(10, seed=2)).drop_columns("time")
    with pytest.raises(InputError, match="no column 'time'"):
        measure(table, signals=signals_of(reference), reference=reference)
