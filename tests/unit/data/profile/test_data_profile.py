from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.data.profile.counting import order_of
from penstock.data.profile.profiler import TableProfiler
from penstock.data.table import write_dataset
from penstock.data.types.storage import columns_of, to_storage
from penstock.errors import InputError
from penstock.records.dataset import Profile


def profile(array: Any, size: int = 1_000_000) -> Profile:
    table = pa.table({"x": array})
    columns = columns_of(table.schema)
    profiler = TableProfiler(columns)
    for batch in table.to_batches(max_chunksize=size):
        profiler.add([to_storage(batch.column(0), columns[0])])
    return profiler.columns()[0].profile


@pytest.mark.parametrize("size", [7, 1_000_000])
def test_few_values_are_counted_exactly(size: int) -> None:
    values = [1.5, 2.0, None, 2.0, -3.0, 2.0, float("nan"), 1.5]

    assert profile(pa.array(values, from_pandas=False), size) == Profile.model_validate(
        {
            "nulls": 2,
            "distinct": 3,
            "minimum": -3.0,
            "maximum": 2.0,
            "mean": 1.0,
            "deviation": np.std([1.5, 2, 2, -3, 2, 1.5], ddof=1),
            "quantiles": (-3.0, 1.5, 1.5, 2.0, 2.0),
            "top": (
                {"value": "2.0", "rows": 3},
                {"value": "1.5", "rows": 2},
                {"value": "-3.0", "rows": 1},
            ),
        }
    )


@pytest.mark.parametrize("size", [3, 8, 1_000_000])
def test_zero_and_minus_zero_are_one_value_and_no_row_is_lost(size: int) -> None:
    found = profile(pa.array([0.0, -0.0, 1.0, -0.0, 0.0, -0.0, 1.0, -0.0] * 3), size)

    assert [(level.value, level.rows) for level in found.top] == [("0.0", 18), ("1.0", 6)]
    assert (found.distinct, found.mean) == (2, 0.25)


@pytest.mark.parametrize("size", [1e150, -1e150])
def test_large_numbers_are_profiled(size: float) -> None:
    found = profile(pa.array([size, 0.0, 0.0, size]))
    assert (found.mean, found.deviation) == (size / 2, pytest.approx(abs(size) / 3**0.5))


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("size", [1.1e150, -1e155, 1.7e308])
def test_numbers_whose_square_overflows_are_refused_by_name(size: float, many: bool) -> None:
    values = [size, 1.0, size] + ([i / 7 for i in range(20_000)] if many else [])
    with pytest.raises(InputError, match=r"column 'x': a number is as large as .* na_values"):
        profile(pa.array(values))


def test_each_type_has_its_figures() -> None:
    words = profile(["pear", "fig", None, "fig", "größe", ""])
    assert (words.shortest, words.longest, words.distinct, words.nulls) == (0, 5, 4, 1)
    assert (words.top[0].value, words.top[0].rows, words.minimum) == ("fig", 2, None)

    flags = profile([True, False, True, None])
    assert (flags.minimum, flags.maximum, flags.mean) == (0, 1, pytest.approx(2 / 3))
    assert [level.value for level in flags.top] == ["true", "false"]

    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (5, 3, 9)]
    times = profile(pa.array(days, pa.timestamp("us", "UTC")))
    assert (times.earliest, times.latest, times.mean) == (days[1], days[2], None)
    assert times.top[0].value == "2026-01-03T00:00:00+00:00"

    nothing = profile(pa.nulls(3))
    assert (nothing.nulls, nothing.distinct, nothing.top) == (3, 0, ())
    assert profile([7]).deviation == 0


@given(st.lists(st.none() | st.integers(-(10**6), 10**6), min_size=1), st.integers(1, 9))
@settings(deadline=None, max_examples=50)
def test_batches_merge_to_the_same_profile(values: list[int | None], size: int) -> None:
    array = pa.array(values, pa.int64())

    # Exact while values are counted: the same figures from the same counts, whatever the batches.
    assert profile(array, size) == profile(array)


