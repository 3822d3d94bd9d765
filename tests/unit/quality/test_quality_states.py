"""States: one result however the rows are cut and merged, and the exact one."""

from __future__ import annotations

import itertools
import random
import statistics
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pytest
from expectation_tables import KINDS, Expecting, table

from penstock.data.table import write_dataset
from penstock.quality import engine, patterns
from penstock.quality.conditions import (
    Among,
    Between,
    Compared,
    Constant,
    Lengths,
    Matching,
    Missing,
    Totalling,
)
from penstock.quality.outcome import Outcome
from penstock.quality.spec import Expectation
from penstock.quality.states.base import Rows, State
from penstock.quality.states.repeats import Repeats
from penstock.quality.states.sums import Sums
from penstock.quality.states.unique_key import Key
from penstock.quality.values import Interval, Members
from penstock.records.dataset import Column


def expect(check: str, **kwargs) -> Expectation:
    return Expectation(type=f"expect_{check}", kwargs=kwargs)


def parts(rows: pa.Table, chance: random.Random) -> list[Rows]:
    """Return a table cut anywhere, its parts in any order."""
    count = min(rows.num_rows - 1, chance.randint(0, 9))
    cuts = [0, *sorted(chance.sample(range(1, rows.num_rows), count)), rows.num_rows]
    cut = [
        Rows(rows.slice(start, end - start).combine_chunks().to_batches()[0], start)
        for start, end in itertools.pairwise(cuts)
    ]
    chance.shuffle(cut)
    return cut


def found(begin: State, rows: pa.Table, chance: random.Random):
    """Return what a state finds of a table, each pass by parts that are merged in any order."""
    state: State | None = begin
    while state is not None:
        last = state
        pieces = [pickled(state) for _ in range(chance.randint(1, 4))]
        for part in parts(rows, chance):
            chance.choice(pieces).update(part)
        chance.shuffle(pieces)
        for other in pieces[1:]:
            pieces[0].merge(other)
        last = pieces[0]
        state = last.follow_up()
    return last.finish()


def pickled(state: State) -> State:
    """Return a copy that could have been sent to another machine."""
    import pickle

    return pickle.loads(pickle.dumps(state, protocol=5))


def test_results_do_not_depend_on_how_rows_are_cut_and_merged(tmp_path: Path) -> None:
    chance = random.Random(4)
    rows = table(chance, 400)
    dataset = write_dataset([rows], output=tmp_path / "data", source="random")
    draw = Expecting(chance, rows)
    for kind in KINDS * 8:
        check = engine.planned(draw.draw(kind), dataset, 0)
        if check is None:
            continue
        results = {
            check.conclude([found(one.begin(), rows, chance) for one in check.requests])
            for _ in range(3)
        }
        assert results == {engine.evaluate(tmp_path / "data", dataset, {0: check})[0]}


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))]
)
def test_what_does_not_fit_into_memory_is_looked_at_in_slices(
    tmp_path: Path, monkeypatch, seed: int
) -> None:
    chance = random.Random(seed)
    rows = table(chance, 300)
    dataset = write_dataset([rows], output=tmp_path / "data", source="random")
    draw = Expecting(chance, rows)
    kinds = ["presence", "distinct", "several", "quantiles", "figure"]
    drawn = {at: draw.draw(kind) for at, kind in enumerate(kinds * 12)}
    planned = {at: engine.planned(one, dataset, at) for at, one in drawn.items()}
    whole = engine.evaluate(
        tmp_path / "data", dataset, {a: one for a, one in planned.items() if one}
    )
    monkeypatch.setattr("penstock.quality.states.sliced._ROWS", 40)
    monkeypatch.setattr("penstock.quality.states.ranks._HELD", 3)
    monkeypatch.setattr("penstock.quality.checks.of_columns._KEPT", 2)
    for at, one in drawn.items():
        check = engine.planned(one, dataset, at)
        if check is not None:
            cut = [found(request.begin(), rows, chance) for request in check.requests]
            assert check.conclude(cut) == whole[at], one


def test_sums_are_exact() -> None:
    chance = random.Random(1)
    doubles = [1e140, 1.0, -1e140, 0.1, 5e-324, -2.5, *(chance.gauss(0, 1e9) for _ in range(500))]
    whole = [
        2**63 - 1,
        2**63 - 1,
        -(2**63),
        5,
        *(chance.randint(-(2**62), 2**62) for _ in range(99)),
    ]
    for values, kind in ((doubles, pa.float64()), (whole, pa.int64()), ([3, 4, 7], pa.int64())):
        state = Sums("x", True)
        for start in range(0, len(values), 100):
            piece = pa.record_batch([pa.array(values[start : start + 100], kind)], names=["x"])
            state.update(Rows(piece, start))
        moments = state.finish()
        assert moments.total == sum(map(Fraction, values))
        assert moments.squares == sum(Fraction(value) ** 2 for value in values)
        assert moments.deviation() == statistics.stdev(map(Fraction, values))
        assert moments.mean() == float(sum(map(Fraction, values)) / len(values))


