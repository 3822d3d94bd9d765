"""Rows that repeat by chance are split like any rows, and copies stay on one side."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec, SplitSpec
from penstock.data.split import split
from penstock.data.table import read_table, write_dataset
from penstock.errors import InputError
from penstock.records.dataset import Split
from penstock.records.model import Task

ROWS = 3_000

Row = tuple[Any, ...]


@pytest.fixture
def divided(tmp_path: Path) -> Any:
    """A function that splits a table and returns the record and the rows of both parts."""

    def divide(
        table: pa.Table, *, task: Task = "binary", chunk: int = 700, **settings: Any
    ) -> tuple[Split, list[Row], list[Row]]:
        for name in ("table", "train", "holdout"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        batches = table.to_batches(max_chunksize=chunk)
        write_dataset(batches, output=tmp_path / "table", source="test")
        record = split(
            tmp_path / "table",
            SplitSpec.model_validate(settings),
            target="y",
            task=task,
            train=tmp_path / "train",
            holdout=tmp_path / "holdout",
        )
        parts = [rows_of(read_table(tmp_path / part)) for part in ("train", "holdout")]
        return record, parts[0], parts[1]

    return divide


def rows_of(table: pa.Table) -> list[Row]:
    names = sorted(name for name in table.column_names if name != "y")
    return list(zip(*(table[name].to_pylist() for name in (*names, "y")), strict=True))


def but_for_files(record: Split) -> Split:
    """The record without the digest of files: their bytes depend on the order of the rows."""
    assert record.training_rows is not None
    told = record.training_rows.model_copy(update={"files": ""})
    return record.model_copy(update={"training_rows": told})


def categories(rows: int = ROWS, levels: int = 4, seed: int = 1) -> pa.Table:
    chance = np.random.default_rng(seed)
    columns = {f"c{j}": chance.choice(list("abcdefgh")[:levels], rows) for j in range(3)}
    positive = chance.random(rows) < np.where(columns["c0"] == "a", 0.7, 0.2)
    return pa.table({**columns, "y": np.where(positive, "yes", "no")})


def measured(rows: int = ROWS, seed: int = 2) -> pa.Table:
    chance = np.random.default_rng(seed)
    columns = {f"m{j}": chance.normal(size=rows) for j in range(4)}
    return pa.table({**columns, "y": np.where(chance.random(rows) < 0.3, "yes", "no")})


def copied(table: pa.Table, share: float, seed: int = 3) -> pa.Table:
    """Return a table of the same size whose rows are, for a share, copies of the others."""
    chance, rows = np.random.default_rng(seed), table.num_rows
    originals = round(rows * (1 - share))
    places = np.append(np.arange(originals), chance.integers(0, originals, rows - originals))
    return table.take(chance.permutation(places))


@pytest.mark.parametrize("method", ["stratified", "random"])
@pytest.mark.parametrize("levels", [2, 4, 8])
def test_sampled_repeats_are_split_like_rows(levels: int, method: str, divided: Any) -> None:
    table = categories(levels=levels)
    record, train, holdout = divided(table, method=method)
    assert record.copied_rows < 0.02 * ROWS
    assert record.duplicate_rows == ROWS - len(set(rows_of(table)))
    assert record.rows_in_both == len(set(train) & set(holdout)) > 0
    assert record.share == pytest.approx(0.2, abs=0.002)
    # What ruined models: the share of a class within a cell was another one on either side.
    cells = {row[:-1] for row in rows_of(table)}
    large = [c for c in cells if sum(row[:-1] == c for row in holdout) >= 30]
    for cell in large:
        shares = [
            np.mean([row[-1] == "yes" for row in part if row[:-1] == cell])
            for part in (train, holdout)
        ]
        assert abs(shares[0] - shares[1]) < 0.35
    assert len(large) > 0 or levels > 2


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_copies_of_measured_rows_stay_on_one_side_and_are_judged_once(
    share: float, divided: Any
) -> None:
    table = copied(measured(), share)
    record, train, holdout = divided(table)
    assert not set(train) & set(holdout)
    assert len(set(holdout)) == len(holdout)
    assert record.copied_rows == record.duplicate_rows == ROWS - len(set(rows_of(table)))
    assert (record.copies_in_both, record.rows_in_both) == (0, 0)
    assert len(train) + len(holdout) + record.copies_left_out == ROWS
    whole = Counter(rows_of(table))
    assert all(whole[row] == count for row, count in Counter(train).items())
    assert record.share == pytest.approx(0.2, abs=0.01)
    assert f"{record.copied_rows:,} rows are copies" in record.repeats_text


def test_copies_whose_class_was_changed_stay_together(divided: Any) -> None:
    table = measured(1_000)
    other = inverted(table["y"])
    both = pa.concat_tables([table, table.set_column(4, "y", other)])
    record, train, holdout = divided(both)
    assert not {row[:-1] for row in train} & {row[:-1] for row in holdout}
    assert (record.copied_rows, len(holdout)) == (0, 400)


def inverted(values: pa.ChunkedArray) -> pa.Array:
    return pa.array(["no" if value == "yes" else "yes" for value in values.to_pylist()])


def test_in_one_table_both_kinds_are_told_apart(divided: Any) -> None:
    first, second = categories(2_000), copied(measured(2_000), 0.3)
    empty = pa.nulls(2_000, pa.float64())
    for j in range(4):
        first = first.append_column(f"m{j}", empty)
    text = pa.array(["a"] * 2_000)
    for j in range(3):
        second = second.append_column(f"c{j}", text)
    record, train, holdout = divided(pa.concat_tables([first, second.select(first.column_names)]))
    known = set(train) & set(holdout)
    assert sum(row[3] is None for row in known) >= 50
    assert sum(row[3] is not None for row in known) <= 3
    assert record.copied_rows == pytest.approx(600, rel=0.02)


def test_a_column_of_row_numbers_does_not_hide_copies(divided: Any) -> None:
    table = copied(measured(), 0.3).append_column("id", pa.array(range(ROWS)))
    record, train, holdout = divided(table)
    at = sorted(n for n in table.column_names if n != "y").index("id")
    bare = [{row[:at] + row[at + 1 :] for row in part} for part in (train, holdout)]
    assert not bare[0] & bare[1]
    assert record.duplicate_rows == 0


def test_a_table_that_holds_itself_twice_is_judged_once(divided: Any) -> None:
    table = categories(1_000)
    record, train, holdout = divided(pa.concat_tables([table, table]))
    assert (len(train), len(holdout), record.copies_left_out) == (1_600, 200, 200)
    assert all(count % 2 == 0 for count in Counter(train).values())


def test_a_common_value_is_no_copy(divided: Any) -> None:
    table = measured().to_pandas()
    table.loc[: ROWS // 3, ["m0", "m1", "m2", "m3"]] = 0.0
    record, train, holdout = divided(pa.Table.from_pandas(table, preserve_index=False))
    zeros = [sum(row[0] == 0.0 for row in part) for part in (train, holdout)]
    assert zeros[1] / sum(zeros) == pytest.approx(0.2, abs=0.03)
    assert record.copied_rows == 0


def test_what_is_observed_again_and_again_is_split_like_rows(divided: Any) -> None:
    chance = np.random.default_rng(4)
    product, price = chance.integers(0, 40, ROWS), chance.normal(size=(2, 40))
    bought = chance.random(ROWS) < chance.random(40)[product]
    columns = {"price": price[0][product], "size": price[1][product]}
    record, train, holdout = divided(pa.table({**columns, "y": np.where(bought, "yes", "no")}))
    assert {row[:-1] for row in train} == {row[:-1] for row in holdout}
    assert record.copied_rows == 0


def test_copies_in_few_columns_show_by_a_number_found_nowhere_else(divided: Any) -> None:
    chance = np.random.default_rng(5)
    table = categories().set_column(3, "y", pa.array(chance.normal(size=ROWS)))
    record, train, holdout = divided(copied(table, 0.3), task="regression")
    assert not set(train) & set(holdout)
    assert record.copied_rows == record.duplicate_rows > 800


def test_a_setting_overrules_the_rule(divided: Any) -> None:
    table = copied(measured(), 0.5)
    record, train, holdout = divided(table, repeats="rows")
    assert set(train) & set(holdout)
    assert record.copied_rows == 0
    record, train, holdout = divided(categories(), repeats="together")
    assert not {row[:-1] for row in train} & {row[:-1] for row in holdout}


@pytest.mark.parametrize("table", [categories(), copied(measured(), 0.4)])
def test_neither_order_nor_chunks_matter(table: pa.Table, divided: Any) -> None:
    shuffled = table.take(np.random.default_rng(6).permutation(ROWS))
    shuffled = shuffled.select(list(reversed(shuffled.column_names)))
    told, other = divided(shuffled, chunk=97)[0], divided(table, chunk=2_000)[0]
    assert but_for_files(told) == but_for_files(other)


def test_times_and_groups_judge_copies_once_too(divided: Any) -> None:
    table = measured().append_column("at", pa.array(np.arange(ROWS) // 10))
    table = copied(table.append_column("who", pa.array([f"g{n % 50}" for n in range(ROWS)])), 0.4)
    for settings in ({"method": "time", "column": "at"}, {"method": "group", "column": "who"}):
        record, train, holdout = divided(table, **settings)
        assert len(set(holdout)) == len(holdout)
        assert len(train) + len(holdout) + record.copies_left_out == ROWS


def test_the_copies_of_a_public_table(tmp_path: Path, shared_data: Path) -> None:
    table = shared_data / "winequality-white.csv"
    ingest(SourceSpec(uri=str(table)), output=tmp_path / "d")
    record = split(
        tmp_path / "d", SplitSpec(), target="quality", task="regression",
        train=tmp_path / "train", holdout=tmp_path / "holdout",
    )  # fmt: skip
    assert (record.duplicate_rows, record.copied_rows, record.rows_in_both) == (937, 937, 0)
    assert record.train_rows + record.holdout_rows + record.copies_left_out == 4_898


@pytest.mark.parametrize(
    "sizes",
    [[900, 800, 500, 300, 200, 150, 100, 50], [*range(1, 78)], [1500, 600, 500, 200, 150, 50]],
)
@pytest.mark.parametrize("share", [0.2, 0.35])
def test_groups_meet_the_share_as_they_allow(sizes: list[int], share: float, divided: Any) -> None:
    table = measured(sum(sizes))
    who = np.repeat([f"g{n}" for n in range(len(sizes))], sizes)
    table = table.append_column("who", pa.array(who))
    record, train, holdout = divided(table, method="group", column="who", holdout=share)
    reachable = np.flatnonzero(_sums(sizes)) / sum(sizes)
    assert abs(record.share - share) <= max(0.01, np.abs(reachable - share).min()) + 1e-9
    assert not {row[-2] for row in train} & {row[-2] for row in holdout}
    assert not record.notes


def _sums(sizes: list[int]) -> np.ndarray:
    """Return for each number of rows whether some groups add up to it."""
    reached = np.zeros(sum(sizes) + 1, dtype=bool)
    reached[0] = True
    for size in sizes:
        reached[size:] |= reached[:-size].copy()
    return reached


def test_groups_that_do_not_allow_the_share_are_told(divided: Any) -> None:
    table = measured().append_column("who", pa.array(["a"] * 2_000 + ["b"] * 1_000))
    record, _, holdout = divided(table, method="group", column="who")
    assert len(holdout) == 1_000
    assert record.notes == ("20.0% were to be held out; the groups allow 33.3%.",)


def test_a_draw_of_groups_leaves_no_class_in_the_holdout_alone(divided: Any) -> None:
    labels = np.array(["a", "b"] * 50, dtype=object)
    labels[10:20], labels[55:60] = "c", "c"
    who = np.repeat([f"g{n}" for n in range(10)], 10)
    table = pa.table({"x": np.arange(100) / 7, "who": who, "y": labels})
    for seed in range(4):
        _, train, _ = divided(table, method="group", column="who", seed=seed, task="multiclass")
        assert {row[-1] for row in train} == {"a", "b", "c"}


def test_rows_without_a_target_are_left_out_and_counted(
    divided: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    table = categories()
    labels = [None if n % 30 == 0 else y for n, y in enumerate(table["y"].to_pylist())]
    table = table.set_column(3, "y", pa.array(labels))
    with pytest.raises(InputError, match=r"split\.drop_missing_target: true"):
        divided(table)
    record, train, holdout = divided(table, drop_missing_target=True)
    assert record.without_target == 100
    assert len(train) + len(holdout) + record.copies_left_out == ROWS - 100
    assert None not in {row[-1] for row in train + holdout}
    assert "100 without a target left out" in capsys.readouterr().out
    assert "100 rows without a target" in record.remarks()[0]


@pytest.mark.parametrize(
    ("rare", "said"),
    [
        (["z"], r"the class 'z' has only 1 row; 3 are needed"),
        (["z"] * 2, r"the class 'z' has only 2 rows; 3 are needed: 1 to judge on and 2 to learn"),
        (["w", "z"], r"the class '[wz]' has only 1 row; 3 are needed.*1 more classes are as rare"),
    ],
)
def test_a_class_of_too_few_rows_is_refused(rare: list[str], said: str, divided: Any) -> None:
    labels = ["ab"[n % 2] for n in range(200 - len(rare))] + rare
    table = pa.table({"x": np.arange(200) / 3, "y": labels})
    with pytest.raises(InputError, match=said):
        divided(table, task="multiclass")


def test_copies_do_not_make_a_class_large(divided: Any) -> None:
    table = pa.table({"x": np.arange(50) / 3, "z": np.arange(50) / 7, "y": ["a", "b"] * 25})
    rare = pa.table({"x": [99.5] * 4, "z": [0.25] * 4, "y": ["c"] * 4})
    with pytest.raises(InputError, match=r"the class 'c' has only 4 rows, copies of 1; 3 are"):
        divided(pa.concat_tables([table, rare]), task="multiclass")


def test_a_class_that_training_cannot_cross_validate_is_refused_by_any_method(divided: Any) -> None:
    times = list(range(100))
    labels = ["ab"[n % 2] for n in times]
    labels[3] = labels[90] = labels[91] = "c"
    table = pa.table({"t": times, "x": np.arange(100) / 3, "y": labels})
    with pytest.raises(InputError, match="the class 'c' has only 3 rows; the training part needs"):
        divided(table, task="multiclass", method="time", column="t")
    labels[90] = labels[91] = "a"
    labels[4] = "c"
    table = table.set_column(2, "y", pa.array(labels))
    record, _, _ = divided(table, task="multiclass", method="time", column="t")
    assert record.notes == (
        "The holdout has no row of 'c': how well it is predicted is not judged.",
    )