def test_many_values_are_estimated_well() -> None:
    chance = np.random.default_rng(1)
    values = chance.normal(10, 2, 400_000)
    values[::3] = 0.0

    found = profile(pa.array(values), 50_000)

    assert found.distinct == pytest.approx(len(np.unique(values)), rel=0.03)
    assert found.mean == pytest.approx(values.mean())
    assert found.deviation == pytest.approx(values.std(ddof=1))
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    ranks = [np.mean(values <= quantile) for quantile in found.quantiles[2:]]
    assert ranks == pytest.approx([0.5, 0.75, 0.95], abs=0.01)
    # The one value that a third of the rows hold is still counted exactly.
    assert [(level.value, level.rows) for level in found.top] == [("0.0", 133_334)]


def test_batches_that_differ_from_one_another() -> None:
    values = np.arange(60_000) / 7

    found = profile(pa.array(values), 10_000)

    assert found.mean == pytest.approx(values.mean())
    assert found.deviation == pytest.approx(values.std(ddof=1))


def test_nulls_are_no_value_of_their_own() -> None:
    words = [f"w{n}" if n % 7 else None for n in range(14_000)]

    assert profile(words, 1_000).distinct == 12_000


def test_many_texts() -> None:
    words = [f"word {n}" if n % 5 else None for n in range(120_000)]

    found = profile(pa.array(words), 10_007)

    assert found.distinct == pytest.approx(96_000, rel=0.03)
    assert (found.nulls, found.shortest, found.longest) == (24_000, 6, 11)
    assert found.top == ()


def test_distinct_is_exact_up_to_ten_thousand() -> None:
    values = np.arange(50_000) % 10_000

    assert profile(pa.array(values), 999).distinct == 10_000
    assert profile(pa.array([f"{v}" for v in values]), 999).distinct == 10_000


def test_a_sample_is_the_same_in_every_run(tmp_path: Path) -> None:
    values = pa.table({"x": np.random.default_rng(3).random(300_000)})

    first, second = (
        write_dataset(values.to_batches(), output=tmp_path / name, source="test").columns
        for name in ("a", "b")
    )

    assert first == second


def test_equally_common_levels_come_in_order() -> None:
    assert [level.value for level in profile(list("zebra")).top] == ["a", "b", "e", "r", "z"]
    assert [level.value for level in profile(list(range(20))).top] == [str(n) for n in range(10)]


def test_a_dictionary_with_unused_values() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, 0, 2], pa.int32()), ["a", "b", "c"])

    found = profile(array)

    assert [(level.value, level.rows) for level in found.top] == [("a", 2), ("c", 1)]
    assert found.distinct == 2


def test_what_begins_with_different_values_and_then_repeats() -> None:
    values: list[float | None] = [float(n) for n in range(5_000)]
    values += [None, -0.0, -0.0, *values[:1_990:-1], *[7.0] * 3_000]

    found = profile(pa.array(values), 12_000)

    known = np.array([value for value in values if value is not None])
    assert len(known) == 11_011
    assert (found.nulls, found.distinct) == (1, 5_000)
    assert [(level.value, level.rows) for level in found.top[:3]] == [
        ("7.0", 3_001), ("0.0", 3), ("1991.0", 2),
    ]  # fmt: skip
    assert found.mean == pytest.approx(known.mean())
    assert found.quantiles == tuple(
        np.quantile(known, [0.05, 0.25, 0.5, 0.75, 0.95], method="inverted_cdf")
    )


@pytest.mark.parametrize("most", [0, 1, 2**40, 2**64 - 1])
def test_hashes_are_ordered_as_a_stable_sort_orders_them(most: int) -> None:
    chance = np.random.default_rng(7)
    hashes = chance.integers(0, most, 5_000, dtype=np.uint64, endpoint=True)
    hashes[1_000:2_000] = hashes[3_000:4_000]

    assert np.array_equal(order_of(hashes), np.argsort(hashes, kind="stable"))
    assert len(order_of(hashes[:0])) == 0