def check(folder: Path, columns: dict, *expectations: Expectation) -> list[Outcome]:
    dataset = write_dataset([pa.table(columns)], output=folder, source="exact")
    return list(engine.run(folder, dataset, dict(enumerate(expectations))).values())


def test_whole_numbers_beyond_doubles_keep_their_digits(tmp_path: Path) -> None:
    large = [2**53, 2**53 + 1, 2**60, 2**60 + 1]
    between, members, least, total, repeats, median = check(
        tmp_path / "data",
        {"x": large, "top": [2**63 - 1] * 4},
        expect("column_values_to_be_between", column="x", min_value=2**53 + 1, max_value=2**60),
        expect("column_values_to_be_in_set", column="x", value_set=[2**53 + 1, 2.0**60]),
        expect("column_min_to_be_between", column="x", max_value=2**53, strict_max=True),
        expect("column_sum_to_be_between", column="top", min_value=2**64),
        expect("column_values_to_be_unique", column="x"),
        expect("column_quantile_values_to_be_between", column="x",
               quantile_ranges={"quantiles": [1], "value_ranges": [[None, None]]}),
    )  # fmt: skip
    assert between.samples == (str(2**53), str(2**60 + 1))
    assert members.samples == (str(2**53), str(2**60 + 1))
    assert not least.passed
    assert (total.passed, total.observed) == (True, f"{4 * (2**63 - 1):,}")
    assert repeats.passed
    assert median.observed == f"quantiles: 1, values: {2**60 + 1}"


def test_each_of_two_quantile_expectations_on_a_column_gets_its_own(tmp_path: Path) -> None:
    def quantile(share: float) -> Expectation:
        given = {"quantiles": [share], "value_ranges": [[None, None]]}
        return expect("column_quantile_values_to_be_between", column="x", quantile_ranges=given)

    low, high = check(tmp_path / "data", {"x": [5, 1, 4, 2, 3]}, quantile(0.0), quantile(0.75))
    assert (low.observed, high.observed) == (
        "quantiles: 0, values: 1",
        "quantiles: 0.75, values: 4",
    )


def test_missing_values_break_pairs_and_sums_of_any_type(tmp_path: Path) -> None:
    columns = {"a": [1, None, 3], "b": [1, 2, 2], "c": [True, None, True], "d": [True, True, False]}
    same, greater, flags, total = check(
        tmp_path / "data",
        columns,
        expect("column_pair_values_to_be_equal", column_A="a", column_B="b"),
        expect("column_pair_values_a_to_be_greater_than_b", column_A="a", column_B="b"),
        expect("column_pair_values_to_be_equal", column_A="c", column_B="d"),
        expect("multicolumn_sum_to_equal", column_list=["a", "b"], sum_total=5),
    )
    assert (same.checked, same.unexpected, same.samples) == (3, 2, ("None, 2", "3, 2"))
    assert (greater.unexpected, greater.samples) == (2, ("1, 1", "None, 2"))
    assert flags.samples == ("None, True", "True, False")
    assert (total.unexpected, total.samples) == (2, ("a: 1, b: 1", "a: None, b: 2"))


def test_a_sum_of_columns_equals_a_figure_as_written(tmp_path: Path) -> None:
    even = 2**53
    whole, written, beyond, doubles, rounded = check(
        tmp_path / "data",
        {
            "a": [even, even],
            "b": [0, 1],
            "x": [float(even), 0.5],
        },
        expect("multicolumn_sum_to_equal", column_list=["a", "b"], sum_total=float(even)),
        expect("multicolumn_sum_to_equal", column_list=["a", "b"], sum_total=even + 1),
        expect("multicolumn_sum_to_equal", column_list=["a", "b"], sum_total=2**1000),
        expect("multicolumn_sum_to_equal", column_list=["b", "x"], sum_total=1.5),
        expect("multicolumn_sum_to_equal", column_list=["b", "x"], sum_total=even + 1),
    )
    assert whole.samples == (f"a: {even}, b: 1",)
    assert written.samples == (f"a: {even}, b: 0",)
    assert beyond.unexpected == 2
    assert doubles.samples == (f"b: 0, x: {even}",)
    assert rounded.unexpected == 2


@pytest.mark.parametrize(
    "condition",
    [
        Missing("a", negated=False),
        Between("x", Interval(0, 1)),
        Lengths("s", Interval(0, 1)),
        Among(Members("s", "string", ("q",))),
        Matching("s", ("^a(?=b)",)),
        Constant("s", holds=True),
        Compared("a", "x", equal=True, greater=True, ignore="any"),
        Totalling(("a", "b"), 3, "all"),
        Totalling(("a", "x"), 3, "all"),
    ],
    ids=repr,
)
def test_no_rows_are_asked_for_nothing(condition) -> None:
    columns = {"a": pa.int64(), "b": pa.int64(), "x": pa.float64(), "s": pa.string()}
    batch = pa.record_batch({name: pa.array([], kind) for name, kind in columns.items()})
    assert len(condition(Rows(batch, 0))) == 0


