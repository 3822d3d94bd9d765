from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.data.hashing import digest
from penstock.data.hashing.rows import content_of
from penstock.data.profile import profiler
from penstock.data.spec import SplitSpec
from penstock.data.split import split, table_hashes
from penstock.data.split import writer as split_writer
from penstock.data.split.assignment import Assignment
from penstock.data.split.hashed_table import Piece
from penstock.data.table import read_dataset, read_table, write_dataset
from penstock.errors import InputError, IntegrityError
from penstock.records.dataset import Split

ROWS = 2_000
START = datetime(2026, 1, 1, tzinfo=UTC)


def make(rows: int = ROWS, seed: int = 5) -> pa.Table:
    chance = np.random.default_rng(seed)
    return pa.table(
        {
            "x": chance.integers(0, 200, rows),
            "word": chance.choice(["a", "b", "c"], rows),
            "group": [f"g{n}" for n in chance.integers(0, 60, rows)],
            "at": pa.array(
                [START + timedelta(hours=int(n)) for n in chance.integers(0, 500, rows)],
                pa.timestamp("us", "UTC"),
            ),
            "step": chance.integers(0, 300, rows),
            "y": np.where(chance.random(rows) < 0.07, "bad", "good"),
        }
    )


class Bench:
    """A dataset in a folder, and splits of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.train, self.holdout = folder / "train", folder / "holdout"

    def write(self, table: pa.Table) -> None:
        for path in self.folder.iterdir():
            shutil.rmtree(path)
        write_dataset(table.to_batches(max_chunksize=300), output=self.folder / "d", source="test")

    def split(self, target: str = "y", task: Any = "binary", **settings: Any) -> Split:
        for path in (self.train, self.holdout):
            shutil.rmtree(path, ignore_errors=True)
        spec = SplitSpec.model_validate(settings)
        return split(
            self.folder / "d",
            spec,
            target=target,
            task=task,
            train=self.train,
            holdout=self.holdout,
        )

    def parts(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return read_table(self.train).to_pylist(), read_table(self.holdout).to_pylist()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "bench").mkdir()
    made = Bench(tmp_path / "bench")
    made.write(make())
    return made


def key(row: dict[str, Any]) -> str:
    return repr(sorted(row.items()))


def but_for_files(record: Split) -> Split:
    """The record without the digest of files: their bytes depend on the order of the rows."""
    assert record.training_rows is not None
    told = record.training_rows.model_copy(update={"files": ""})
    return record.model_copy(update={"training_rows": told})


def test_the_parts_are_the_whole(bench: Bench) -> None:
    record = bench.split()

    train, holdout = bench.parts()
    whole = read_table(bench.folder / "d").to_pylist()
    assert sorted(map(key, train + holdout)) == sorted(map(key, whole))
    assert (record.train_rows, record.holdout_rows) == (len(train), len(holdout))
    assert record.parent == read_dataset(bench.folder / "d").content
    for folder, part, content in (
        (bench.train, "train", record.train),
        (bench.holdout, "holdout", record.holdout),
    ):
        dataset = read_dataset(folder)
        assert (dataset.part, dataset.parent) == (part, record.parent)
        assert dataset.content == content == content_of(folder)


@pytest.mark.parametrize(
    ("settings", "train", "holdout"),
    [
        ({}, "99396b63412ac82b556f1dd5ab91869c", "74f3b53fca6ee4f5745145c4db2eca91"),
        (
            {"method": "time", "column": "at"},
            "a21b2a29fded51f2daf55596fca1d724",
            "cf6175be4c9f9aaf3418c71d9dec1f8b",
        ),
        (
            {"method": "group", "column": "word"},
            "d785a41cdd229fbe2ccdf8db722cb0a0",
            "a9ee1afbe524e54c341a1f449c589cdb",
        ),
    ],
)
def test_the_digests_of_a_split_never_change(
    settings: Any, train: str, holdout: str, bench: Bench
) -> None:
    rows = range(1200)
    hours = [i * 3_600_000_000 for i in rows]
    bench.write(
        pa.table(
            {
                "x": [i * 7919 % 200 for i in rows],
                "ratio": [i * 0.37 if i % 11 else None for i in rows],
                "word": [f"w{i % 5}" for i in rows],
                "at": pa.array(hours, pa.timestamp("us", "UTC")),
                "y": ["bad" if i * i % 13 == 0 else "good" for i in rows],
            }
        )
    )

    record = bench.split(**settings)

    assert record.parent == "rows1:209c41bfa16f9ce6598cb9a5f2c35c3b"
    assert (record.train, record.holdout) == (f"rows1:{train}", f"rows1:{holdout}")


def test_a_split_hashes_each_row_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []
    honest = digest.hash_rows

    def counted(cells: Any, *, rows: int) -> Any:
        hashed.append(rows)
        return honest(cells, rows=rows)

    for module in (table_hashes, profiler):
        monkeypatch.setattr(module, "hash_rows", counted)
    bench.split()

    assert sum(hashed) == ROWS


def test_auto_is_stratified_for_classes(bench: Bench) -> None:
    record = bench.split(holdout=0.25)

    assert record.method == "stratified"
    shares = [np.mean([row["y"] == "bad" for row in part]) for part in bench.parts()]
    assert shares[0] == pytest.approx(shares[1], abs=0.005)
    assert record.holdout_rows / ROWS == pytest.approx(0.25, abs=0.002)


def test_auto_is_random_for_a_regression(bench: Bench) -> None:
    record = bench.split(target="x", task="regression")

    assert record.method == "random"
    assert record.holdout_rows == pytest.approx(ROWS * 0.2, abs=2)


def test_no_group_is_on_both_sides(bench: Bench) -> None:
    record = bench.split(method="group", column="group", holdout=0.3)

    train, holdout = bench.parts()
    assert not {row["group"] for row in train} & {row["group"] for row in holdout}
    assert (record.groups_in_both, record.column) == (0, "group")
    assert record.holdout_rows / ROWS == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("column", ["at", "step"])
def test_the_holdout_is_the_newest(column: str, bench: Bench) -> None:
    record = bench.split(method="time", column=column)

    train, holdout = bench.parts()
    first = min(row[column] for row in holdout)
    assert max(row[column] for row in train) < first
    assert record.boundary == (first if column == "at" else None)
    assert record.holdout_rows / ROWS == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    "settings", [{}, {"method": "random"}, {"method": "group", "column": "group"}]
)
def test_a_draw_depends_on_seed_and_content_alone(settings: Any, bench: Bench) -> None:
    first = bench.split(**settings)
    again = bench.split(**settings)
    other = bench.split(**settings, seed=21)
    shuffled = make().take(np.random.default_rng(0).permutation(ROWS))
    bench.write(shuffled.select(list(reversed(shuffled.column_names))))
    reordered = bench.split(**settings)

    assert again == first
    assert but_for_files(reordered) == but_for_files(first)
    assert other.holdout != first.holdout


def test_the_cut_in_time_is_the_nearest_possible(bench: Bench) -> None:
    times = [1, 1, 2, 3, 4, 5, 6, 7, 7, 8, 8, 9]
    bench.write(pa.table({"t": times, "y": [n / 3 for n in range(12)]}))

    record = bench.split(target="y", task="regression", method="time", column="t", holdout=0.25)

    assert [row["t"] for row in bench.parts()[1]] == [8, 8, 9]
    assert record.holdout_rows == 3


def test_the_figure_that_matters(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.split()

    assert capsys.readouterr().out == (
        "penstock| 1,600 rows to train on, 400 held out (20.0%, stratified)\n"
    )


@given(st.data())
@settings(deadline=None, max_examples=15)
def test_any_small_table(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    size = data.draw(st.integers(10, 40))
    labels = data.draw(st.lists(st.sampled_from("ab"), min_size=size, max_size=size))
    table = pa.table({"y": labels, "n": range(size)})
    assume(min(labels.count("a"), labels.count("b")) >= 3)
    bench = Bench(tmp_path_factory.mktemp("small"))
    bench.write(table)

    record = bench.split(holdout=data.draw(st.floats(0.01, 0.99)))

    assert record.train_rows + record.holdout_rows == size
    for part in bench.parts():
        assert {row["y"] for row in part} == {"a", "b"}


def without(table: pa.Table, name: str, share: float = 0.1) -> pa.Table:
    """Put nulls into a column."""
    at = table.column_names.index(name)
    mask = np.arange(table.num_rows) % round(1 / share) == 0
    values = pa.array(table[name].to_pylist(), table[name].type, mask=mask)
    return table.set_column(at, name, values)


def constant(table: pa.Table, name: str, value: object) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array([value] * len(table)))


RARE = make().set_column(5, "y", pa.array(["good"] * (ROWS - 1) + ["bad"]))
LATE = make().set_column(
    5, "y", pa.array(["good" if n < 299 else "bad" for n in make()["step"].to_pylist()])
)
THREE = make().set_column(
    5, "y", pa.array(["new" if n >= 290 else "ab"[n % 2] for n in make()["step"].to_pylist()])
)


@pytest.mark.parametrize(
    ("table", "arguments", "said"),
    [
        (make(), {"target": "z"}, r"target: the target 'z' is not in the table\. .*: x, word"),
        (
            without(make(), "y"),
            {},
            r"missing in 200 of 2,000 rows\. Set split\.drop_missing_target",
        ),
        (constant(make(), "y", "good"), {}, "the target is constant"),
        (make(9), {"target": "word", "task": "multiclass"}, "9 rows are too few to split"),
        (make(), {"target": "word"}, "a binary task needs 2 classes, the target has 3"),
        (make(), {"target": "x", "task": "regression", "method": "stratified"}, "no classes"),
        (RARE, {}, r"the class 'bad' has only 1 row; 3 are needed: 1 to judge on and 2 to learn"),
        (RARE, {"method": "random"}, r"(holdout|training part) would hold one class only .*'bad'"),
        (
            LATE,
            {"method": "time", "column": "step"},
            r"the training part would hold one class only \('good'\)",
        ),
        (
            THREE,
            {"method": "time", "column": "step", "task": "multiclass", "holdout": 0.5},
            "the class 'new' would be in the holdout alone",
        ),
        (make(), {"method": "time"}, r"a split by time needs a column\. Name one of: x, word"),
        (make(), {"method": "group", "column": "who"}, "the column 'who' is not in the table"),
        (make(), {"method": "time", "column": "word"}, "'word' is string.*types: {word: datetime}"),
        (
            without(make(), "group"),
            {"method": "group", "column": "group"},
            "'group' is missing in 200 rows",
        ),
        (without(make(), "at"), {"method": "time", "column": "at"}, "'at' is missing in 200 rows"),
        (
            constant(make(), "group", "g"),
            {"method": "group", "column": "group"},
            "'group' holds a single value",
        ),
        (make(), {"column": "at"}, "a stratified split uses no column, but 'at' is given"),
    ],
)
def test_what_cannot_be_split(
    table: pa.Table, arguments: dict[str, Any], said: str, bench: Bench
) -> None:
    bench.write(table)

    with pytest.raises(InputError, match=said):
        bench.split(**arguments)

    assert [path.name for path in bench.folder.iterdir()] == ["d"]


def test_data_changed_after_its_record_is_refused(bench: Bench) -> None:
    dataset = read_dataset(bench.folder / "d")
    part = bench.folder / "d" / dataset.files[0].name
    table = pq.read_table(part)
    table = table.set_column(0, "x", pa.array([1] * table.num_rows))
    pq.write_table(table, part)
    # As somebody would who mends the record as well, but not the digest.
    listed = dataset.files[0].model_copy(update={"bytes": part.stat().st_size})
    mended = dataset.model_copy(update={"files": (listed,)})
    mended.write(bench.folder / "d" / "_dataset.json")

    with pytest.raises(IntegrityError, match="the record says rows1:"):
        bench.split()


@pytest.mark.parametrize(
    ("fault", "said"),
    [("lost", "not those written|not the whole dataset"), ("doubled", "not those written")],
)
def test_the_proof_finds_a_faulty_writer(
    fault: str, said: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The writer is right, so one that loses or repeats rows has to stand in for it.
    honest = split_writer.assigned

    def faulty(folder: Path, assignment: Assignment) -> Any:
        parts = honest(folder, assignment)
        train, holdout = next(parts)
        twice = pa.concat_batches([holdout.slice(0, 5), train])
        yield (twice if fault == "doubled" else train.slice(5)), holdout
        yield from parts

    monkeypatch.setattr(split_writer, "assigned", faulty)

    with pytest.raises(IntegrityError, match=said):
        bench.split()

    assert [path.name for path in bench.folder.iterdir()] == ["d"]


@pytest.mark.parametrize(
    ("times", "arguments", "said"),
    [
        (2, {}, "copies of .* rows are on both sides"),
        (1, {"method": "group", "column": "group"}, "values of 'group' are on both sides"),
        (1, {"method": "time", "column": "at"}, "older and newer values of 'at' are on both sides"),
    ],
)
def test_the_proof_finds_a_faulty_draw(
    times: int, arguments: Any, said: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Likewise: a draw that looks neither at content nor at groups or times.
    bench.write(pa.concat_tables([make(601)] * times))

    class Blind:
        def held(self, rows: Piece) -> Any:
            return np.arange(len(rows.hashes)) % 5 == 0

    monkeypatch.setattr(split_writer, "draw", lambda *_: Blind())

    with pytest.raises(IntegrityError, match=said):
        bench.split(**arguments)

    assert [path.name for path in bench.folder.iterdir()] == ["d"]


def test_outputs_that_hold_files_are_left_alone(bench: Bench) -> None:
    bench.holdout.mkdir()
    (bench.holdout / "precious").touch()

    with pytest.raises(InputError, match="already holds files"):
        split(
            bench.folder / "d",
            SplitSpec(),
            target="y",
            task="binary",
            train=bench.train,
            holdout=bench.holdout,
        )

    assert [path.name for path in bench.holdout.iterdir()] == ["precious"]
    assert not bench.train.exists()


def test_empty_output_folders_are_taken(bench: Bench) -> None:
    # Kubeflow makes an output's folder before the step runs.
    bench.train.mkdir()
    bench.holdout.mkdir()

    record = split(
        bench.folder / "d",
        SplitSpec(),
        target="y",
        task="binary",
        train=bench.train,
        holdout=bench.holdout,
    )

    assert record.train_rows == 1_600
