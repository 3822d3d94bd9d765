"""What a split tells training of its rows, so that none is hashed again, and when it is checked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.data.hashing import rows as row_hashing
from penstock.data.spec import SplitSpec
from penstock.data.split import known_rows, spilled, split, table_hashes
from penstock.data.split.known_rows import KnownRows, read_known_rows
from penstock.data.table import read_dataset, write_dataset
from penstock.errors import IntegrityError
from penstock.records.dataset import Dataset, Split

ROWS = 1_200


def measured(rows: int = ROWS) -> pa.Table:
    """Rows that do not repeat."""
    chance = np.random.default_rng(4)
    columns = {f"m{j}": chance.normal(size=rows) for j in range(3)}
    return pa.table({**columns, "y": np.where(chance.random(rows) < 0.3, "yes", "no")})


def copied() -> pa.Table:
    """Two of three rows are copies of the others, some with another target."""
    places = np.random.default_rng(5).integers(0, ROWS // 3, ROWS)
    table = measured().take(places)
    return table.set_column(3, "y", pa.array(["yes"] * 6 + table["y"].to_pylist()[6:]))


def surveyed() -> pa.Table:
    """Rows of few different values, which repeat by chance."""
    chance = np.random.default_rng(6)
    columns = {f"q{j}": chance.choice(list("abcd"), ROWS) for j in range(3)}
    return pa.table({**columns, "y": np.where(chance.random(ROWS) < 0.3, "yes", "no")})


Made = tuple[Path, Split]


@pytest.fixture
def made(tmp_path: Path) -> Callable[[pa.Table], Made]:
    """A function that splits a table and returns the training part and the record."""

    def make(table: pa.Table) -> Made:
        write_dataset(table.to_batches(max_chunksize=500), output=tmp_path / "d", source="test")
        record = split(
            tmp_path / "d",
            SplitSpec(),
            target="y",
            task="binary",
            train=tmp_path / "train",
            holdout=tmp_path / "holdout",
        )
        return tmp_path / "train", Split.loads(record.dumps(), where="test")

    return make


def known(train: Path, record: Split | None) -> KnownRows:
    return read_known_rows(train, read_dataset(train), target="y", regression=False, split=record)


def hashed(train: Path, record: Split) -> KnownRows:
    """What hashing the rows gives, as training does with the record of an older release."""
    return known(train, record.model_copy(update={"training_rows": None}))


def sets(found: KnownRows) -> set[tuple[int, ...]]:
    """The rows that must stay together."""
    assert found.copies is not None
    _, unit = np.unique(found.copies.units, return_inverse=True)
    return {tuple(np.flatnonzero(unit == one)) for one in np.unique(unit)}


def mended(train: Path, **changes: Any) -> None:
    """Write the part's record as somebody would who changes data and hides it."""
    dataset = Dataset.of(train)
    sizes = tuple(
        listed.model_copy(update={"bytes": (train / listed.name).stat().st_size})
        for listed in dataset.files
    )
    dataset.model_copy(update={"files": sizes, **changes}).write(train / "_dataset.json")


@pytest.mark.parametrize("table", [measured, copied, surveyed])
def test_training_is_told_what_it_would_find_by_hashing(
    table: Callable[[], pa.Table],
    made: Callable[[pa.Table], Made],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, record = made(table())
    by_hashing = hashed(train, record)
    with monkeypatch.context() as context:
        context.setattr(table_hashes, "hash_rows", None)
        context.setattr(row_hashing, "hash_rows", None)
        told = known(train, record)
    assert np.array_equal(told.hashes, by_hashing.hashes)
    assert (told.complete, told.known) == (by_hashing.complete, by_hashing.known)
    assert (told.known > 0) == (table is surveyed)
    if table is measured:
        assert told.copies is None is by_hashing.copies
    else:
        assert by_hashing.copies is not None
        assert sets(told) == sets(by_hashing)
        assert told.copies is not None
        assert np.array_equal(told.copies.further, by_hashing.copies.further)
        assert (told.copies.copies > 100) == (table is copied)


def test_rows_that_are_hashed_anew_go_through_files_that_are_removed(
    made: Callable[[pa.Table], Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, record = made(copied())
    whole = known(train, None)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    for module in (spilled, known_rows):
        monkeypatch.setattr(module, "SLICE", 128)
    assert spilled.parts_for(read_dataset(train).rows) > 5
    in_parts = hashed(train, record)
    assert not any((tmp_path / "scratch").iterdir())
    assert np.array_equal(in_parts.hashes, whole.hashes)
    assert in_parts.known == whole.known
    assert in_parts.copies is not None
    assert whole.copies is not None
    assert np.array_equal(in_parts.copies.units, whole.copies.units)
    assert np.array_equal(in_parts.copies.further, whole.copies.further)


def test_more_hashes_than_travel_are_cut_and_that_is_said(
    made: Callable[[pa.Table], Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_hashing, "LIMIT", 200)
    train, record = made(measured())
    told = known(train, record)
    assert (len(told.hashes), told.complete) == (200, False)


@pytest.mark.parametrize("file", ["rows", "record"])
def test_rows_that_were_changed_since_are_refused(
    file: str, made: Callable[[pa.Table], Made]
) -> None:
    train, record = made(measured())
    dataset = read_dataset(train)
    if file == "rows":
        part = train / dataset.files[0].name
        table = pq.read_table(part)
        values = [9.5, *table["m0"].to_pylist()[1:]]
        pq.write_table(table.set_column(0, "m0", pa.array(values)), part)
        mended(train)
    else:
        first = dataset.columns[0].model_copy(update={"type": "string"})
        mended(train, columns=(first, *dataset.columns[1:]))
    with pytest.raises(IntegrityError, match=r"the rows have digest .*, the record says rows1:"):
        known(train, record)


@pytest.mark.parametrize("name", [known_rows.HASHES, known_rows.COPIES])
def test_what_was_told_and_then_changed_is_found_by_hashing(
    name: str, made: Callable[[pa.Table], Made]
) -> None:
    train, record = made(copied())
    told = known(train, record)
    np.save(train / name, np.load(train / name)[:-1])
    for change in (lambda: None, (train / name).unlink):
        change()
        again = known(train, record)
        assert np.array_equal(again.hashes, told.hashes)
        assert sets(again) == sets(told)


def test_a_split_is_told_alike_in_every_run(
    made: Callable[[pa.Table], Made], tmp_path: Path
) -> None:
    _, record = made(copied())
    other = split(
        tmp_path / "d",
        SplitSpec(),
        target="y",
        task="binary",
        train=tmp_path / "again",
        holdout=tmp_path / "again-holdout",
    )
    assert other == record


def test_of_a_sample_one_row_of_each_unit_is_judged(made: Callable[[pa.Table], Made]) -> None:
    told = known(*made(copied()))
    assert told.copies is not None
    # A sample without the rows that were judged, but for one.
    chosen = np.flatnonzero(told.copies.further)
    chosen = np.union1d(chosen, np.flatnonzero(~told.copies.further)[:1])
    sample = told.of(chosen).copies
    assert sample is not None
    judged = sample.units[~sample.further]
    assert set(judged) == set(sample.units)
    assert len(judged) == len(set(judged))
    assert told.copies.further[chosen].sum() == len(chosen) - 1, "what is known of all is as it was"