def test_what_is_no_number_is_missing_to_pairs_and_sums() -> None:
    nan = float("nan")
    batch = pa.record_batch({"a": [1, 2, 3], "x": [nan, 2.0, 4.0], "y": [nan, nan, 1.0]})
    rows = Rows(batch, 0)
    pair = Compared("a", "x", equal=True, greater=True, ignore="all")
    assert pair(rows).to_pylist() == [False, True, False]
    assert Compared("x", "y", equal=True, greater=True, ignore="all")(rows).to_pylist() == [
        None, False, True,
    ]  # fmt: skip
    assert Totalling(("x", "y"), 5, "any")(rows).to_pylist() == [None, None, True]


def test_minus_zero_is_zero(tmp_path: Path) -> None:
    found = check(
        tmp_path / "data",
        {"x": [0.0, -0.0, 1.0]},
        expect("column_values_to_be_in_set", column="x", value_set=[0, 1]),
        expect("column_values_to_not_be_in_set", column="x", value_set=[1]),
        expect("column_distinct_values_to_equal_set", column="x", value_set=[0.0, 1.0]),
        expect("column_unique_value_count_to_be_between", column="x", max_value=2),
    )
    assert [one.unexpected for one in found[:2]] == [0, 1]
    assert [one.passed for one in found] == [True, False, True, True]


def test_place_zero_is_a_place(tmp_path: Path) -> None:
    first, second = check(
        tmp_path / "data",
        {"a": [1], "b": [1]},
        expect("column_to_exist", column="a", column_index=0),
        expect("column_to_exist", column="b", column_index=0),
    )
    assert (first.passed, second.passed) == (True, False)


@pytest.mark.parametrize("names", [("x",), ("x", "y")])
def test_different_texts_that_share_a_key_are_no_repeats(monkeypatch, names) -> None:
    monkeypatch.setattr(
        "penstock.quality.states.unique_key.CellHasher.hashes",
        lambda _, array: pa.compute.utf8_length(array).to_numpy().astype("uint64"),
    )
    rows = pa.table({"x": ["ab", "cd", "ab", "e"], "y": ["1", "1", "1", "1"]})
    key = Key(tuple(Column(name=name, type="string") for name in names))
    said = found(Repeats(key), rows, random.Random(0))
    assert (said.checked, said.distinct, said.unexpected) == (4, 3, 2)
    assert [row for row, _ in said.drawn] == [0, 2]


def test_combinations_are_told_apart_where_their_texts_meet(tmp_path: Path) -> None:
    columns = {"a": ["x|", "x", "x|", None], "b": ["y", "|y", "y", "missing"], "n": [1, 1, 1, 1]}
    (told,) = check(
        tmp_path / "data",
        columns,
        expect("compound_columns_to_be_unique", column_list=["a", "b", "n"]),
    )
    assert (told.checked, told.unexpected) == (4, 2)


def test_patterns_find_what_python_finds() -> None:
    import re

    chance = random.Random(3)
    atoms = [
        "a", "B", "0", "_", "-", " ", ".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\b", r"\B",
        "^", "$", r"\A", r"\Z", "[a-c]", "[^a-c]", r"[\d_]", r"[^\w]", r"[\s\S]", "[]^-]", r"\.",
        "(a|b)", "(?:ab)", "(?i:a)", "(?=a)", "(?!a)", r"\n", r"\x41", "é", "(?P<n>a)", "()",
    ]  # fmt: skip
    letters = "abcABC019_- .\t\n\x0b\x1c\x00é日|[]^$"
    translated = 0
    for _ in range(600):
        pattern = "".join(
            chance.choice(atoms) + chance.choice(["", "", "", "*", "+", "?", "{1,2}", "*?"])
            for _ in range(chance.randint(1, 4))
        )
        pattern = chance.choice(["", "", "(?i)", "(?s)", "(?m)"]) + pattern
        try:
            search = re.compile(pattern).search
        except re.error:
            continue
        translated += patterns.for_re2(pattern) is not None
        texts = ["".join(chance.choices(letters, k=chance.randint(0, 6))) for _ in range(40)]
        texts += ["a\n", "\n", "", None]
        said = patterns.matches(pa.array(texts, pa.string()), pattern).to_pylist()
        assert said == [t if t is None else search(t) is not None for t in texts], pattern
    assert translated > 200


def test_a_value_exactly_on_a_fence_is_no_outlier(tmp_path: Path) -> None:
    # Quartiles 0.125 and 0.175: half of their distance beyond them are 0.1 and 0.2.
    inside, outside = check(
        tmp_path / "data",
        {"x": [0.1, 0.2]},
        expect("column_values_to_not_be_outliers", column="x", method="iqr", multiplier=0.5),
        expect("column_values_to_not_be_outliers", column="x", method="iqr", multiplier=0.499),
    )
    assert (inside.passed, inside.unexpected) == (True, 0)
    assert outside.unexpected == 2
